"""The command ``run``: from the options of the command line to the end of a job."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from framefleet.common.errors import UserError
from framefleet.common.host.cores import usable_cores
from framefleet.launcher.aws.s3 import is_in_s3
from framefleet.launcher.console.display import SlowStep, make_console
from framefleet.launcher.console.progress import open_view
from framefleet.launcher.console.summary import print_result
from framefleet.launcher.demo import make_demo_set
from framefleet.launcher.job import EXIT_LOST, ContainerOptions, JobRequest
from framefleet.launcher.options.image import make_image_options
from framefleet.launcher.options.metrics import make_metrics
from framefleet.launcher.options.pack import make_pack
from framefleet.launcher.options.sampling import make_sampling
from framefleet.launcher.output.check_frame_names import check_names_of
from framefleet.launcher.output.output_folder import prepare_output
from framefleet.launcher.output.output_lock import OutputLock, lock_output
from framefleet.launcher.targets.local import run_local
from framefleet.launcher.text import complain

DEFAULT_OUTPUT = "output"
DEMO_FOLDER = "demo"


def run_command(options: dict[str, Any], sagemaker_options: Sequence[str]) -> int:
    """Run a job on the target that its options mean; the exit code.

    Args:
        options: those of the command line, by their parameters' names.
        sagemaker_options: the names of those that only the target ``sagemaker`` has.

    Raises:
        click.UsageError: an option or a folder will not do; nothing was changed.
    """
    target = check_target(options["target"], options["source"], options["destination"])
    if target != "compose" and (options["cpus"] is not None or options["memory"] is not None):
        raise click.UsageError("--cpus and --memory are limits of containers: use --target compose with them")
    options["target"] = target
    if target == "sagemaker":
        from framefleet.launcher.sagemaker.command import run_sagemaker

        return run_sagemaker(options)
    given = [name for name in sagemaker_options if options[name]]
    if given:
        from framefleet.launcher.aws.settings import option

        raise click.UsageError(
            f"{option(given[0])} is for --target sagemaker: leave it out, or give folders in S3"
        )
    try:
        request, is_demo = make_request(options)
        with lock_output(request.output) as lock:
            prepare_output(request, is_demo=is_demo, is_local=target == "local")
            return run_job(request, lock, target=target)
    except UserError as error:
        raise click.UsageError(str(error)) from error


def check_target(target: str, source: str | None, destination: str) -> str:
    """Refuse folders in S3 for targets on this machine; the target."""

    remote = [folder for folder in (source, destination) if folder and is_in_s3(folder)]
    if target == "auto":
        target = "sagemaker" if remote else "local"
    if remote and target != "sagemaker":
        raise click.UsageError(f"--target {target} works on folders of this machine, not on {remote[0]}")
    return target


def make_request(options: dict[str, Any]) -> tuple[JobRequest, bool]:
    """Check the options, then make the demo set if there is no input; the output is not touched.

    Returns:
        The job, and whether it is the demo in its default place.

    Raises:
        UserError: an option or a folder will not do.
    """
    sampling, image = make_sampling(options), make_image_options(options)
    metrics, pack = make_metrics(options), make_pack(options, image)
    output = _absolute(options["destination"])
    if output.exists() and not output.is_dir():
        raise UserError(f"--output {output} is not a folder")
    is_demo = options["source"] is None and options["destination"] == DEFAULT_OUTPUT
    source = _absolute(DEMO_FOLDER) if options["source"] is None else _input_folder(options["source"])
    if output == source or output.is_relative_to(source) or source.is_relative_to(output):
        raise UserError(f"--input {source} and --output {output} lie in one another: choose another --output")
    instances, slots = options["instances"], options["slots"]
    if slots is None and options["target"] != "compose":  # a container looks at its own CPU time
        slots = max(1, usable_cores() // instances)
    request = JobRequest(
        input=source,
        output=output,
        instances=instances,
        slots_per_instance=slots,
        sampling=sampling,
        mode=options["mode"],
        image=image,
        on_error=options["on_error"],
        metrics=metrics,
        resume=options["resume"] is not None,
        check_contents=options["resume"] == "check",
        pack=pack,
        containers=ContainerOptions(
            cpus=options["cpus"],
            memory_bytes=None if options["memory"] is None else options["memory"] * 2**20,
        ),
    )

    if options["source"] is None:
        request = replace(request, input=_demo_set())
    check_names_of(request)
    return request, is_demo


def run_job(request: JobRequest, lock: OutputLock, *, target: str = "local") -> int:
    """Run a checked job on this machine and tell the user about it; the exit code."""
    console = make_console()
    cluster_type = None
    if target == "compose":
        from framefleet.launcher.targets.compose import container_clusters

        try:
            cluster_type = container_clusters(request, say=console.print)
        except UserError as error:
            raise click.UsageError(str(error)) from error
    view = open_view(console)
    try:
        with SlowStep(console, "merging the hosts' outputs") as step:
            result = run_local(request, view=view, lock=lock, on_merge=step.update, cluster_type=cluster_type)
    except UserError as error:
        complain(str(error))
        return EXIT_LOST
    finally:
        view.close()
    print_result(console, request, result)
    return result.exit_code(request.on_error)


def _input_folder(folder: str) -> Path:
    """Raises UserError: it is no folder that can be read."""
    source = _absolute(folder)
    if not source.exists():
        raise UserError(f"--input {source} does not exist")
    if not source.is_dir():
        raise UserError(f"--input {source} is a file: give the folder that holds it")
    if not os.access(source, os.R_OK | os.X_OK):
        raise UserError(f"--input {source} may not be read: change its permissions")
    return source


def _demo_set() -> Path:
    with SlowStep(make_console(), "making the demo videos") as step:
        return make_demo_set(_absolute(DEMO_FOLDER), on_progress=step.update)


def _absolute(folder: str) -> Path:
    try:
        return Path(folder).expanduser().resolve()
    except (RuntimeError, OSError) as error:  # ~ of nobody, or a loop of links
        raise click.UsageError(f"{folder}: {getattr(error, 'strerror', None) or error}") from error
