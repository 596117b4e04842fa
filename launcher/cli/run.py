"""The command ``run``: from the options of the command line to the end of a job."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from framefleet.common.errors import UserError
from framefleet.common.host.cores import usable_cores
from framefleet.launcher.cli import DEFAULT_OUTPUT
from framefleet.launcher.console.display import SlowStep, make_console
from framefleet.launcher.console.progress import open_view
from framefleet.launcher.console.summary import print_result
from framefleet.launcher.demo import make_demo_set
from framefleet.launcher.job import EXIT_LOST, ContainerOptions, JobRequest
from framefleet.launcher.options.command_line import CommandLine, read_command_line
from framefleet.launcher.output.check_frame_names import check_names_of
from framefleet.launcher.output.output_folder import prepare_output
from framefleet.launcher.output.output_lock import OutputLock, lock_output
from framefleet.launcher.targets.local import run_local
from framefleet.launcher.text import complain

DEMO_FOLDER = "demo"


def run_command(options: Mapping[str, Any]) -> int:
    """Run a job on the target that its options mean; the exit code.

    Args:
        options: those of the command line, by their parameters' names.

    Raises:
        click.UsageError: an option or a folder will not do; nothing was changed.
    """
    try:
        line = read_command_line(options)
        if line.target == "sagemaker":
            from framefleet.launcher.sagemaker.command import run_sagemaker

            return run_sagemaker(line)
        request, is_demo = make_request(line)
        with lock_output(request.output) as lock:
            prepare_output(request, is_demo=is_demo, is_local=line.target == "local")
            return run_job(request, lock, target=line.target)
    except UserError as error:
        raise click.UsageError(str(error)) from error


def make_request(line: CommandLine) -> tuple[JobRequest, bool]:
    """Check the folders, then make the demo set if there is no input; the output is not touched.

    Returns:
        The job, and whether it is the demo in its default place.

    Raises:
        UserError: a folder will not do.
    """
    output = _absolute(line.destination)
    if output.exists() and not output.is_dir():
        raise UserError(f"--output {output} is not a folder")
    is_demo = line.source is None and line.destination == DEFAULT_OUTPUT
    source = _absolute(DEMO_FOLDER) if line.source is None else _input_folder(line.source)
    if output == source or output.is_relative_to(source) or source.is_relative_to(output):
        raise UserError(f"--input {source} and --output {output} lie in one another: choose another --output")
    request = JobRequest(
        input=source,
        output=output,
        containers=ContainerOptions(cpus=line.cpus, memory_bytes=line.memory_bytes),
        **line.job(),
    )
    if line.slots_per_instance is None and line.target != "compose":  # a container looks at its own CPU time
        request = replace(request, slots_per_instance=max(1, usable_cores() // line.instances))
    if line.source is None:
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
