"""From a checked draft to a running job: upload its specification, create it, or leave nothing behind."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Final

import msgspec

from framefleet.common.errors import UserError
from framefleet.common.job.completed import DONE_FILE, NOTHING_DONE, Done, encode_done
from framefleet.launcher.aws.clients import Aws, code_of, is_temporary, translated
from framefleet.launcher.aws.s3 import S3Folder, list_objects, remove_objects
from framefleet.launcher.output.job_spec import make_spec
from framefleet.launcher.sagemaker.follow import stop_job
from framefleet.launcher.sagemaker.job_description import OVER, is_missing
from framefleet.launcher.sagemaker.prepare import Draft, SageMakerRequest
from framefleet.launcher.sagemaker.request import LAYOUT, Job
from framefleet.launcher.sagemaker.source_bundle import upload_bundle
from framefleet.launcher.text import program

STATUS_INTERVAL_S: Final = 10.0  # as often as the launcher looks into the log


class UncertainError(UserError):
    """The connection was lost for good while the job was being created: it may be there or not."""


def submit(
    aws: Aws,
    request: SageMakerRequest,
    made: Draft,
    done: Done = NOTHING_DONE,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Upload the specification and create the job; ``say`` tells of slow steps.

    Raises:
        UserError: AWS refused; nothing is left in the output then. Or ``UncertainError``.
    """
    folder = made.job.spec_folder
    try:
        upload_spec(aws, request, made, done, say)
        _create(aws, made, request.found.settings.instance_type)
    except UncertainError:
        raise
    except UserError:
        remove_spec(aws, folder)
        raise
    except KeyboardInterrupt:
        with contextlib.suppress(UserError):
            stop_job(aws, made.job.name)
        remove_spec(aws, folder)
        raise


def upload_spec(
    aws: Aws,
    request: SageMakerRequest,
    made: Draft,
    done: Done = NOTHING_DONE,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Put the job's specification where its hosts will find it, and what they run, if they have no image.

    Raises:
        UserError: the output may not be written to.
    """
    folder = made.job.spec_folder
    with translated(f"writing to {request.output}", bucket=folder.bucket):
        for _, bundle, _ in made.job.more_inputs:
            upload_bundle(aws, bundle, say, **encryption(request))
        for name, data in spec_files(request, made.job, done).items():
            aws.s3.put_object(Bucket=folder.bucket, Key=folder.key(name), Body=data, **encryption(request))


def _create(aws: Aws, made: Draft, instance_type: str) -> None:
    """Create the job. When a connection is lost, botocore asks again, though AWS may have heard the first
    time: a job of this name and specification is this one."""
    from botocore.exceptions import BotoCoreError, ClientError

    name = made.job.name
    with translated("submitting the job", job=name, instance_type=instance_type):
        try:
            aws.sagemaker.create_processing_job(**made.request)
        except (BotoCoreError, ClientError) as error:
            if code_of(error) != "ResourceInUse" and not is_temporary(error):
                raise
            try:
                told = aws.sagemaker.describe_processing_job(ProcessingJobName=name)
            except (BotoCoreError, ClientError) as another:
                if code_of(error) == "ResourceInUse" or is_missing(another):
                    raise error from None
                raise UncertainError(
                    f"the connection to AWS was lost ({error}) while {name} was being submitted, which may "
                    f"have succeeded: {program()} attach {name} tells"
                ) from error
            folders = [one.get("S3Input", {}).get("S3Uri") for one in told.get("ProcessingInputs", ())]
            if told["ProcessingJobStatus"] in OVER or made.job.spec_folder.uri not in folders:
                raise


def encryption(request: SageMakerRequest) -> dict[str, str]:
    """What is added to an upload, for the key that the user wants used."""
    key = request.found.settings.kms_key
    return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key} if key else {}


def spec_files(request: SageMakerRequest, job: Job, done: Done = NOTHING_DONE) -> dict[str, bytes]:
    """What lies in the folder of the job's specification: name to content. New keys are made each time."""
    spec = make_spec(
        request,
        job.name,
        run=job.name,
        is_dealt_out=request.mode == "sharded",
        status_interval_s=STATUS_INTERVAL_S,
        metrics=msgspec.structs.replace(request.metrics, lines="emf"),
    )
    files = {LAYOUT.job_spec.name: msgspec.json.format(msgspec.json.encode(spec), indent=2)}
    files |= request.sampling.files
    if done.videos:
        files[DONE_FILE] = encode_done(done)
    return files


def remove_spec(aws: Aws, folder: S3Folder) -> None:
    """Remove a job's specification, for the keys in it; what may not be removed stays."""
    _remove_below(aws, folder)


def remove_staging(aws: Aws, output: S3Folder) -> None:
    """Remove what Continuous has uploaded of frames that were never finished; best effort, as above."""
    _remove_below(aws, output.below(LAYOUT.staging.name))


def _remove_below(aws: Aws, folder: S3Folder) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    with contextlib.suppress(BotoCoreError, ClientError, UserError):
        remove_objects(aws.s3, folder, [name for name, _ in list_objects(aws.s3, folder)])
