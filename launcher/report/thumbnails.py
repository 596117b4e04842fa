"""A few of a job's frames, small enough to lie within a page."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from framefleet.common.errors import UserError
from framefleet.common.output.manifest import read_part
from framefleet.common.output.part_file import PartError, manifest_parts
from framefleet.common.output.shards import Readers

COUNT = 12
WIDTH, HEIGHT = 192, 120  # pixels, of the box that each fits in
QUALITY = 72
MAX_FILES = 200  # parts of a manifest that are looked into,
MAX_ROWS = 200_000  # and the rows that they may have together


class _Frame(NamedTuple):
    """The columns of the manifest that matter here."""

    video: str
    time_s: float
    file: str
    shard: str | None
    place: int | None
    bytes: int


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A frame of a video at a time, as the address of an image that holds its own data."""

    video: str
    time_s: float
    file: str
    width: int
    height: int
    source: str


def thumbnails(output: Path, count: int = COUNT) -> list[Thumbnail]:
    """Up to ``count`` frames from all over the job, of as many videos as may be; [] where there are none.

    Frames that have been removed, or cannot be read, are left out.
    """
    import cv2
    import numpy as np

    made = []
    with Readers(output) as readers:
        for frame in _choose(output, count):
            try:
                image = readers.read(frame.shard, frame.file, frame.place, frame.bytes)
                picture = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
            except (OSError, cv2.error):
                continue
            if picture is None:
                continue
            height, width = picture.shape[:2]
            scale = min(WIDTH / width, HEIGHT / height, 1.0)
            size = max(1, round(width * scale)), max(1, round(height * scale))
            small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
            done, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
            if done:
                source = f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"
                made.append(Thumbnail(frame.video, frame.time_s, frame.file, *size, source))
    return made


def _choose(output: Path, count: int) -> list[_Frame]:
    """Frames: the middle one of each video's, or several where videos are few."""
    try:
        parts = manifest_parts(output)
    except UserError:
        return []
    step = max(1, len(parts) // MAX_FILES)
    frames: dict[str, list[_Frame]] = {}
    rows = 0
    for part in parts[::step]:
        try:
            table = read_part(part, _Frame._fields)
        except (OSError, PartError):
            continue
        rows += len(table)
        columns = (table.column(name).to_pylist() for name in _Frame._fields)
        for values in zip(*columns, strict=True):
            frame = _Frame(*values)
            if frame.bytes == 0:
                continue  # it was dropped
            frames.setdefault(frame.video, []).append(frame)
        if rows > MAX_ROWS:
            break
    videos = sorted(frames)
    if not videos:
        return []
    chosen = (
        [videos[place * len(videos) // count] for place in range(count)] if len(videos) > count else videos
    )
    share, more = divmod(count, len(chosen))
    found = []
    for place, video in enumerate(chosen):
        mine = sorted(frames[video], key=lambda frame: (frame.time_s, frame.file))
        wanted = min(len(mine), share + (place < more))
        for number in range(wanted):
            found.append(mine[(2 * number + 1) * len(mine) // (2 * wanted)])
    return found
