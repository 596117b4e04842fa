"""What waits to be published: the rows of a committed attempt, and what they prove to be done."""

from __future__ import annotations

from dataclasses import dataclass

from common.media import FrameRow

Key = tuple[int, int]  # unit, attempt

STAGED_BUNDLE = "images"  # the name of a bundle in the attempt's staging folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """The range that a unit covers: positions ``[start, stop)`` of its video, None being the video's end."""

    start: int = 0
    stop: int | None = None
    shown: int = 0
    video_bytes: int = 0


@dataclass(slots=True)
class Publication:
    """A committed attempt that waits for its rows; the first ``moved`` files are in place already. With a
    ``bundle``, that is the only file."""

    key: Key
    video: str
    rows: list[FrameRow]
    samples: list[int]
    files: list[str | None]
    extent: Extent
    bundle: str | None = None
    moved: int = 0


WHOLE_VIDEO = Extent()
