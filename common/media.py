"""What a probe learns of a video and what an extraction tells of a frame."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Annotated, Final, Literal

import msgspec

from framefleet.common.job.sampling import MAX_INT32

MAX_HINTS = 4096  # keyframe times kept per video: one in 2 s for over two hours, thinned evenly beyond

FrameStatus = Literal["ok", "suspect", "duplicate", "blurred"]
DROPPED: Final = ("duplicate", "blurred")  # frames of these have no images

# Bounds of what comes over the wire: an honest host is far below, and no sum of them leaves 64 bits.
MAX_COUNT = 10**12
MAX_BYTES = 10**15
MAX_TICK = 2**63 - 1  # FFmpeg's timestamps, and the manifest's
MAX_FRAME_RATE = 1e6
MAX_DURATION_S = 1e9  # thirty years; a time base of 1/MAX_INT32 takes such a time within 63 bits

NonNegative = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)]
Ordinal = Annotated[int, msgspec.Meta(ge=1, le=MAX_COUNT)]
Bytes = Annotated[int, msgspec.Meta(ge=0, le=MAX_BYTES)]
Position = Annotated[int, msgspec.Meta(ge=0, le=MAX_TICK)]
Tick = Annotated[int, msgspec.Meta(ge=-MAX_TICK - 1, le=MAX_TICK)]
Int32 = Annotated[int, msgspec.Meta(ge=1, le=MAX_INT32)]
Word = Annotated[str, msgspec.Meta(max_length=255)]
Duration = Annotated[float, msgspec.Meta(ge=0, le=MAX_DURATION_S)]


@lru_cache(maxsize=256)
def _fraction(numerator: int, denominator: int) -> Fraction:
    """There are few time bases, and reducing a fraction takes longer than most of what is done with one."""
    return Fraction(numerator, denominator)


class Fingerprint(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a video is to every host that opens its file: two that differ are of two files, or one is wrong.

    Attributes:
        checksum: of the file's first and last bytes (``worker/video/fingerprint.py``).
        first_pts: pts of the first frame that the decoder displays, in ticks (``t_first``).
        width, height: of that frame, in pixels.
    """

    checksum: Word
    time_base_num: Int32
    time_base_den: Int32
    first_pts: Tick
    width: Int32
    height: Int32

    def __str__(self) -> str:
        time_s = self.first_pts * self.time_base_num / self.time_base_den
        return (
            f"first frame at {time_s:.6f} s (pts {self.first_pts}, time base "
            f"{self.time_base_num}/{self.time_base_den}) of {self.width} x {self.height} pixels, "
            f"checksum {self.checksum or 'unknown'}"
        )


class VideoInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a probe found. Everything but the ``fingerprint`` is an estimate or a hint.

    Attributes:
        checksum, time_base_num, time_base_den, first_pts, width, height: see ``Fingerprint``.
        duration_s: seconds from there to the end, as far as the container can be believed; 0 if unknown.
        frame_rate: frames per second on average; 0 if unknown.
        keyframes: expected pts of keyframes in ticks, ascending, at most ``MAX_HINTS``; empty if unknown.
        seekable: whether a range in the middle can be reached without reading all that is before it;
            if not, the video is one unit.
    """

    container: Word
    codec: Word
    width: Int32
    height: Int32
    time_base_num: Int32
    time_base_den: Int32
    first_pts: Tick
    duration_s: Duration
    frame_rate: Annotated[float, msgspec.Meta(ge=0, le=MAX_FRAME_RATE)]
    keyframes: Annotated[Sequence[Tick], msgspec.Meta(max_length=MAX_HINTS)]
    seekable: bool
    size_bytes: Bytes
    checksum: Word

    @property
    def time_base(self) -> Fraction:
        """Seconds per tick."""
        return _fraction(self.time_base_num, self.time_base_den)

    @property
    def fingerprint(self) -> Fingerprint:
        """What other hosts must find, too."""
        return Fingerprint(
            self.checksum, self.time_base_num, self.time_base_den, self.first_pts, self.width, self.height
        )


class FrameRow(msgspec.Struct, frozen=True, kw_only=True):
    """One delivered frame, as the manifest tells it; unit, attempt and host are added at the commit.

    ``sample`` counts from the start of the unit under ``native`` (the commit adds the frames before it) and
    is k itself under a rate. ``file`` is the image's name in the unit's staging folder, or would be, if it
    lies in a bundle from byte ``place`` on; what was dropped has none (nor a digest), and 0 bytes.
    ``distance`` and ``sharpness`` are of worker/picture/dedup_and_blur.py.
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
    place: int | None = None
    distance: int | None = None
    sharpness: float | None = None

    @property
    def is_dropped(self) -> bool:
        """Whether it was left out, and has no image."""
        return self.status in DROPPED


class Timing(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where the seconds of one attempt went: for the report, and nothing is decided by it.

    Attributes:
        slot: the number of the slot process on its host.
        since_s: when the slot was given the attempt, by the host's monotonic clock.
        open_s: opening the file, and making the staging folder.
        roll_in_s: reaching the range: the seek, and decoding up to the last frame before it.
        decode_s: reading and decoding from there on.
        convert_s: from decoded frames to pictures of the form that is wanted.
        encode_s: from pictures to bytes.
        write_s: hashing and writing them.
    """

    slot: Count = 0
    since_s: Duration = 0.0
    open_s: Duration = 0.0
    roll_in_s: Duration = 0.0
    decode_s: Duration = 0.0
    convert_s: Duration = 0.0
    encode_s: Duration = 0.0
    write_s: Duration = 0.0


class UnitResult(msgspec.Struct, frozen=True, kw_only=True):
    """What one extraction of a range gave.

    Attributes:
        decoded: frames that came out of the decoder, roll-in included.
        roll_in: those of them that lay before the range.
        errors: packets that the demuxer or decoder refused.
        saw_end: the file's end was reached, so nothing lies beyond this range.
        shown: frames that are displayed at positions of this range, written or not.
        video_bytes: size of the file; 0 if unknown.
        notes: remarks for the user on the file, each a sentence (a truncated file, say).
        timing: where ``seconds`` went, as far as the extraction knows.
    """

    rows: list[FrameRow]
    decoded: NonNegative
    roll_in: NonNegative
    errors: NonNegative
    saw_end: bool
    shown: NonNegative = 0
    video_bytes: NonNegative = 0
    seconds: float = 0.0
    timing: Timing = Timing()
    notes: list[str] = []
