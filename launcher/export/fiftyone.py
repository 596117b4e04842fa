"""FiftyOne: a dataset of images on disk (``fiftyone.types.FiftyOneDataset``), with times and videos.

It is imported with ``fiftyone.Dataset.from_dir(dataset_dir=".../export/fiftyone",
dataset_type=fiftyone.types.FiftyOneDataset)``: paths are relative to that folder. They cannot be so to the
output: FiftyOne takes a dataset without its own version for one of its older format, and forgets ``rel_dir``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from framefleet.launcher.export.atomic_writer import encode, whole_file, write_list
from framefleet.launcher.export.frames import Manifest

FOLDER: Final = "fiftyone"
OUTPUT: Final = "../../"  # from this folder, which lies in that of exports


def write(frames: Manifest, folder: Path) -> Path:
    """Write ``metadata.json`` and ``samples.json``; the folder that holds them.

    Raises:
        OSError: a file cannot be written.
    """
    target = folder / FOLDER
    with whole_file(target / "samples.json") as file:
        file.write(b'{"samples":')
        write_list(file, _samples(frames))
        file.write(b"}\n")
    with whole_file(target / "metadata.json") as file:
        file.write(encode({"media_type": "image", "info": {"made_by": "Framefleet"}}))
    return target


def _samples(frames: Manifest) -> Iterator[dict[str, Any]]:
    for video in frames.videos():
        for number, frame in enumerate(video.frames, start=1):  # FiftyOne counts frames from 1
            yield {
                "filepath": OUTPUT + frame.file,
                "tags": [frame.status] if frame.status != "ok" else [],
                "metadata": {
                    "_cls": "ImageMetadata",
                    "size_bytes": frame.bytes,
                    "width": frame.width,
                    "height": frame.height,
                },
                "video": frame.video,
                "frame_number": number,
                "sample": frame.sample,
                "timestamp": frame.time_s,
                "status": frame.status,
            }
