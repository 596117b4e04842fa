"""The command line: ``framefleet``, ``python -m framefleet``, or ``python launch.py`` in a clone."""

from __future__ import annotations

import sys
from typing import Any

import click

from framefleet import __version__
from framefleet.common import startup
from framefleet.launcher.cli import DEFAULT_OUTPUT
from framefleet.launcher.cli.lazy_group import DefaultGroup, SectionedCommand
from framefleet.launcher.options import names_of
from framefleet.launcher.options.image import image_options
from framefleet.launcher.options.pack import pack_options
from framefleet.launcher.options.sagemaker import sagemaker_options
from framefleet.launcher.options.sampling import sampling_options
from framefleet.launcher.text import complain, missing, program

# click alone is imported here, and what is small: --help must be quick

MAX_INSTANCES = 100
MAX_SLOTS = 1024


def _show_version(context: click.Context, _: click.Parameter, asked: bool) -> None:
    """This version, and those that decide on the bytes of frames."""
    if asked:
        import platform
        from importlib.metadata import version

        names = ("av", "opencv-python-headless", "numpy")
        parts = [f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in names)]
        click.echo(f"framefleet {__version__} ({', '.join(parts)})")
        context.exit()


SECTIONS: list[tuple[str, tuple[str, ...] | None]] = [
    ("Where", ("source", "destination", "instances", "slots", "target", "cpus", "memory")),
    ("Which frames (one of --fps, --every, --keyframes, --timestamps)", names_of(sampling_options)),
    ("Images", names_of(image_options)),
    (
        "SageMaker Processing (also FRAMEFLEET_ROLE and so on in the environment, or framefleet.toml)",
        names_of(sagemaker_options),
    ),
    ("Others", None),
]


# other commands, each imported only when it is asked for: a module, and the command's name there
COMMANDS = {
    "attach": "framefleet.launcher.cli.attach_stop",
    "export": "framefleet.launcher.export.command",
    "manual": "framefleet.launcher.targets.manual",
    "plan": "framefleet.launcher.plan.command",
    "report": "framefleet.launcher.report.command",
    "stop": "framefleet.launcher.cli.attach_stop",
    "verify": "framefleet.launcher.verify.command",
}
ANSWERS = ("export", "plan", "report", "verify")  # what these print is what they are for


@click.group(cls=DefaultGroup, default="run", elsewhere=COMMANDS)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version)
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
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="What hosts say in their logs: with debug, every message.",
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
    from framefleet.launcher.cli.run import run_command

    return run_command(options)


def main() -> int:
    """Run the command line; no mistake of the user's shows a traceback."""
    try:
        code = cli.main(prog_name=program(), standalone_mode=False)
    except click.exceptions.Abort:
        return 130
    except click.ClickException as error:
        complain(error.format_message())
        return error.exit_code
    except ModuleNotFoundError as error:
        complain(missing(error))
        return 2
    sys.stdout.flush()
    lost = startup.lost_output()
    if lost is not None and not code and sys.argv[1:2] and sys.argv[1] in ANSWERS:
        complain(f"the answer could not be written: {lost.strerror}")
        return 1
    return code or 0


def start() -> None:
    """Be a program: names and texts are UTF-8, and the exit code is the command's."""
    startup.set_up()
    sys.exit(main())
