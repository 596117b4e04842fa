"""The SageMaker SDK's door: a job as a ``Processor`` of its version 3, for notebooks and pipelines.

The SDK is an extra (``pip install 'framefleet[sagemaker]'``), as it is large; the launcher does without.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from framefleet.common.errors import UserError
from framefleet.common.job.spec import ImageOptions, MetricsOptions, Mode, OnError
from framefleet.launcher.aws.clients import Aws, open_aws
from framefleet.launcher.aws.settings import NAMES as SETTINGS
from framefleet.launcher.aws.settings import load_settings
from framefleet.launcher.options.sampling import NAMES as SAMPLING
from framefleet.launcher.options.sampling import make_sampling
from framefleet.launcher.sagemaker.prepare import draft, make_request
from framefleet.launcher.sagemaker.request import Request
from framefleet.launcher.sagemaker.submit import upload_spec

if TYPE_CHECKING:
    from sagemaker.core.processing import Processor
    from sagemaker.core.shapes import ProcessingInput, ProcessingOutput


@dataclass(frozen=True, slots=True)
class SdkJob:
    """A job that the SDK can run: ``job.run(wait=False)``, or with the parts in a hand of one's own.

    Attributes:
        processor: configured with role, image, instances, network, limits, tags.
        inputs: the videos, and the job's specification, which has been uploaded.
        outputs: the folder that frames, manifest and account go to.
        name: of the Processing job; pipelines give names of their own.
        request: what ``create_processing_job`` is called with in the end.
    """

    processor: Processor
    inputs: list[ProcessingInput]
    outputs: list[ProcessingOutput]
    name: str
    request: Request

    def run(self, **options: Any) -> Any:
        """``Processor.run`` with inputs, outputs and name; in a pipeline session, the step's arguments."""
        given = {"inputs": self.inputs, "outputs": self.outputs, "job_name": self.name, **options}
        return self.processor.run(**given)


def processor(
    source: str,
    destination: str,
    *,
    instances: int = 1,
    slots_per_instance: int | None = None,
    sampling: Mapping[str, Any] | None = None,
    image_options: ImageOptions | None = None,
    mode: Mode = "coordinated",
    on_error: OnError = "report",
    job_name: str | None = None,
    session: Any = None,
    **settings: Any,
) -> SdkJob:
    """Check a job as the launcher does, upload its specification, and make it a ``Processor``.

    Args:
        source: ``s3://bucket/prefix`` of the videos.
        destination: ``s3://bucket/prefix`` for frames, manifest and account (``launch.py report``
            makes a report of a copy of it).
        sampling: as the command line's options, ``{"fps": 5}`` (the default) or ``{"every": 10}``; numbers
            may be numbers or their texts.
        image_options: image format, size and crop.
        session: a ``Session`` or ``PipelineSession`` of the SDK; None makes one.
        settings: ``role``, ``image``, ``instance_type``, ``volume_size``, ``max_runtime``, ``subnets`` and
            so on, as in ``framefleet.toml``; what is not given comes from there or the environment.

    Raises:
        UserError: an option will not do, AWS would refuse the request, or the SDK is not installed.
    """
    try:
        from sagemaker.core.processing import Processor
    except ModuleNotFoundError as error:
        raise UserError(
            "the SageMaker SDK, version 3, is missing: pip install 'framefleet[sagemaker]'"
        ) from error
    for name, value in {
        "source": source,
        "destination": destination,
        "job_name": job_name,
        **settings,
    }.items():
        _check_constant(name, value)
    _check_names(settings, SETTINGS, "setting")
    found = load_settings(settings)
    request = make_request(
        source=source,
        destination=destination,
        sampling=make_sampling(_sampling_options(sampling or {"fps": "5"})),
        found=found,
        image=image_options or ImageOptions(),
        instances=instances,
        slots_per_instance=slots_per_instance,
        mode=mode,
        on_error=on_error,
        metrics=MetricsOptions(),
        job_name=job_name,
    )
    aws = Aws(session.boto_session, session.boto_region_name) if session is not None else open_aws(found)
    made = draft(request, aws)
    if session is None:
        session = _session(aws)
    job = SdkJob(
        processor=Processor(sagemaker_session=session, **_configuration(made.request)),
        inputs=_inputs(made.request),
        outputs=_outputs(made.request),
        name=made.job.name,
        request=made.request,
    )
    upload_spec(aws, request, made)  # last: it holds keys, and nothing else would remove it
    return job


def _check_constant(name: str, value: Any) -> None:
    if type(value).__module__.partition(".")[0] == "sagemaker":
        raise UserError(
            f"{name} is a {type(value).__name__} of the SDK: the job is checked and its specification "
            "uploaded now, so variables of pipelines are not supported; give its value"
        )


def _check_names(given: Iterable[str], known: Sequence[str], what: str) -> None:
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
            raise UserError(f"{name!r} is no {what}: {hint}")


def _sampling_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options as the command line has them: counts are numbers, all else texts."""
    _check_names(given, SAMPLING, "option of sampling")
    options: dict[str, Any] = dict.fromkeys(SAMPLING)
    for name, value in given.items():
        _check_constant(f"sampling[{name!r}]", value)
        options[name] = None if value is None else _READ.get(name, _text)(name, value)
    return options


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float | Fraction | os.PathLike):
        raise UserError(f"sampling[{name!r}] is {value!r}: give a text or a number")
    return str(value)


def _count(name: str, value: Any) -> int:
    text = _text(name, value)
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise UserError(f"sampling[{name!r}] is {value!r}: give a whole number from 1 on")
    return int(text)


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise UserError(f"sampling[{name!r}] is {value!r}: give True or False")
    return value


_READ = {"every": _count, "max_frames_per_video": _count, "keyframes": _flag}


def _session(aws: Aws) -> Any:
    from sagemaker.core.helper.session_helper import Session

    return Session(boto_session=aws.session, sagemaker_client=aws.sagemaker)


def _configuration(request: Request) -> dict[str, Any]:
    """A ``Processor``'s arguments, from the request's fields."""
    from sagemaker.core.network import NetworkConfig

    cluster, network = request["ProcessingResources"]["ClusterConfig"], request.get("NetworkConfig")
    vpc = (network or {}).get("VpcConfig", {})
    return {
        "role": request["RoleArn"],
        "image_uri": request["AppSpecification"]["ImageUri"],
        "entrypoint": request["AppSpecification"].get("ContainerEntrypoint"),
        "instance_count": cluster["InstanceCount"],
        "instance_type": cluster["InstanceType"],
        "volume_size_in_gb": cluster["VolumeSizeInGB"],
        "volume_kms_key": cluster.get("VolumeKmsKeyId"),
        "output_kms_key": request["ProcessingOutputConfig"].get("KmsKeyId"),
        "max_runtime_in_seconds": request["StoppingCondition"]["MaxRuntimeInSeconds"],
        "tags": request.get("Tags"),
        "network_config": None
        if network is None
        else NetworkConfig(
            enable_network_isolation=False,  # the default; the SDK says so even if it is given None
            security_group_ids=vpc.get("SecurityGroupIds"),
            subnets=vpc.get("Subnets"),
            encrypt_inter_container_traffic=network.get("EnableInterContainerTrafficEncryption"),
        ),
    }


def _inputs(request: Request) -> list[ProcessingInput]:
    from sagemaker.core.shapes import ProcessingInput, ProcessingS3Input

    return [
        ProcessingInput(
            input_name=each["InputName"],
            s3_input=ProcessingS3Input(
                s3_uri=each["S3Input"]["S3Uri"],
                local_path=each["S3Input"]["LocalPath"],
                s3_data_type=each["S3Input"]["S3DataType"],
                s3_input_mode=each["S3Input"]["S3InputMode"],
                s3_data_distribution_type=each["S3Input"]["S3DataDistributionType"],
                s3_compression_type=each["S3Input"]["S3CompressionType"],
            ),
        )
        for each in request["ProcessingInputs"]
    ]


def _outputs(request: Request) -> list[ProcessingOutput]:
    from sagemaker.core.shapes import ProcessingOutput, ProcessingS3Output

    return [
        ProcessingOutput(
            output_name=each["OutputName"],
            s3_output=ProcessingS3Output(
                s3_uri=each["S3Output"]["S3Uri"],
                local_path=each["S3Output"]["LocalPath"],
                s3_upload_mode=each["S3Output"]["S3UploadMode"],
            ),
        )
        for each in request["ProcessingOutputConfig"]["Outputs"]
    ]
