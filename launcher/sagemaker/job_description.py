"""What SageMaker tells of a job, and whether the job is one of Framefleet's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from framefleet.common.errors import UserError
from framefleet.launcher.aws.clients import Aws, code_of
from framefleet.launcher.aws.s3 import S3Folder, parse_folder
from framefleet.launcher.sagemaker.request import INPUT_NAME, JOB_NAME, OUTPUT_NAME

OVER = ("Completed", "Failed", "Stopped")


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """What a description of SageMaker's tells of a job of ours."""

    name: str
    output: S3Folder
    source: str
    status: str
    instances: int | None
    instance_type: str | None
    is_sharded: bool
    seconds: float | None
    exit_message: str
    failure: str


def read_description(told: dict[str, Any]) -> Followed:
    """The parts of a description that matter here.

    Raises:
        UserError: the job is not one of Framefleet's.
    """
    name = told["ProcessingJobName"]
    outputs = {
        one["OutputName"]: one.get("S3Output", {}).get("S3Uri", "")
        for one in told.get("ProcessingOutputConfig", {}).get("Outputs", ())
    }
    inputs = {one["InputName"]: one.get("S3Input", {}) for one in told.get("ProcessingInputs", ())}
    if OUTPUT_NAME not in outputs or not {INPUT_NAME, JOB_NAME} <= inputs.keys():
        raise UserError(f"{name} is no job of Framefleet: its inputs or outputs have other names")
    cluster = told.get("ProcessingResources", {}).get("ClusterConfig", {})
    started, ended = told.get("ProcessingStartTime"), told.get("ProcessingEndTime")
    videos = inputs[INPUT_NAME]
    return Followed(
        name=name,
        output=parse_folder(outputs[OUTPUT_NAME], "the output of the job"),
        source=videos.get("S3Uri", ""),
        status=told["ProcessingJobStatus"],
        instances=cluster.get("InstanceCount"),
        instance_type=cluster.get("InstanceType"),
        is_sharded=videos.get("S3DataDistributionType") == "ShardedByS3Key",
        seconds=(ended - started).total_seconds() if started and ended else None,
        exit_message=told.get("ExitMessage", ""),
        failure=told.get("FailureReason", ""),
    )


def describe(aws: Aws, job: str) -> dict[str, Any]:
    """SageMaker's description of a job of ours.

    Raises:
        UserError: there is no such job, or it is not one of Framefleet's.
        botocore.exceptions.ClientError, BotoCoreError: AWS cannot be asked.
    """
    from botocore.exceptions import ClientError

    try:
        told: dict[str, Any] = aws.sagemaker.describe_processing_job(ProcessingJobName=job)
    except ClientError as error:
        if is_missing(error):
            raise no_such_job(aws, job) from error
        raise
    read_description(told)
    return told


def no_such_job(aws: Aws, job: str) -> UserError:
    """The error for a name that SageMaker does not know."""
    return UserError(f"there is no job {job} in {aws.region}: correct its name, or give --region")


def is_missing(error: Exception) -> bool:
    """Whether an error is SageMaker's and says that there is no such job."""
    code = code_of(error)
    return code in ("ResourceNotFound", "ResourceNotFoundException") or (
        code == "ValidationException" and "could not find" in str(error).lower()
    )
