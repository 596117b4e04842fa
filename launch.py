"""The user's door: ``python launch.py --instances 8 --fps 5``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

OWN_PACKAGES = ("common", "coordinator", "export", "plan", "report", "targets", "verify", "worker")
REMEDY = "run `make demo`, or `pip install -e .` in a virtual environment (Python 3.11 or later)"

try:
    import click
except ModuleNotFoundError:
    sys.exit(f"Error: the Python package 'click' is missing: {REMEDY}")

if TYPE_CHECKING:  # everything else is imported where it is needed: --help must be quick
    from targets.job import JobRequest
    from targets.output_lock import OutputLock

from framefleet.common import startup as stdio  # noqa: E402
from targets.command_line import DefaultGroup, SectionedCommand  # noqa: E402 - it needs click, as this does
from targets.image_options import image_options  # noqa: E402
from targets.pack_options import make_pack, pack_options  # noqa: E402
from targets.sagemaker_options import sagemaker_options  # noqa: E402
from targets.sampling_options import sampling_options  # noqa: E402

MAX_INSTANCES = 100
MAX_SLOTS = 1024
DEFAULT_OUTPUT = "output"
DEMO_FOLDER = "demo"


def _names(decorator: Callable[[Any], Any]) -> tuple[str, ...]:
    """The parameters that a decorator gives a command."""
    parameters: list[click.Parameter] = decorator(lambda: None).__click_params__
    return tuple(parameter.name or "" for parameter in parameters)


SECTIONS: list[tuple[str, tuple[str, ...] | None]] = [
    ("Where", ("source", "destination", "instances", "slots", "target", "cpus", "memory")),
    ("Which frames (one of --fps, --every, --keyframes, --timestamps)", _names(sampling_options)),
    ("Images", _names(image_options)),
    (
        "SageMaker Processing (also FRAMEFLEET_ROLE and so on in the environment, or framefleet.toml)",
        _names(sagemaker_options),
    ),
    ("Others", None),
]


# other commands, each imported only when it is asked for: a module, and the command's name there
COMMANDS = {
    "attach": "targets.sagemaker_commands",
    "export": "export.command",
    "plan": "plan.command",
    "report": "report.command",
    "stop": "targets.sagemaker_commands",
    "verify": "verify.command",
}
ANSWERS = ("export", "plan", "report", "verify")  # what these print is what they are for


@click.group(cls=DefaultGroup, default="run", elsewhere=COMMANDS)
def cli() -> None:
    """Exact frames out of many uneven videos, shared evenly over a cluster."""


@cli.command(
    cls=SectionedCommand, sections=SECTIONS, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.option(
    "--input", "source", metavar="DIR", help="Folder of videos, here or s3://...  [default: demo videos]"
)
@click.option(
    "--output",
    "destination",
    metavar="DIR",
    default=DEFAULT_OUTPUT,
    show_default=True,
    help="Folder for frames, manifest and report.",
)
@click.option(
    "--instances",
    type=click.IntRange(1, MAX_INSTANCES),
    metavar="N",
    default=1,
    show_default=True,
    help="Hosts of the cluster.",
)
@click.option(
    "--slots-per-instance",
    "slots",
    type=click.IntRange(1, MAX_SLOTS),
    metavar="N",
    show_default="this machine's cores, shared out",
    help="Worker processes of a host.",
)
@sampling_options
@click.option(
    "--mode",
    type=click.Choice(["coordinated", "sharded"]),
    default="coordinated",
    show_default=True,
    help="Parts of videos for whoever is free, or whole videos dealt out beforehand, to compare with.",
)
@image_options
@pack_options
@click.option(
    "--on-error",
    type=click.Choice(["report", "fail"]),
    default="report",
    show_default=True,
    help="Whether broken videos are only reported, or make the exit code 1 too.",
)
@click.option(
    "--resume",
    is_flag=False,
    flag_value="sizes",
    type=click.Choice(["sizes", "check"]),
    metavar="[=check]",
    help="Go on with a job that was stopped: what is in --output and is whole is not done again. "
    "The options on frames and images must be the same, the others need not. Files are compared with the "
    "manifest by their sizes; with --resume=check, and after a crash or a power cut, by their contents.",
)
@click.option(
    "--metrics-port",
    type=click.IntRange(1, 65535),
    metavar="N",
    help="Serve the job's metrics for Prometheus at this port of the coordinator's host.  [default: not]",
)
@click.option(
    "--metrics-address",
    metavar="ADDRESS",
    default="127.0.0.1",
    show_default=True,
    help="Where that port is; 0.0.0.0 is every network of that host.",
)
@click.option(
    "--target",
    type=click.Choice(["auto", "local", "compose", "sagemaker"]),
    metavar="NAME",
    default="auto",
    show_default=True,
    help="Where hosts run: local (processes on this machine), compose (containers on it), sagemaker; "
    "auto is sagemaker for s3:// folders, else local.",
)
@click.option(
    "--cpus",
    type=click.FloatRange(0.01, MAX_SLOTS),
    metavar="N",
    show_default="the machine's, shared out",
    help="With --target compose: CPU time of a container, 0.25 for a quarter of a core.",
)
@click.option(
    "--memory",
    type=click.IntRange(128),
    metavar="MIB",
    show_default="most of the machine's, shared out",
    help="With --target compose: memory of a container.",
)
@sagemaker_options
def run(**options: Any) -> int:
    """Extract frames from all the videos of a folder.

    Without --input, a set of demo videos is made and used. The exit code is 0 when every readable
    frame was delivered, even if some files are broken; 1 when frames were lost, when there is not one
    frame, or when something failed under --on-error fail; 2 when the command line is wrong; 130 after Ctrl-C.
    """
    target = check_target(options["target"], options["source"], options["destination"])
    if target != "compose" and (options["cpus"] is not None or options["memory"] is not None):
        raise click.UsageError("--cpus and --memory are limits of containers: use --target compose with them")
    options["target"] = target
    from framefleet.common.errors import UserError

    if target == "sagemaker":
        from targets.sagemaker.command import run_sagemaker

        return run_sagemaker(options)
    given = [name for name in _names(sagemaker_options) if options[name]]
    if given:
        from targets.sagemaker.settings import option

        raise click.UsageError(
            f"{option(given[0])} is for --target sagemaker: leave it out, or give folders in S3"
        )
    from targets.output_folder import prepare_output
    from targets.output_lock import lock_output

    try:
        request, is_demo = make_request(options)
        with lock_output(request.output) as lock:
            prepare_output(request, is_demo=is_demo, is_local=target == "local")
            return run_job(request, lock, target=target)
    except UserError as error:
        raise click.UsageError(str(error)) from error


def check_target(target: str, source: str | None, destination: str) -> str:
    """Refuse folders in S3 for targets on this machine; the target."""
    from targets.sagemaker.s3 import is_in_s3

    remote = [folder for folder in (source, destination) if folder and is_in_s3(folder)]
    if target == "auto":
        target = "sagemaker" if remote else "local"
    if remote and target != "sagemaker":
        raise click.UsageError(f"--target {target} works on folders of this machine, not on {remote[0]}")
    return target


def make_request(options: dict[str, Any]) -> tuple[JobRequest, bool]:
    """Check the options and make the demo set if there is no input; the output is not touched.

    Returns:
        The job, and whether it is the demo in its default place.

    Raises:
        UserError: an option or a folder will not do.
    """
    from framefleet.common.errors import UserError
    from framefleet.common.host.cores import usable_cores
    from targets.image_options import make_image_options
    from targets.job import ContainerOptions, JobRequest
    from targets.metrics_options import make_metrics
    from targets.sampling_options import make_sampling

    sampling, image = make_sampling(options), make_image_options(options)
    metrics, pack = make_metrics(options), make_pack(options, image)
    output = _absolute(options["destination"])
    if output.exists() and not output.is_dir():
        raise UserError(f"--output {output} is not a folder")
    is_demo = options["source"] is None and options["destination"] == DEFAULT_OUTPUT
    if options["source"] is None:
        source = _demo_set()
    else:
        source = _absolute(options["source"])
        if not source.exists():
            raise UserError(f"--input {source} does not exist")
        if not source.is_dir():
            raise UserError(f"--input {source} is a file: give the folder that holds it")
        if not os.access(source, os.R_OK | os.X_OK):
            raise UserError(f"--input {source} may not be read: change its permissions")
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
    from targets.frame_names import check_names_of

    check_names_of(request)
    return request, is_demo


def run_job(request: JobRequest, lock: OutputLock, *, target: str = "local") -> int:
    """Run a checked job on this machine and tell the user about it; the exit code."""
    from framefleet.common.errors import UserError
    from targets.display import SlowStep, make_console
    from targets.job import EXIT_LOST
    from targets.local import run_local
    from targets.progress import open_view
    from targets.summary import print_result

    console = make_console()
    cluster_type = None
    if target == "compose":
        from targets.compose import container_clusters

        try:
            cluster_type = container_clusters(request, say=console.print)
        except UserError as error:
            raise click.UsageError(str(error)) from error
    view = open_view(console)
    try:
        with SlowStep(console, "merging the hosts' outputs") as step:
            result = run_local(request, view=view, lock=lock, on_merge=step.update, cluster_type=cluster_type)
    except UserError as error:
        _complain(str(error))
        return EXIT_LOST
    finally:
        view.close()
    print_result(console, request, result)
    return result.exit_code(request.on_error)


def _demo_set() -> Path:
    from targets.demo import make_demo_set
    from targets.display import SlowStep, make_console

    with SlowStep(make_console(), "making the demo videos") as step:
        return make_demo_set(_absolute(DEMO_FOLDER), on_progress=step.update)


def _absolute(folder: str) -> Path:
    try:
        return Path(folder).expanduser().resolve()
    except (RuntimeError, OSError) as error:  # ~ of nobody, or a loop of links
        raise click.UsageError(f"{folder}: {getattr(error, 'strerror', None) or error}") from error


def _complain(text: str) -> None:
    """One line on standard error; what is not printable in ``text`` (names are data) is escaped."""
    line = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
    click.echo(f"Error: {line}", err=True)


def main() -> int:
    """Run the command line; no mistake of the user's shows a traceback."""
    try:
        code = cli.main(prog_name="launch.py", standalone_mode=False)
    except click.exceptions.Abort:
        return 130
    except click.ClickException as error:
        _complain(error.format_message())
        return error.exit_code
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in OWN_PACKAGES:
            raise
        _complain(f"the Python package {error.name!r} is missing: {REMEDY}")
        return 2
    sys.stdout.flush()
    lost = stdio.lost_output()
    if lost is not None and not code and sys.argv[1:2] and sys.argv[1] in ANSWERS:
        _complain(f"the answer could not be written: {lost.strerror}")
        return 1
    return code or 0


if __name__ == "__main__":
    stdio.set_up()
    sys.exit(main())
