"""Whether an output is in use: by which jobs that run, and by which that are over.

Names of folders in the output do not tell it: the step of a pipeline runs the specification of one job under
a name of its own. SageMaker's list of running jobs does, by the outputs of each.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from framefleet.common.errors import UserError
from framefleet.launcher.aws.clients import Aws, translated
from framefleet.launcher.aws.s3 import S3Folder, list_folders
from framefleet.launcher.sagemaker.job_description import OVER, is_missing, read_description
from framefleet.launcher.sagemaker.request import SPEC_FOLDER
from framefleet.launcher.text import program

RUNNING = ("InProgress", "Stopping")  # hosts that are told to stop still write


def check_idle(aws: Aws, output: S3Folder) -> None:
    """See that no other job of Framefleet writes to the output, under it or above it.

    Raises:
        UserError: one does.
    """
    with translated(f"looking for jobs in {output}", bucket=output.bucket):
        known = {name for above in (SPEC_FOLDER, "manifest") for name in _names(aws, output, above)}
        for name in sorted(known | set(_running(aws))):
            told = _describe(aws, name)
            if told is None or told["ProcessingJobStatus"] in OVER:
                continue
            try:
                where = read_description(told).output
            except UserError:
                continue  # of somebody else, who has no business there
            if where.overlaps(output):
                raise UserError(
                    f"job {name} is running in --output {where}: wait for it ({program()} attach {name}), "
                    f"stop it ({program()} stop {name}), or use another folder"
                )


def specifications_of_no_use(aws: Aws, output: S3Folder) -> list[S3Folder]:
    """The specifications of jobs that are over. One that SageMaker does not know stays: a pipeline may
    need it, whose steps have names of their own.

    Raises:
        botocore.exceptions.ClientError, BotoCoreError: AWS cannot be asked.
    """
    over = []
    for name in _names(aws, output, SPEC_FOLDER):
        told = _describe(aws, name)
        if told is not None and told["ProcessingJobStatus"] in OVER:
            over.append(output.below(SPEC_FOLDER).below(name))
    return over


def _running(aws: Aws) -> Iterator[str]:
    for status in RUNNING:
        for page in aws.sagemaker.get_paginator("list_processing_jobs").paginate(StatusEquals=status):
            for job in page["ProcessingJobSummaries"]:
                yield job["ProcessingJobName"]


def _names(aws: Aws, output: S3Folder, above: str) -> list[str]:
    return sorted(list_folders(aws.s3, output.below(above)))


def _describe(aws: Aws, name: str) -> dict[str, Any] | None:
    from botocore.exceptions import ClientError

    try:
        told: dict[str, Any] = aws.sagemaker.describe_processing_job(ProcessingJobName=name)
    except ClientError as error:
        if is_missing(error):
            return None
        raise
    return told
