"""What a probe learns of a video and what an extraction tells of a frame."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Literal

import msgspec

MAX_HINTS = 4096  # keyframe times kept per video: one in 2 s for over two hours, thinned evenly beyond

FrameStatus = Literal["ok", "suspect"]
NonNegative = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]


class VideoInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a probe found. Everything but ``first_pts`` and the time base is an estimate or a hint.

    Attributes:
        first_pts: pts of the first frame that the decoder displays, in ticks (``t_first``).
        duration_s: seconds from there to the end, as far as the container can be believed; 0 if unknown.
        frame_rate: frames per second on average; 0 if unknown.
        keyframes: expected pts of keyframes in ticks, ascending, at most ``MAX_HINTS``; empty if unknown.
        seekable: whether a range in the middle can be reached without reading all that is before it;
            if not, the video is one unit.
    """

    container: str
    codec: str
    width: Positive
    height: Positive
    time_base_num: Positive
    time_base_den: Positive
    first_pts: int
    duration_s: Annotated[float, msgspec.Meta(ge=0)]
    frame_rate: Annotated[float, msgspec.Meta(ge=0)]
    keyframes: Annotated[list[int], msgspec.Meta(max_length=MAX_HINTS)]
    seekable: bool
    size_bytes: NonNegative

    @property
    def time_base(self) -> Fraction:
        """Seconds per tick."""
        return Fraction(self.time_base_num, self.time_base_den)


class FrameRow(msgspec.Struct, frozen=True, kw_only=True):
    """One delivered frame, as the manifest tells it; unit, attempt and host are added at the commit.

    ``sample`` counts from the start of the unit under ``native`` (the commit adds the frames before
    it) and is k itself under a rate. ``file`` is the name of the image in the unit's staging folder.
    """

    sample: NonNegative
    target_s: float
    pts: int
    time_base: str
    time_s: float
    keyframe: bool
    pix_fmt: str
    width: Positive
    height: Positive
    rotation: int
    interlaced: bool
    file: str
    bytes: NonNegative
    sha256: str
    status: FrameStatus


class UnitResult(msgspec.Struct, frozen=True, kw_only=True):
    """What one extraction of a range gave.

    Attributes:
        decoded: frames that came out of the decoder, roll-in included.
        roll_in: those of them that lay before the range.
        errors: packets that the demuxer or decoder refused.
        saw_end: the file's end was reached, so nothing lies beyond this range.
        shown: frames that are displayed at positions of this range, written or not.
        notes: remarks for the user on the file, each a sentence (a truncated file, say).
    """

    rows: list[FrameRow]
    decoded: NonNegative
    roll_in: NonNegative
    errors: NonNegative
    saw_end: bool
    shown: NonNegative = 0
    seconds: float = 0.0
    notes: list[str] = []
