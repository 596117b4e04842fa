"""Which frames a job wants: exact rational arithmetic on ticks, never floats.

A video's frames are put on an axis of integer *positions*, and units are ranges on it. At a rate F a
position is a sample number k, wanted at ``T_k = t_first + k/F``; with a list of times it is an index in
that list; where frames are taken as they come (native, every N-th, keyframes) it is the number of ticks
since the first frame. Every frame has one position: the first sample that it can show, which is the
smallest k with ``pts <= T_k + tick/2`` (half a tick absorbs the rounding of containers with coarse
timestamps, such as Matroska's 1 ms). A frame is written for its position if and only if the next frame
has another one. So a decision needs a frame and its successor, and nothing before: it is the same
wherever a video is cut. Every N-th frame alone depends on what came before, by one number: its rank.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Generic, TypeVar

from framefleet.common.errors import UserError

NATIVE = "native"
MAX_FPS = 100_000  # beyond any camera; it keeps positions of a year of video within 42 bits
MIN_FPS = Fraction(1, 366 * 86_400)  # a frame in a year
MAX_INT32 = 2**31 - 1  # FFmpeg's sizes and time bases
MAX_NUMBER_TEXT = 64  # characters; Fraction("1e999999999") would fill the memory
NO_TICK = 2**62  # later than any pts: what lies beyond a list of times has no end

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Axis:
    """The axis of one time base, in integers: a position is ``table``'s place, or ``ticks * up / down``,
    or (``down`` being 0) the ticks themselves."""

    time_base: Fraction
    up: int = 0
    down: int = 0
    table: Sequence[int] | None = None


@dataclass(frozen=True, slots=True)
class Sampling:
    """What is wanted of one video: exactly one of five things, within limits.

    Attributes:
        rate: that many frames a second; None with all the others.
        every: one frame of so many, the first one included; 1 is ``native``.
        keyframes_only: the keyframes, and no other frame is looked at.
        times: the frames on screen at these seconds after the first frame; ascending, none twice.
        start: seconds after the first frame; what is wanted before is left out.
        end: the same; what is wanted at that time or later is left out. None: no end.

    Under a rate and for times, the limits apply to what is wanted (``T_k``), else to frames' own times.
    """

    rate: Fraction | None = None
    every: int = 1
    keyframes_only: bool = False
    times: tuple[Fraction, ...] | None = None
    start: Fraction = Fraction(0)
    end: Fraction | None = None
    _axis: _Axis | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def numbered_by_order(self) -> bool:
        """Whether a sample's number is its rank among those written, which no position tells."""
        return self.rate is None and self.times is None

    @property
    def is_limited(self) -> bool:
        """Whether a video may hold frames, and yet none that is wanted."""
        return self.start > 0 or self.end is not None or self.times is not None

    def range_of(self, time_base: Fraction) -> tuple[int, int | None]:
        """The positions ``[lo, hi)`` to which the limits and the list of times confine a video.

        ``hi`` is None where there is no limit, and never below ``lo``.
        """
        lo = self.position_at(self.start, time_base)
        if self.end is not None:
            return lo, max(lo, self.position_at(self.end, time_base))
        return lo, None if self.times is None else len(self.times)

    def position_at(self, offset: Fraction, time_base: Fraction) -> int:
        """The smallest position whose target lies at or after ``offset`` seconds from ``t_first``.

        With times it is their number if all of them lie before.
        """
        if self.times is not None:
            return bisect_left(self.times, offset)
        return max(0, _ceil(offset * self._per_second(time_base)))

    def position_at_tick(self, ticks: int, time_base: Fraction) -> int:
        """``position_at(ticks * time_base)``, without making a fraction of it: it is asked for each unit."""
        if self.times is not None:
            return bisect_left(self.times, ticks * time_base)
        if ticks <= 0:
            return 0
        axis = self._axis
        if axis is None or axis.time_base is not time_base:
            axis = self._axis_on(time_base)
        return -(-2 * ticks * axis.up // axis.down) if axis.down else ticks

    def offset_of(self, position: int, time_base: Fraction) -> Fraction:
        """Seconds from ``t_first`` to the target of ``position``; behind the last of times, to that one."""
        if self.times is not None:
            return self.times[min(position, len(self.times) - 1)] if self.times else Fraction(0)
        return position / self._per_second(time_base)

    def seconds_of(self, position: int, time_base: Fraction) -> float:
        """``offset_of`` as the nearest float, several times as fast: for estimates."""
        if self.times is not None:
            return float(self.offset_of(position, time_base))
        per_second = self.rate
        if per_second is None:
            return position * time_base.numerator / time_base.denominator
        return position * per_second.denominator / per_second.numerator

    def position_of(self, ticks: int, time_base: Fraction) -> int:
        """The position of the frame whose pts lies ``ticks`` after the first frame's.

        It is asked for each packet, and takes 0.3 us as long as the time base stays the same object.
        """
        axis = self._axis
        if axis is None or axis.time_base is not time_base:
            axis = self._axis_on(time_base)
        if axis.down:
            position = -((1 - 2 * ticks) * axis.up // axis.down)
            return position if position > 0 else 0
        if axis.table is not None:
            return bisect_left(axis.table, ticks)
        return ticks

    def last_tick(self, position: int, time_base: Fraction) -> int:
        """The largest number of ticks after the first frame that is no later than ``position``.

        Behind the last of times it is ``NO_TICK``.
        """
        if self.times is not None:
            table = self._axis_on(time_base).table
            assert table is not None
            return table[position] if position < len(table) else NO_TICK
        if self.rate is None:
            return position
        ticks = Fraction(position) / (self.rate * time_base) + Fraction(1, 2)
        return ticks.numerator // ticks.denominator

    def shown_at_end(self, ticks: int, duration_ticks: int, time_base: Fraction) -> bool:
        """Whether the last frame, ``duration_ticks`` long (0 if unknown), is on screen at its target."""
        position = self.position_of(ticks, time_base)
        if self.times is not None and position == len(self.times):
            return False
        return self.offset_of(position, time_base) < (ticks + (duration_ticks or 1)) * time_base

    def _per_second(self, time_base: Fraction) -> Fraction:
        return 1 / time_base if self.rate is None else self.rate

    def _axis_on(self, time_base: Fraction) -> _Axis:
        axis = self._axis
        if axis is not None and axis.time_base == time_base:
            return axis
        if self.times is not None:
            # floor(t / time_base + 1/2): the last tick that can show at t
            up, down = 2 * time_base.denominator, 2 * time_base.numerator
            table = [
                (numerator * up + denominator * time_base.numerator) // (denominator * down)
                for numerator, denominator in (time.as_integer_ratio() for time in self.times)
            ]
            axis = _Axis(time_base, table=table)
        elif self.rate is not None:
            per_tick = self.rate * time_base
            axis = _Axis(time_base, up=per_tick.numerator, down=2 * per_tick.denominator)
        else:
            axis = _Axis(time_base)
        object.__setattr__(self, "_axis", axis)  # a memory of its own work: nobody can tell the difference
        return axis


def parse_fraction(text: str) -> Fraction:
    """A number, exactly: ``5``, ``0.5``, ``1e-3`` or ``30000/1001``.

    Raises:
        ValueError: it is none, or so long that it would take long to read.
    """
    if len(text) > MAX_NUMBER_TEXT or _exponent(text) > MAX_NUMBER_TEXT:
        raise ValueError(f"{text[:MAX_NUMBER_TEXT]!r} is too long for a number")
    try:
        return Fraction(text)
    except ZeroDivisionError:
        raise ValueError(f"{text!r} is divided by zero") from None


def parse_time_base(text: str) -> Fraction:
    """Seconds per tick, as a manifest tells them: ``1/12800``.

    Raises:
        ValueError: it is no such number.
    """
    value = parse_fraction(text)
    if value <= 0 or max(value.numerator, value.denominator) > MAX_INT32:
        raise ValueError(f"{text!r} is no time base")
    return value


def parse_sampling(text: str) -> Sampling:
    """Read what ``--fps`` says: a number, a fraction such as ``30000/1001``, or ``native``.

    Raises:
        UserError: it is none of these, or not in the range from one frame a year to ``MAX_FPS``.
    """
    if text == NATIVE:
        return Sampling(None)
    remedy = "give a number of frames per second (5, 0.5), a fraction (30000/1001), or native"
    try:
        rate = parse_fraction(text)
    except ValueError:
        raise UserError(f"--fps {text[:MAX_NUMBER_TEXT]!r} is not a frame rate: {remedy}") from None
    if rate <= 0:
        raise UserError(f"--fps {text!r} is not above zero: {remedy}")
    if rate > MAX_FPS:
        raise UserError(f"--fps {text!r} is above the limit of {MAX_FPS}; native gives every frame there is")
    if rate < MIN_FPS:
        raise UserError(f"--fps {text!r} is below the limit of one frame in a year: {remedy}")
    return Sampling(rate)


@dataclass(frozen=True, slots=True)
class Pick(Generic[T]):
    """A frame with what was fed for it, the position that it has, and how many frames of the range had
    been fed by then, itself included."""

    item: T
    pts: int
    position: int
    shown: int = 0


class Selector(Generic[T]):
    """Decides for the positions ``[start, stop)`` of one video which frames are written.

    A decision under a rate or for times waits for the frame's successor; else it is made at once: of the
    frames in the range every N-th is written, ``rank`` being the number of frames that lie before it,
    from the first one that the limits admit. Where keyframes are wanted, nothing else must be fed.

    It is fed displayed frames in presentation order, from a frame whose position is at most ``start``
    (or the first of the video) on. A repeated or backward pts is dropped: the first frame that had it
    counts. It holds one item, the frame that waits for its successor.
    """

    def __init__(
        self,
        sampling: Sampling,
        time_base: Fraction,
        *,
        first_pts: int,
        start: int,
        stop: int | None,
        rank: int = 0,
    ) -> None:
        self._sampling = sampling
        self._by_order = sampling.numbered_by_order
        self._time_base = time_base
        self._first_pts = first_pts
        self._start = start
        self._rank = rank
        self._held: Pick[T] | None = None
        self.stop = stop

    @property
    def done_to(self) -> int:
        """Everything of the range below this position is decided; never beyond ``stop``."""
        position = self._start
        if self._held is not None:
            position = max(position, self._held.position + self._by_order)
        return position if self.stop is None else min(position, self.stop)

    @property
    def finished(self) -> bool:
        """Whether no frame that may still come can be picked."""
        return self.stop is not None and self.done_to >= self.stop

    @property
    def shown(self) -> int:
        """How many displayed frames at positions of the range were fed."""
        return 0 if self._held is None else self._held.shown

    @property
    def next_rank(self) -> int:
        """The rank that the next frame of the range will have."""
        return self._rank + self.shown

    def feed(self, item: T, pts: int) -> Pick[T] | None:
        """Take the next frame; the answer is a frame to be written, this one or the one before it."""
        held = self._held
        if pts < self._first_pts or (held is not None and pts <= held.pts):
            return None
        position = self._sampling.position_of(pts - self._first_pts, self._time_base)
        inside = self._is_inside(position)
        fresh = self._held = Pick(item, pts, position, (0 if held is None else held.shown) + inside)
        if self._by_order:
            return fresh if inside and (self._rank + fresh.shown - 1) % self._sampling.every == 0 else None
        if held is None or held.position == position or not self._is_inside(held.position):
            return None
        return held

    def end(self, duration_ticks: int) -> Pick[T] | None:
        """The video is over, its last frame being ``duration_ticks`` long (0 if unknown)."""
        held = self._held
        if held is None or self._by_order or not self._is_inside(held.position):
            return None
        ticks = held.pts - self._first_pts
        return held if self._sampling.shown_at_end(ticks, duration_ticks, self._time_base) else None

    @property
    def held(self) -> Pick[T] | None:
        """The last frame taken: the whole memory of this object."""
        return self._held

    def back_to(self, held: Pick[T] | None) -> None:
        """Forget what was fed since ``held`` was the frame held."""
        self._held = held

    def _is_inside(self, position: int) -> bool:
        return position >= self._start and (self.stop is None or position < self.stop)


def _ceil(value: Fraction) -> int:
    return -(-value.numerator // value.denominator)


def _exponent(text: str) -> int:
    """The size of a decimal exponent in ``text``; 0 without one."""
    _, found, digits = text.lower().partition("e")
    return abs(int(digits)) if found else 0
