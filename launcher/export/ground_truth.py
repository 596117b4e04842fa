"""Amazon SageMaker Ground Truth: sequence files for video frames, and a plain manifest of images.

The schemas are those of the developer guide's "Create a Video Frame Input Manifest File" and "Use an Input
Manifest File". A sequence is the frames of one video; its tools number frames from 1.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Final

from framefleet.common.errors import UserError
from framefleet.launcher.export.atomic_writer import encode, whole_file, write_lines
from framefleet.launcher.export.frames import Frame, Manifest, Video

SEQUENCES_OF_MANIFEST: Final = 10  # the most that a labelling job of video frames takes
READABLE: Final = (".jpg", ".jpeg", ".png")  # "Supported data formats" of the developer guide
FOLDER: Final = "ground-truth"
IMAGES: Final = "images.manifest"


def write_sequences(frames: Manifest, folder: Path, s3_uri: str) -> list[Path]:
    """Write a sequence file for each video, and input manifests of ten sequences each.

    Args:
        frames: of an output that is, or will be, at ``s3_uri``.
        folder: the output's folder of exports.
        s3_uri: ``s3://bucket/prefix/``, where the output's ``frames/`` and this folder's name lie.

    Returns:
        The input manifests, each for a labelling job of its own.

    Raises:
        UserError: an image is of a format that Ground Truth cannot read.
        OSError: a file cannot be written.
    """
    _check_formats(frames)
    making = folder / f".{FOLDER}"
    shutil.rmtree(making, ignore_errors=True)
    manifests: list[Path] = []
    references: list[dict[str, str]] = []

    def close_manifest() -> None:
        manifests.append(making / f"{len(manifests) + 1:04}.manifest")
        write_lines(manifests[-1], references)
        references.clear()

    for number, video in enumerate(frames.videos(), start=1):
        name = f"sequence-{number:06}.json"
        with whole_file(making / name) as file:
            file.write(encode(_sequence(video, number, s3_uri)))
        references.append({"source-ref": f"{s3_uri}{folder.name}/{FOLDER}/{name}"})
        if len(references) == SEQUENCES_OF_MANIFEST:
            close_manifest()
    if references:
        close_manifest()
    final = folder / FOLDER
    shutil.rmtree(final, ignore_errors=True)
    making.replace(final)
    return [final / manifest.name for manifest in manifests]


def write_images(frames: Manifest, folder: Path, s3_uri: str) -> Path:
    """Write an input manifest with a line for each image, for labelling them one by one.

    Raises:
        UserError: an image is of a format that Ground Truth cannot read.
        OSError: the file cannot be written.
    """
    _check_formats(frames)
    path = folder / IMAGES
    write_lines(path, ({"source-ref": s3_uri + frame.file} for frame in frames))
    return path


def _sequence(video: Video, number: int, s3_uri: str) -> dict[str, Any]:
    below = _common_folder(video)
    return {
        "seq-no": number,
        "prefix": s3_uri + below,
        "number-of-frames": len(video.frames),
        "frames": [
            {"frame-no": count, "frame": frame.file.removeprefix(below)}
            for count, frame in enumerate(video.frames, start=1)
        ],
    }


def _common_folder(video: Video) -> str:
    """The folder below which all frames of a video lie, relative to the output, with a slash at its end."""
    folders = {frame.folder for frame in video.frames}
    shared = folders.pop()
    for folder in folders:
        pieces = zip(PurePosixPath(shared).parts, PurePosixPath(folder).parts, strict=False)
        shared = ""
        for mine, theirs in pieces:
            if mine != theirs:
                break
            shared += f"{mine}/"
    return shared


def _check_formats(frames: Iterator[Frame] | Manifest) -> None:
    for frame in frames:
        if not frame.file.lower().endswith(READABLE):
            raise UserError(
                f"Ground Truth reads {', '.join(READABLE)}, not {frame.name}: "
                "extract with --format jpg or png"
            )
