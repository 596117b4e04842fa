"""CVAT's dataset manifest of images (version 1.1), which lets it take frames from cloud storage as they are.

Names are relative to the manifest's own folder, so it lies beside ``frames/`` in the output, where CVAT
looks for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Final

from framefleet.launcher.export.atomic_writer import write_lines
from framefleet.launcher.export.frames import Manifest

FILE: Final = "manifest.jsonl"


def write(frames: Manifest, output: Path) -> Path:
    """Write the manifest of an output's images, in the order of their names, which is how CVAT sorts files.

    Raises:
        OSError: the file cannot be written.
    """
    path = output / FILE
    write_lines(path, _lines(frames))
    return path


def _lines(frames: Manifest) -> Iterator[dict[str, Any]]:
    yield {"version": "1.1"}
    yield {"type": "images"}
    for frame in frames.by_file():
        suffix = PurePosixPath(frame.file).suffix
        yield {
            "name": frame.file.removesuffix(suffix),
            "extension": suffix,
            "width": frame.width,
            "height": frame.height,
            "meta": {
                "video": frame.video,
                "sample": frame.sample,
                "time_s": frame.time_s,
                "status": frame.status,
            },
        }
