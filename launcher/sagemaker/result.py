"""The end of a followed job: what it says of itself, what it cost, where the frames are, the exit code."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec
from rich.console import Console
from rich.text import Text

from framefleet.common.decoding import NOT_DECODED
from framefleet.common.errors import UserError
from framefleet.common.host.layout import Layout
from framefleet.common.job.spec import JobSpec
from framefleet.common.status import Failure, Summary
from framefleet.launcher.aws.clients import Aws, translated
from framefleet.launcher.aws.s3 import S3Folder, list_objects, read_object
from framefleet.launcher.console.summary import print_account
from framefleet.launcher.job import EXIT_DONE, EXIT_INTERRUPTED, EXIT_LOST, MAX_FAILURES_READ, JobResult
from framefleet.launcher.output.combine_summaries import combine_summaries
from framefleet.launcher.sagemaker.cloudwatch_logs import last_lines
from framefleet.launcher.sagemaker.follow import Ending
from framefleet.launcher.sagemaker.job_description import Followed, read_description
from framefleet.launcher.sagemaker.request import SPEC_FOLDER
from framefleet.launcher.sagemaker.submit import remove_spec, remove_staging
from framefleet.launcher.text import clock, printable, program

LOG_LINES = 20


def conclude(console: Console, aws: Aws, ending: Ending, *, price_per_hour: float | None) -> int:
    """Tell the user how a followed job ended, remove what is of no use any more; the exit code."""
    if not ending.description:
        return EXIT_INTERRUPTED
    job = read_description(ending.description)

    def say(text: str, style: str = "") -> None:
        console.print(Text(printable(text), style=style), soft_wrap=True)

    if not ending.is_over:
        say(
            f"{job.name} goes on. To follow it: {program()} attach {job.name}; "
            f"to stop it: {program()} stop {job.name}"
        )
        return EXIT_INTERRUPTED
    is_packed = _is_packed(aws, job)  # its specification tells, if it is there still
    clean_up(aws, job)
    result = _read_result(aws, job, ending)
    if result.summary is not None:
        print_account(console, result, source=job.source)
    else:
        told = f", of which {ending.status.frames_written:,} frames were written" if ending.status else ""
        say(
            f"The job {job.status.lower()} without a summary{told}.",
            style="" if job.status == "Completed" else "bold red",
        )
        for line in result.log_tail:
            say(f"  | {line}")
    say(f"SageMaker: {job.status}" + (f": {job.failure}" if job.failure else ""))
    if job.exit_message:
        say(f"Exit message: {' '.join(job.exit_message.split())}")
    say(f"Frames:   {job.output.below('shards' if is_packed else 'frames')}")
    say(f"Manifest: {job.output.below('manifest')}")
    account = job.output.below("job").below(job.name)
    say(f"Account:  {account}")
    say(
        f"Report:   aws s3 sync {account} OUTPUT/job/{job.name} && "
        f"{program()} report OUTPUT --job {job.name}  (with the manifest and frames there too, it shows some)"
    )
    for line in cost_lines(job, price_per_hour):
        say(line)
    if job.status != "Completed":
        say("To go on with what is missing: the same command with --resume")
    return exit_code(job, result.summary)


def exit_code(job: Followed, summary: Summary | None) -> int:
    """The exit code of a job that is over; hosts have heeded --on-error, and failed it if need be."""
    if job.status == "Stopped":
        return EXIT_INTERRUPTED
    if job.status != "Completed":
        return EXIT_LOST
    if summary is not None and (summary.frames_lost or summary.outcome != "completed"):
        return EXIT_LOST
    return EXIT_DONE


def cost_lines(job: Followed, price_per_hour: float | None) -> list[str]:
    """What the job cost at the user's own price; instance-hours, without one."""
    if job.seconds is None or job.instances is None:
        return []
    hours = job.instances * job.seconds / 3600
    what = f"{job.instances} x {job.instance_type} for {clock(job.seconds)}, {hours:.2f} instance-hours"
    if price_per_hour is None:
        return [f"Used:     {what} (--price-per-hour makes dollars of it)"]
    return [
        f"Cost:     {what}: ${hours * price_per_hour:,.2f} at ${price_per_hour:g} an hour, the price you gave"
    ]


def clean_up(aws: Aws, job: Followed) -> None:
    """Remove the job's specification, with its keys, and uploads of frames that were never finished.

    What may not be removed stays: it is in nobody's way.
    """
    remove_spec(aws, job.output.below(SPEC_FOLDER).below(job.name))
    remove_staging(aws, job.output)


def _is_packed(aws: Aws, job: Followed) -> bool:
    """Whether images lie in shards, or would; no, where the output may not be looked at."""
    from botocore.exceptions import BotoCoreError, ClientError

    with contextlib.suppress(BotoCoreError, ClientError, *NOT_DECODED):
        told = read_object(
            aws.s3, job.output.below(SPEC_FOLDER).below(job.name), Layout(Path()).job_spec.name
        )
        return msgspec.json.decode(told, type=JobSpec).pack is not None
    with contextlib.suppress(BotoCoreError, ClientError):
        return next(list_objects(aws.s3, job.output.below("shards")), None) is not None
    return False


def _read_result(aws: Aws, job: Followed, ending: Ending) -> JobResult:
    trouble: list[str] = []
    summary: Summary | None = None
    failures: list[Failure] = []
    folder = job.output.below("job").below(job.name)
    try:
        with translated(f"reading {folder}", bucket=folder.bucket):
            summary, failures = _read_account(aws, job, folder)
    except UserError as error:
        trouble.append(str(error))
    tail: list[str] = []
    if summary is None and job.status != "Completed":
        tail = _log_tail(aws, job, ending)
    return JobResult(
        summary=summary,
        failures=failures,
        interrupted=job.status == "Stopped",
        trouble=trouble,
        lost=False,
        log_tail=tail,
        frames_merged=summary.frames if summary is not None else 0,
    )


def _read_account(aws: Aws, job: Followed, folder: S3Folder) -> tuple[Summary | None, list[Failure]]:
    """The summary and the failures, of all hosts if each told of its own share."""
    names = [name for name, _ in list_objects(aws.s3, folder)]
    summaries: list[Summary] = []
    failures: list[Failure] = []
    for name in sorted(names):
        if name.rpartition("/")[2] == "summary.json":
            try:
                summaries.append(msgspec.json.decode(read_object(aws.s3, folder, name), type=Summary))
            except NOT_DECODED:
                continue
        elif name.rpartition("/")[2] == "failures.jsonl":
            for line in read_object(aws.s3, folder, name).splitlines():
                if len(failures) < MAX_FAILURES_READ:
                    with contextlib.suppress(*NOT_DECODED):  # what was uploaded may be torn
                        failures.append(msgspec.json.decode(line, type=Failure))
    if not summaries:
        return None, failures
    if not job.is_sharded:
        return summaries[0], failures
    missing = max(0, (job.instances or len(summaries)) - len(summaries))
    return combine_summaries(summaries, missing=["unknown"] * missing), failures


def _log_tail(aws: Aws, job: Followed, ending: Ending) -> list[str]:
    from botocore.exceptions import BotoCoreError, ClientError

    since_ms = int(ending.description["CreationTime"].timestamp() * 1000)
    try:
        lines = last_lines(aws.logs, job.name, since_ms=since_ms, count=LOG_LINES)
    except (BotoCoreError, ClientError) as error:
        return [f"(the log cannot be read: {error})"]
    return [f"{line.host}: {line.text}" for line in lines]
