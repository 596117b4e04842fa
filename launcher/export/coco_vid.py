"""COCO-VID: COCO's JSON with videos, as trackers' tools (mmtracking, YouTube-VIS and others) read it.

It has no annotations, which is what the labelling is for. ``frame_id`` counts from 0 within a video, and
``file_name`` is relative to the output's ``frames/``, the image root.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from framefleet.launcher.export.atomic_writer import whole_file, write_list
from framefleet.launcher.export.frames import FRAMES, Manifest

FILE: Final = "coco-vid.json"


def write(frames: Manifest, folder: Path) -> Path:
    """Write the videos and images of an output.

    Raises:
        OSError: the file cannot be written.
    """
    path = folder / FILE
    with whole_file(path) as file:
        file.write(b'{"info":{"description":"frames of Framefleet"},\n"videos":')
        write_list(file, _videos(frames))
        file.write(b',\n"images":')
        write_list(file, _images(frames))
        file.write(b',\n"annotations":[],\n"categories":[]}\n')
    return path


def _videos(frames: Manifest) -> Iterator[dict[str, Any]]:
    for number, video in enumerate(frames.videos(), start=1):
        first = video.frames[0]
        yield {
            "id": number,
            "name": video.name,
            "width": first.width,
            "height": first.height,
            "length": len(video.frames),
        }


def _images(frames: Manifest) -> Iterator[dict[str, Any]]:
    number = 0
    for video_number, video in enumerate(frames.videos(), start=1):
        for place, frame in enumerate(video.frames):
            number += 1
            yield {
                "id": number,
                "video_id": video_number,
                "frame_id": place,
                "file_name": frame.file.removeprefix(FRAMES),
                "width": frame.width,
                "height": frame.height,
                "sample": frame.sample,
                "time_s": frame.time_s,
                "status": frame.status,
            }
