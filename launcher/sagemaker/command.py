"""``launch.py --input s3://... --output s3://...``: the SageMaker target behind the command line."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import click
from rich.console import Console

from framefleet.common.errors import UserError
from framefleet.common.job.completed import Done
from framefleet.launcher.aws.clients import Aws, NoAccessError, open_aws, region_of
from framefleet.launcher.aws.settings import NAMES, ResolvedSettings, load_settings, parse_tags
from framefleet.launcher.console.display import SlowStep, make_console
from framefleet.launcher.console.progress import open_view
from framefleet.launcher.job import EXIT_DONE, EXIT_UNCERTAIN
from framefleet.launcher.options.command_line import CommandLine
from framefleet.launcher.sagemaker.follow import Answer, Follower
from framefleet.launcher.sagemaker.iam_policies import policies
from framefleet.launcher.sagemaker.prepare import Draft, SageMakerRequest, check_taken, draft, make_request
from framefleet.launcher.sagemaker.result import conclude
from framefleet.launcher.sagemaker.resume import Taken, clear, look
from framefleet.launcher.sagemaker.submit import UncertainError, submit
from framefleet.launcher.sagemaker.validation_rules import ECR_IMAGE
from framefleet.launcher.text import printable, program


class Uncertain(click.ClickException):
    """Nobody knows whether the job was created."""

    exit_code = EXIT_UNCERTAIN


def settings_of(options: Mapping[str, Any]) -> ResolvedSettings:
    """The settings in force, the command line's before all others.

    Raises:
        UserError: one will not do.
    """
    given = {name: options.get(name) for name in NAMES}
    given["tags"] = parse_tags(options.get("tags") or (), "--tag")
    for name in ("subnets", "security_groups"):
        given[name] = list(options.get(name) or ())
    return load_settings(given)


def access(options: Mapping[str, Any]) -> tuple[Aws, ResolvedSettings]:
    """The account and region that the options name, for a job that is there already.

    Raises:
        click.UsageError: they name none.
    """
    try:
        found = settings_of(options)
        return open_aws(found), found
    except UserError as error:
        raise click.UsageError(str(error)) from error


def run_sagemaker(line: CommandLine) -> int:
    """Run the job that the command line asks for; the exit code.

    Raises:
        click.UsageError: an option will not do, or AWS refuses; nothing was started then.
        Uncertain: whether the job was submitted is not known.
    """
    console = make_console()
    try:
        if line.check_contents:
            raise UserError(
                "--resume=check reads every image, and those in S3 are not here: S3 keeps what it has "
                "stored, so give --resume alone"
            )
        request = make_request(
            source=line.source,
            destination=line.destination,
            found=settings_of(line.settings),
            job_name=line.job_name,
            **line.job(),
        )
        if line.dry_run:
            return dry_run(request)
        aws = open_aws(request.found)
        made = draft(request, aws)
        check_taken(aws, request)
        taken = look_back(console, aws, request, made)
        for note in (*made.notes, *taken.notes):
            console.print(f"Note: {printable(note)}", soft_wrap=True)
        if request.resume:
            clear(aws, request, taken)
            if taken.is_all_of(made.videos or []):
                console.print(
                    f"All {len(taken.done):,} videos are done: nothing was submitted", soft_wrap=True
                )
                return EXIT_DONE
        done = Done(taken.done, taken.libraries)
        submit(aws, request, made, done, lambda text: console.print(text, soft_wrap=True))
    except UncertainError as error:
        raise Uncertain(str(error)) from error
    except UserError as error:
        raise click.UsageError(str(error)) from error
    console.print(f"Submitted {made.job.name} to SageMaker Processing in {aws.region}", soft_wrap=True)
    if line.detach:
        console.print(f"To follow it: {program()} attach {made.job.name}", soft_wrap=True)
        return EXIT_DONE
    return follow(aws, made.job.name, request.found)


def look_back(console: Console, aws: Aws, request: SageMakerRequest, made: Draft) -> Taken:
    """What earlier jobs have done, where this one is to go on with them.

    Raises:
        UserError: their frames are not what is asked for.
    """
    if not request.resume:
        return Taken()
    with SlowStep(console, "reading the manifest of what is done") as step:
        return look(aws, request, made.videos or [], on_progress=step.update)


def follow(aws: Aws, job: str, found: ResolvedSettings) -> int:
    """Follow a job to its end and tell the user of it; the exit code.

    Raises:
        click.ClickException: there is no such job, or AWS can no longer be asked; the job goes on.
    """
    console = make_console()
    follower = Follower(aws, job, open_view=lambda: open_view(console), ask=ask)
    try:
        ending = follower.run()
        return conclude(console, aws, ending, price_per_hour=found.settings.price_per_hour)
    except UserError as error:
        raise click.ClickException(str(error)) from error


def ask() -> Answer:
    """What to do with the job after Ctrl-C; where nobody can be asked, it goes on."""
    if not sys.stdin.isatty():
        return "leave"
    answers: dict[str, Answer] = {"s": "stop", "l": "leave", "f": "follow"}
    try:
        given = click.prompt(
            "Stop the job, leave it running, or follow it on?",
            type=click.Choice([*answers]),
            default="f",
            show_choices=True,
        )
    except click.Abort:
        return "leave"
    return answers[given]


def dry_run(request: SageMakerRequest) -> int:
    """Print the request and the IAM policies as one JSON object; what could not be looked at goes to stderr.

    Raises:
        UserError: AWS would refuse the request.
    """
    aws: Aws | None = None
    region = request.found.settings.region
    notes: tuple[str, ...] = ()
    try:
        region = region_of(request.found)
        aws = open_aws(request.found)
        made = draft(request, aws)
        notes = look_back(make_console(sys.stderr), aws, request, made).notes
    except NoAccessError as error:
        notes = (str(error),)
        made = draft(request, None, region)
    image = ECR_IMAGE.fullmatch(made.job.settings.image or "")
    where = region or (image["region"] if image else None)
    told = {"CreateProcessingJob": made.request, "policies": policies(made.job, where)}
    click.echo(json.dumps(told, indent=2))
    for note in (*notes, *made.notes):
        click.echo(f"Note: {printable(note)}", err=True)
    return EXIT_DONE
