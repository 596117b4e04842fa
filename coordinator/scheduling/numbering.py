"""What a unit's frames are called, and how many of them are wanted: that depends on the units before it.

Under a rate, and for a list of times, a frame's number follows from its time, and without a limit on the
frames of a video nothing here matters. Else a unit is *numbered* once all before it have been counted:

- native and keyframes: its first frame has the number of frames before it.
- every N-th: a host must know the *rank* of a unit's first frame, its place among all frames, before it
  begins, to write the right ones. It is told what is estimated then, and its answer tells how many frames
  were displayed, whatever the rank. If the true one, known in the end, differs by no multiple of N, the
  frames are right; else the unit is done again. So estimates cost time, never a frame.
- a limit: units are published in order and the last one in part. Units are cut only as far as frames are
  expected to be wanted, and further when there were too few.

A unit that was given up counts as the frames that are estimated in it: names of those behind it stay
right if the estimate is.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from fractions import Fraction

from framefleet.common.job.sampling import NO_TICK, Sampling
from framefleet.common.job.selection import Selection
from framefleet.common.media import MAX_COUNT, VideoInfo
from framefleet.common.protocol.messages import Done
from framefleet.coordinator.scheduling.policy import DEFAULT_FRAME_RATE
from framefleet.coordinator.state import Unit, UnitState, Video

MAX_FRAME_TICKS = 100_000  # a constant rate is a fraction with no larger denominator; it arrives as a float


class Numbering:
    """Counts the frames of units in the order of their video. It moves no unit's state."""

    def __init__(self, selection: Selection, units: dict[int, Unit]) -> None:
        self._units = units
        self._in_order = selection.in_order
        self._by_order = selection.base.numbered_by_order
        self._every = selection.base.every
        self.limit = selection.limit

    # ---- what a host is told ------------------------------------------------------------------------

    def tell_rank(self, video: Video, unit: Unit, sampling: Sampling) -> int:
        """The rank that a unit's next attempt starts from: exact if it is numbered, else a guess."""
        unit.rank = 0
        if self._every > 1:
            rank = self._guess(video, unit, sampling) if unit.before is None else unit.before
            unit.rank = min(rank, NO_TICK)  # by claims, there may be more frames than a message can tell
        return unit.rank

    def limit_of(self, video: Video, unit: Unit) -> int | None:
        """More frames than these are certainly not wanted of a unit; None: all are."""
        if self.limit is None:
            return None
        if unit.before is not None:
            return max(1, self.limit - self._frames(unit.before))
        # With another rank, the same range may hold a frame less.
        return self.limit - self._frames(video.counted) + (self._every > 1)

    def _guess(self, video: Video, unit: Unit, sampling: Sampling) -> int:
        rank = video.counted
        for number in video.units[video.numbered :]:
            before = self._units[number]
            if before is unit:
                break
            if before.counted is not None:
                rank += before.counted
            else:
                rank += min(MAX_COUNT, self.expected(video, sampling, before.start, before.stop))
        return rank

    # ---- what hosts answer --------------------------------------------------------------------------

    def count(self, unit: Unit, done: Done) -> str | None:
        """Take a complete attempt into account.

        Returns: None, or in words how it contradicts an earlier one that others have been numbered by.
        """
        counted = self.counted_of(done.frames, done.shown)
        if unit.first_sample is not None and unit.counted is not None and unit.counted != counted:
            assert unit.before is not None
            enough = [self._is_enough(unit.before + each) for each in (unit.counted, counted)]
            if not all(enough):
                return f"{unit.counted} and then {counted} frames"
        else:
            unit.counted = counted
        return None

    def counted_of(self, frames: int, shown: int) -> int:
        """For how many frames a unit counts that wrote so many, of so many displayed."""
        return shown if self._every > 1 else frames

    def give_up(self, video: Video, unit: Unit, sampling: Sampling) -> int | None:
        """A unit's frames will not be had.

        Returns: the number of frames that it counts for, if units behind it are numbered by it.
        """
        if unit.counted is None:
            unit.counted = min(MAX_COUNT, self.expected(video, sampling, unit.start, unit.stop))
        return unit.counted if self._in_order and unit.stop != video.stop else None

    def numbered(self, video: Video, unit: Unit) -> Iterator[Unit]:
        """STAGED units that are numbered, now that ``unit`` has been staged or given up."""
        staged = UnitState.STAGED
        if not self._in_order:
            unit.before = unit.first_sample = 0
        if unit.first_sample is not None:
            if unit.state is staged:
                yield unit
            return
        while video.numbered < len(video.units) and not self.has_enough(video):
            following = self._units[video.units[video.numbered]]
            following.before = video.counted
            if following.counted is None:
                return
            following.first_sample = self._frames(following.before) if self._by_order else 0
            video.counted += following.counted
            video.numbered += 1
            if following.state is staged:
                yield following

    def is_right(self, unit: Unit) -> bool:
        """Whether the staged frames of a numbered unit are those that are wanted."""
        assert unit.before is not None
        if unit.counted == 0:  # of no frames, as behind the end of a shorter video, any number is right
            return True
        return (unit.rank - unit.before) % self._every == 0

    def kept(self, unit: Unit) -> int:
        """How many of the frames of a numbered unit are wanted."""
        assert unit.before is not None
        assert unit.done is not None
        if self.limit is None:
            return unit.done.frames
        return min(unit.done.frames, max(0, self.limit - self._frames(unit.before)))

    def has_enough(self, video: Video) -> bool:
        """Whether the numbered units hold all frames that are wanted of a video."""
        return self._is_enough(video.counted)

    def _is_enough(self, counted: int) -> bool:
        return self.limit is not None and self._frames(counted) >= self.limit

    def _frames(self, counted: int) -> int:
        """How many frames are written of the first so many that count."""
        return -(-counted // self._every)

    # ---- estimates ----------------------------------------------------------------------------------

    def expected(self, video: Video, sampling: Sampling, start: int, stop: int | None) -> int:
        """About how many frames positions ``[start, stop)`` count for."""
        info = video.info
        assert info is not None
        if stop is None:
            stop = max(start, sampling.position_at(Fraction(info.duration_s), info.time_base))
        if not sampling.numbered_by_order:
            return stop - start
        if sampling.keyframes_only:
            first, last = (bisect_left(info.keyframes, info.first_pts + tick) for tick in (start, stop))
            return last - first
        constant = constant_rate(info)
        return constant.position_of(stop, info.time_base) - constant.position_of(start, info.time_base)

    def horizon(self, video: Video, sampling: Sampling) -> int | None:
        """The position up to which a video is to be cut; None: to its end, as all of it is expected to be
        wanted."""
        if self.limit is None:
            return None
        assert video.info is not None
        info, needed = video.info, self.limit * self._every - video.counted
        anchor = video.next_start
        if video.numbered < len(video.units):
            anchor = self._units[video.units[video.numbered]].start
        if not sampling.numbered_by_order:
            position = anchor + needed
        elif sampling.keyframes_only:
            place = bisect_left(info.keyframes, info.first_pts + anchor) + needed
            if place >= len(info.keyframes):
                return None
            position = info.keyframes[place] - info.first_pts
        else:
            constant = constant_rate(info)
            before = constant.position_of(anchor, info.time_base)
            position = constant.last_tick(before + needed - 1, info.time_base) + 1
        # if there were fewer than expected, at least as much again: it is over after a few rounds
        position = max(position, 2 * anchor - video.start, anchor + 1)
        is_beyond = 0 < info.duration_s <= sampling.offset_of(position, info.time_base)
        return None if is_beyond else position


def constant_rate(info: VideoInfo) -> Sampling:
    """The rate whose samples are the frames of the video, if they lie at a constant distance."""
    rate = Fraction(info.frame_rate or DEFAULT_FRAME_RATE).limit_denominator(MAX_FRAME_TICKS)
    return Sampling(rate or Fraction(1))
