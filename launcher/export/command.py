"""``launch.py export``: what labelling tools want to know of a job's frames, in their formats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from framefleet.common.errors import UserError
from framefleet.launcher.aws.s3 import parse_folder

if TYPE_CHECKING:
    from framefleet.launcher.export.frames import Manifest

FOLDER: Final = "export"
OF_S3: Final = ("ground-truth", "source-ref")
FORMATS: Final = (*OF_S3, "coco-vid", "cvat", "fiftyone")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("output", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "formats",
    type=click.Choice(FORMATS),
    multiple=True,
    required=True,
    help="May be given several times. ground-truth: sequence files and input manifests for labelling video "
    "frames in SageMaker Ground Truth; source-ref: one of its manifests for single images; coco-vid; cvat: "
    "CVAT's manifest.jsonl; fiftyone.",
)
@click.option(
    "--s3-uri",
    metavar="URI",
    help="Where the folder OUTPUT is in S3, or will be: ground-truth and source-ref name files there.",
)
@click.option("--drop-suspect", is_flag=True, help="Leave out frames after a decoding error.")
def export(output: Path, formats: tuple[str, ...], s3_uri: str | None, drop_suspect: bool) -> int:
    """Write what labelling tools read of the frames in the folder OUTPUT.

    Of OUTPUT, only manifest/ is read, so of an output in S3 only that must be copied here.
    """
    if str(output).startswith("s3:/"):  # a Path has one slash of two
        raise click.UsageError(
            f"export reads a folder, not {output}: copy its manifest/ with `aws s3 cp --recursive`, "
            "and say --s3-uri"
        )
    wanting = [name for name in OF_S3 if name in formats]
    if wanting and s3_uri is None:
        raise click.UsageError(f"--format {wanting[0]} names files in S3: say --s3-uri s3://BUCKET/PREFIX")
    if s3_uri is not None and not wanting:
        raise click.UsageError("--s3-uri goes with --format ground-truth or source-ref")
    from framefleet.launcher.export.frames import Manifest
    from framefleet.launcher.output.output_lock import note_of_running_job

    if note := note_of_running_job(output):
        click.echo(note, err=True)
    try:
        uri = parse_folder(s3_uri, "--s3-uri").uri if s3_uri is not None else ""
        frames = Manifest(output, suspect=not drop_suspect)
        click.echo(f"{len(frames):,} frames")
        for name in dict.fromkeys(formats):
            click.echo(f"{name}: {_writer(name)(frames, output, uri)}")
    except UserError as error:
        raise click.UsageError(str(error)) from error
    except OSError as error:
        raise click.UsageError(f"{error.filename} cannot be written: {error.strerror}") from error
    return 0


def _writer(name: str) -> Callable[[Manifest, Path, str], str]:
    """What writes a format, and says where."""
    from framefleet.launcher.export import coco_vid, cvat, fiftyone, ground_truth

    def sequences(frames: Manifest, output: Path, uri: str) -> str:
        made = ground_truth.write_sequences(frames, output / FOLDER, uri)
        return f"{made[0]}" + (
            f" to {made[-1].name}, each for a labelling job of its own" if len(made) > 1 else ""
        )

    writers: dict[str, Callable[[Manifest, Path, str], str]] = {
        "ground-truth": sequences,
        "source-ref": lambda frames, output, uri: str(
            ground_truth.write_images(frames, output / FOLDER, uri)
        ),
        "coco-vid": lambda frames, output, uri: str(coco_vid.write(frames, output / FOLDER)),
        "cvat": lambda frames, output, uri: str(cvat.write(frames, output)),
        "fiftyone": lambda frames, output, uri: str(fiftyone.write(frames, output / FOLDER)),
    }
    return writers[name]
