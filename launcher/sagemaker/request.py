"""The ``CreateProcessingJob`` request: a pure function of the job, so that all of it can be tested."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from framefleet.common.host.layout import DEFAULT_ROOT, Layout
from framefleet.common.job.spec import Mode
from framefleet.launcher.aws.s3 import S3Folder
from framefleet.launcher.aws.settings import Settings

Request = dict[str, Any]

LAYOUT = Layout(Path(DEFAULT_ROOT))
INPUT_NAME, JOB_NAME, OUTPUT_NAME = "videos", "job", "frames"
_UPLOAD_MODES = {"continuous": "Continuous", "end": "EndOfJob"}
SPEC_FOLDER = ".framefleet"  # below the output; readers of Parquet and image sets skip hidden folders


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A Processing job to be: everything that its request follows from.

    Attributes:
        entrypoint: what the container runs, where not the image's own.
        more_inputs: further folders, each with its name and local path, given whole to every host.
    """

    name: str
    input: S3Folder
    output: S3Folder
    instances: int
    mode: Mode
    volume_gb: int
    settings: Settings
    entrypoint: tuple[str, ...] = ()
    more_inputs: tuple[tuple[str, S3Folder, str], ...] = ()

    @property
    def spec_folder(self) -> S3Folder:
        """Where the launcher puts the job's specification, and removes it from when the job is over."""
        return self.output.below(f"{SPEC_FOLDER}/{self.name}")


def build_request(job: Job) -> Request:
    """What ``create_processing_job`` is called with; nothing is checked here."""
    settings = job.settings
    distribution = "ShardedByS3Key" if job.mode == "sharded" else "FullyReplicated"
    folder = str(LAYOUT.job_spec.parent)
    inputs = [
        _input(INPUT_NAME, job.input, str(LAYOUT.videos), distribution),
        _input(JOB_NAME, job.spec_folder, folder, "FullyReplicated"),
        *(_input(name, source, path, "FullyReplicated") for name, source, path in job.more_inputs),
    ]
    output: Request = {
        "Outputs": [
            {
                "OutputName": OUTPUT_NAME,
                "S3Output": {
                    "S3Uri": job.output.uri,
                    "LocalPath": str(LAYOUT.output),
                    "S3UploadMode": _UPLOAD_MODES[settings.upload],
                },
            }
        ]
    }
    cluster: Request = {
        "InstanceCount": job.instances,
        "InstanceType": settings.instance_type,
        "VolumeSizeInGB": job.volume_gb,
    }
    application: Request = {"ImageUri": settings.image or ""}
    network: Request = {}
    if settings.kms_key:
        output["KmsKeyId"] = settings.kms_key
    if settings.volume_kms_key:
        cluster["VolumeKmsKeyId"] = settings.volume_kms_key
    if job.entrypoint:
        application["ContainerEntrypoint"] = list(job.entrypoint)
    if settings.encrypt_traffic:
        network["EnableInterContainerTrafficEncryption"] = True
    if settings.subnets or settings.security_groups:
        network["VpcConfig"] = {
            "SecurityGroupIds": settings.security_groups,
            "Subnets": settings.subnets,
        }
    request: Request = {
        "ProcessingJobName": job.name,
        "ProcessingInputs": inputs,
        "ProcessingOutputConfig": output,
        "ProcessingResources": {"ClusterConfig": cluster},
        "StoppingCondition": {"MaxRuntimeInSeconds": settings.max_runtime},
        "AppSpecification": application,
        "RoleArn": settings.role or "",
    }
    if network:
        request["NetworkConfig"] = network
    if settings.tags:
        request["Tags"] = [{"Key": key, "Value": value} for key, value in settings.tags.items()]
    return request


def _input(name: str, source: S3Folder, path: str, distribution: str) -> Request:
    return {
        "InputName": name,
        "S3Input": {
            "S3Uri": source.uri,
            "LocalPath": path,
            "S3DataType": "S3Prefix",
            "S3InputMode": "File",
            "S3DataDistributionType": distribution,
            "S3CompressionType": "None",
        },
    }
