"""``launch.py verify``: an output checked against its manifest and, if wanted, its videos."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from framefleet.common.errors import UserError

DEFAULT_SAMPLES = 100
MAX_SHOWN = 20

if TYPE_CHECKING:
    from framefleet.launcher.verify.against_videos import Compared
    from framefleet.launcher.verify.check_output import Checked


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("output")
@click.option(
    "--against",
    metavar="INPUT",
    help="The job's folder of videos: some frames are made again, from the beginning of their videos, "
    "and compared.",
)
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    metavar="N",
    default=DEFAULT_SAMPLES,
    show_default=True,
    help="How many frames --against compares.",
)
@click.option(
    "--seed", type=int, metavar="N", default=0, show_default=True, help="Which frames --against draws."
)
@click.option("--region", metavar="NAME", help="AWS region, where a folder is in S3.")
@click.option("--profile", metavar="NAME", help="Profile of the AWS configuration.")
def verify(
    output: str, against: str | None, samples: int, seed: int, region: str | None, profile: str | None
) -> int:
    """Check that every frame in OUTPUT is as its manifest says, and that there are no others.

    OUTPUT and INPUT are folders here, or s3://BUCKET/PREFIX: all of the output is read then, and the videos
    that frames are drawn from. The exit code is 0 if all is well, 1 if something is not, 2 if it cannot be
    checked.
    """
    from framefleet.launcher.aws.s3 import is_in_s3
    from framefleet.launcher.console.display import SlowStep, make_console
    from framefleet.launcher.output.output_lock import note_of_running_job

    if not is_in_s3(output) and (note := note_of_running_job(Path(output))):
        click.echo(note, err=True)
    try:
        with ExitStack() as stack:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="framefleet-verify-")))
            step = stack.enter_context(SlowStep(make_console(), "checking the output"))
            client = None
            remote = [place for place in (output, against) if place is not None and is_in_s3(place)]
            if remote:
                from framefleet.launcher.aws.clients import open_aws, translated
                from framefleet.launcher.aws.s3 import parse_folder
                from framefleet.launcher.aws.settings import load_settings

                client = open_aws(load_settings({"region": region, "profile": profile})).s3
                names = " and ".join(remote)
                bucket = parse_folder(remote[0], "OUTPUT" if remote[0] == output else "--against").bucket
                stack.enter_context(translated(f"reading {names}", bucket=bucket))
            checked, compared = _verify(output, against, samples, seed, client, scratch, step.update)
    except UserError as error:
        raise click.UsageError(str(error)) from error
    problems = checked.problems
    click.echo(
        f"{checked.frames:,} frames in {checked.parts:,} manifest parts, {checked.bytes:,} bytes"
        + (f"; {checked.dropped:,} were left out" if checked.dropped else "")
    )
    if compared is not None:
        problems = problems + compared.problems
        click.echo(
            f"{compared.frames:,} frames of {compared.videos:,} videos made again, "
            f"{compared.suspect:,} suspect ones left out"
        )
        for note in compared.notes:
            click.echo(f"Note: {note}")
    for problem in problems[:MAX_SHOWN]:
        click.echo("".join(char if char.isprintable() else repr(char)[1:-1] for char in problem))
    if len(problems) > MAX_SHOWN:
        click.echo(f"... and {len(problems) - MAX_SHOWN:,} more")
    click.echo(f"{len(problems):,} problems" if problems else "All is well")
    return 1 if problems else 0


def _verify(
    output: str,
    against: str | None,
    samples: int,
    seed: int,
    client: Any,
    scratch: Path,
    on_progress: Callable[[int, int], None],
) -> tuple[Checked, Compared | None]:
    from framefleet.launcher.verify.check_output import check_output
    from framefleet.launcher.verify.storage import open_output, open_videos

    place = open_output(output, client, scratch)
    checked = check_output(place, on_progress)
    if against is None:
        return checked, None
    from framefleet.launcher.verify.against_videos import compare

    return checked, compare(place.root, open_videos(against, client, scratch), samples=samples, seed=seed)
