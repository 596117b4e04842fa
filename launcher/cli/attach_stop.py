"""``launch.py attach JOB`` and ``launch.py stop JOB``: jobs that were submitted before."""

from __future__ import annotations

from typing import Any

import click

from framefleet.launcher.options.sagemaker import sagemaker_access
from framefleet.launcher.text import program


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("job")
@sagemaker_access
def attach(job: str, **options: Any) -> int:
    """Follow a SageMaker job to its end, as the command that submitted it would have.

    The exit code is the job's: 0 when every readable frame was delivered, 1 when it failed, 130 when it was
    stopped or is left running.
    """
    from framefleet.launcher.sagemaker.command import access, follow

    aws, found = access(options)
    return follow(aws, job, found)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("job")
@sagemaker_access
def stop(job: str, **options: Any) -> int:
    """Stop a SageMaker job; its hosts keep what is whole, and --resume goes on with it."""
    from framefleet.common.errors import UserError
    from framefleet.launcher.sagemaker.command import access
    from framefleet.launcher.sagemaker.follow import check_job, stop_job

    aws, _ = access(options)
    try:
        check_job(aws, job)
        stop_job(aws, job)
    except UserError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"Stopping {job}. To see it end: {program()} attach {job}")
    return 0
