"""Which frames a job wants: exact rational arithmetic on ticks, never floats.

A video's frames are put on an axis of integer *positions*, and units are ranges on it. At a rate F a
position is a sample number k, wanted at ``T_k = t_first + k/F``; under ``native`` it is the number of
ticks since the first frame. Every frame has one position: the first sample that it can show, which is
the smallest k with ``pts <= T_k + tick/2`` (half a tick absorbs the rounding of containers with coarse
timestamps, such as Matroska's 1 ms). A frame is written for its position if and only if the next frame
has another one. So a decision needs a frame and its successor, and nothing before: it is the same
wherever a video is cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Generic, TypeVar

from common.errors import UserError

NATIVE = "native"
MAX_FPS = 100_000  # beyond any camera; it keeps positions of a year of video within 42 bits
MIN_FPS = Fraction(1, 366 * 86_400)  # a frame in a year
MAX_FPS_TEXT = 64  # characters; Fraction("1e999999999") would fill the memory

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sampling:
    """What is wanted of every video: ``rate`` frames a second, or each frame if it is None."""

    rate: Fraction | None

    @property
    def numbered_by_order(self) -> bool:
        """Whether a sample's number is its rank among all frames, which no position tells."""
        return self.rate is None

    @property
    def output_fps(self) -> float | None:
        """Frames wanted per second, for estimates only; None for each frame."""
        return None if self.rate is None else float(self.rate)

    def position_at(self, offset: Fraction, time_base: Fraction) -> int:
        """The smallest position whose target lies at or after ``offset`` seconds from ``t_first``."""
        return max(0, _ceil(offset * self._per_second(time_base)))

    def offset_of(self, position: int, time_base: Fraction) -> Fraction:
        """Seconds from ``t_first`` to the target of ``position``."""
        return position / self._per_second(time_base)

    def position_of(self, ticks: int, time_base: Fraction) -> int:
        """The position of the frame whose pts lies ``ticks`` after the first frame's."""
        if self.rate is None:
            return ticks
        return max(0, _ceil(Fraction(2 * ticks - 1, 2) * (self.rate * time_base)))

    def last_tick(self, position: int, time_base: Fraction) -> int:
        """The largest number of ticks after the first frame that is no later than ``position``."""
        if self.rate is None:
            return position
        ticks = Fraction(position) / (self.rate * time_base) + Fraction(1, 2)
        return ticks.numerator // ticks.denominator

    def shown_at_end(self, ticks: int, duration_ticks: int, time_base: Fraction) -> bool:
        """Whether the last frame, ``duration_ticks`` long (0 if unknown), is on screen at its target."""
        position = self.position_of(ticks, time_base)
        return position < (ticks + (duration_ticks or 1)) * self._per_second(time_base) * time_base

    def _per_second(self, time_base: Fraction) -> Fraction:
        return 1 / time_base if self.rate is None else self.rate


def parse_sampling(text: str) -> Sampling:
    """Read what ``--fps`` says: a number, a fraction such as ``30000/1001``, or ``native``.

    Raises:
        UserError: it is none of these, or not in the range from one frame a year to ``MAX_FPS``.
    """
    if text == NATIVE:
        return Sampling(None)
    remedy = "give a number of frames per second (5, 0.5), a fraction (30000/1001), or native"
    try:
        if len(text) > MAX_FPS_TEXT or _exponent(text) > MAX_FPS_TEXT:
            raise ValueError
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise UserError(f"--fps {text[:MAX_FPS_TEXT]!r} is not a frame rate: {remedy}") from None
    if rate <= 0:
        raise UserError(f"--fps {text!r} is not above zero: {remedy}")
    if rate > MAX_FPS:
        raise UserError(f"--fps {text!r} is above the limit of {MAX_FPS}; native gives every frame there is")
    if rate < MIN_FPS:
        raise UserError(f"--fps {text!r} is below the limit of one frame in a year: {remedy}")
    return Sampling(rate)


@dataclass(frozen=True, slots=True)
class Pick(Generic[T]):
    """A frame with what was fed for it, and the position that it has."""

    item: T
    pts: int
    position: int


class Selector(Generic[T]):
    """Decides for the positions ``[start, stop)`` of one video which frames are written.

    A rate's decision waits for the frame's successor; ``native`` writes a frame at once.

    It is fed displayed frames in presentation order, from a frame whose position is at most ``start``
    (or the first of the video) on. A repeated or backward pts is dropped: the first frame that had it
    counts. It holds one item, the frame that waits for its successor.
    """

    def __init__(
        self, sampling: Sampling, time_base: Fraction, *, first_pts: int, start: int, stop: int | None
    ) -> None:
        self._sampling = sampling
        self._time_base = time_base
        self._first_pts = first_pts
        self._start = start
        self._held: Pick[T] | None = None
        self.stop = stop

    @property
    def done_to(self) -> int:
        """Everything of the range below this position is decided; never beyond ``stop``."""
        position = self._start
        if self._held is not None:
            decided = self._held.position + (self._sampling.rate is None)
            position = max(position, decided)
        return position if self.stop is None else min(position, self.stop)

    @property
    def finished(self) -> bool:
        """Whether no frame that may still come can be picked."""
        return self.stop is not None and self.done_to >= self.stop

    def feed(self, item: T, pts: int) -> Pick[T] | None:
        """Take the next frame; the answer is a frame to be written, this one or the one before it."""
        held = self._held
        if pts < self._first_pts or (held is not None and pts <= held.pts):
            return None
        position = self._sampling.position_of(pts - self._first_pts, self._time_base)
        self._held = Pick(item, pts, position)
        if self._sampling.rate is None:
            return self._wanted(self._held)
        if held is None or held.position == position:
            return None
        return self._wanted(held)

    def end(self, duration_ticks: int) -> Pick[T] | None:
        """The video is over, its last frame being ``duration_ticks`` long (0 if unknown)."""
        held = self._held
        if held is None or self._sampling.rate is None:
            return None
        ticks = held.pts - self._first_pts
        if self._sampling.shown_at_end(ticks, duration_ticks, self._time_base):
            return self._wanted(held)
        return None

    @property
    def held(self) -> Pick[T] | None:
        """The last frame taken: the whole memory of this object."""
        return self._held

    def back_to(self, held: Pick[T] | None) -> None:
        """Forget what was fed since ``held`` was the frame held."""
        self._held = held

    def _wanted(self, held: Pick[T]) -> Pick[T] | None:
        if held.position < self._start or (self.stop is not None and held.position >= self.stop):
            return None
        return held


def _ceil(value: Fraction) -> int:
    return -(-value.numerator // value.denominator)


def _exponent(text: str) -> int:
    """The size of a decimal exponent in ``text``; 0 without one."""
    _, found, digits = text.lower().partition("e")
    return abs(int(digits)) if found else 0
