"""A virtual slot: one unit at a time, at its true speed, looking at its bound after every GOP."""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from framefleet.common.job.sampling import Sampling
from framefleet.common.protocol import messages as m
from framefleet.coordinator.simulation.footage import TICKS, Footage, Picked
from framefleet.coordinator.simulation.timeline import Timeline

TIME_BASE = Fraction(1, TICKS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What work costs a slot beside decoding, in seconds at speed 1."""

    open_s: float = 0.03
    probe_s: float = 0.02
    unit_s: float = 0.003
    restart_s: float = 1.0


@dataclass(slots=True)
class Spent:
    """Where the seconds of slots went, at speed 1: the rest is what they were paid for, or idle."""

    probe_s: float = 0.0
    open_s: float = 0.0
    roll_in_s: float = 0.0
    lost_s: float = 0.0
    """Attempts that came to nothing."""


class Work:
    """One attempt in a slot: how long it takes, and where it is."""

    def __init__(self, assign: m.Assign, video: Footage | None, sampling: Sampling | None) -> None:
        self.lease = assign.lease
        self.task = assign.task
        self.video = video
        self.sampling = sampling
        self.lead_s = 0.0
        self.roll_in = 0
        self.frame_s = 0.0
        self.stop: int | None = None
        self.shown: Sequence[int] = ()
        self.asked: int | None = None
        """A ``Shrink`` that the next look will find."""
        self.cancelled = False
        self.began_at = 0.0

    @property
    def total_s(self) -> float:
        return self.lead_s + len(self.shown) * self.frame_s

    def taken(self, done_s: float) -> int:
        """How many frames of the range were taken after so much work."""
        if self.frame_s <= 0 or done_s <= self.lead_s:
            return 0
        return min(len(self.shown), int((done_s - self.lead_s) / self.frame_s + 1e-6))

    def look_after(self, taken: int) -> int:
        """How many will have been taken at the next look."""
        if self.video is None or taken >= len(self.shown):
            return len(self.shown)
        return bisect_left(self.shown, self.video.look_after(self.shown[taken]))

    def look_before(self, taken: int) -> int:
        """How many had been taken at the last look."""
        if self.video is None or taken >= len(self.shown):
            return len(self.shown)
        return bisect_left(self.shown, self.video.look_before(self.shown[taken]))

    def done_to(self, taken: int) -> int:
        """All below this position is decided."""
        assert self.video is not None
        assert self.sampling is not None
        assert isinstance(self.task, m.Extract)
        if taken == 0:
            return self.task.start
        position = self.video.done_to(self.sampling, self.shown[taken - 1])
        return position if self.stop is None else min(position, self.stop)

    def picked(self, taken: int) -> Picked:
        """What it has written."""
        assert self.video is not None
        assert self.sampling is not None
        assert isinstance(self.task, m.Extract)
        return self.video.pick(self.sampling, self.shown[:taken], self.task.start, self.task.rank)

    def done(self, seconds: float) -> tuple[m.Done, Picked]:
        """What is said of it when it is over, and what it has written."""
        assert self.video is not None
        assert self.sampling is not None
        assert isinstance(self.task, m.Extract)
        picked = self.picked(len(self.shown))
        truncated = len(self.shown) < len(self.video.shown(self.sampling, self.task.start, self.stop))
        done = m.Done(
            lease=self.lease,
            stop=self.stop,
            frames=len(picked.frames),
            suspect=0,
            bytes=len(picked.frames),
            decoded=len(self.shown) + self.roll_in,
            errors=0,
            saw_end=not truncated and self.video.reaches_end(self.sampling, self.stop),
            seconds=seconds,
            notes=[],
            shown=len(self.shown),
        )
        return done, picked

    def end_at(self, stop: int | None) -> None:
        """The range ends at ``stop``."""
        assert self.video is not None
        assert self.sampling is not None
        assert isinstance(self.task, m.Extract)
        self.stop = stop
        self.shown = self.video.shown(self.sampling, self.task.start, stop)

    def heed_limit(self, taken: int) -> bool:
        """Whether, at a look, there are as many frames as are wanted: then it ends here."""
        if not isinstance(self.task, m.Extract) or self.task.limit is None or taken >= len(self.shown):
            return False
        if len(self.picked(taken).frames) < self.task.limit:
            return False
        self.shown = self.shown[:taken]
        return True


class VirtualSlot:
    """A slot process. What it has to say goes to ``on_end``: the work, and how it ended."""

    def __init__(
        self,
        timeline: Timeline,
        *,
        speed: float,
        costs: Costs,
        spent: Spent,
        on_end: Callable[[VirtualSlot, Work, m.FailedKind | None], None],
        on_shrunk: Callable[[Work], None],
    ) -> None:
        self._timeline = timeline
        self._costs = costs
        self._spent = spent
        self._on_end = on_end
        self._on_shrunk = on_shrunk
        self.speed = speed
        self.up = True
        self.work: Work | None = None
        self.open_video: int | None = None
        self.error_rate = 0.0
        self.fate = random.Random(0)
        self._done_s = 0.0
        self._since = 0.0
        self._version = 0

    @property
    def free(self) -> bool:
        return self.up and self.work is None

    @property
    def done_s(self) -> float:
        """Work done on the present unit by now."""
        return self._done_s + (self._timeline.now - self._since) * self.speed

    def give(self, work: Work) -> None:
        """Begin a unit; the slot must be free."""
        assert self.free
        costs, spent = self._costs, self._spent
        work.began_at = self._timeline.now
        if isinstance(work.task, m.Probe):
            work.lead_s = costs.probe_s * len(work.task.files)
            spent.probe_s += work.lead_s
        else:
            assert work.video is not None
            assert work.sampling is not None
            work.end_at(work.task.stop)
            work.frame_s = work.video.frame_s(work.sampling)
            work.roll_in = work.video.roll_in(work.sampling, work.shown)
            roll_in_s = work.roll_in * work.video.decode_s()
            open_s = costs.unit_s + (0.0 if self.open_video == work.video.index else costs.open_s)
            self.open_video = work.video.index
            work.lead_s = open_s + roll_in_s
            spent.open_s += open_s
            spent.roll_in_s += roll_in_s
        self.work, self._done_s, self._since = work, 0.0, self._timeline.now
        self._plan()

    def set_speed(self, speed: float) -> None:
        """From now on it works so fast; 0: not at all."""
        self._done_s, self._since = self.done_s, self._timeline.now
        self.speed = speed
        self._plan()

    def shrink(self, stop: int) -> None:
        """A new bound has come through the pipe; the next look finds it."""
        if self.work is not None:
            self.work.asked = stop if self.work.asked is None else min(stop, self.work.asked)
            self._plan()

    def cancel(self) -> None:
        """Its unit is not wanted any more; it learns that at its next look."""
        if self.work is not None:
            self.work.cancelled = True
            self._plan()

    def drop(self) -> None:
        """The process dies, or its host."""
        if self.work is not None:
            self._spent.lost_s += self.done_s
        self.work, self.open_video = None, None
        self._version += 1

    def progress(self) -> m.UnitProgress:
        """What it told of the present unit at its last look."""
        work = self.work
        assert work is not None
        lease, busy_s = work.lease, self._timeline.now - work.began_at
        if not isinstance(work.task, m.Extract):
            return m.UnitProgress(lease.unit, lease.attempt, 0, 0, busy_s)
        taken = work.look_before(work.taken(self.done_s))
        frames = len(work.picked(taken).frames) if taken else 0
        return m.UnitProgress(lease.unit, lease.attempt, work.done_to(taken), frames, busy_s)

    # ---- what happens next --------------------------------------------------------------------------

    def _plan(self) -> None:
        """Plan the next thing that happens to the present unit; what was planned for it is void."""
        self._version += 1
        work = self.work
        if work is None or self.speed <= 0:
            return
        at_s, what = work.total_s, self._finish
        if isinstance(work.task, m.Extract):
            taken = work.taken(self.done_s)
            needs_look = work.asked is not None or work.cancelled or work.task.limit is not None
            if needs_look and taken < len(work.shown):
                look_s = self._look_s(work, taken)
                if look_s < at_s:
                    at_s, what = look_s, self._look
            crash_s = self._crash_s(work)
            if crash_s is not None and crash_s <= at_s:
                at_s, what = crash_s, self._crash
        delay_s = max(0.0, at_s - self.done_s) / self.speed
        self._timeline.after(delay_s, self._if_current, self._version, what, at_s)

    def _if_current(self, version: int, what: Callable[[Work], None], at_s: float) -> None:
        if version != self._version or self.work is None:
            return
        self._done_s, self._since = at_s, self._timeline.now  # exactly: no frame hangs on a rounding
        what(self.work)

    def _look_s(self, work: Work, taken: int) -> float:
        """After how much work it looks at its bound the next time."""
        assert work.video is not None
        if self.done_s < work.lead_s:
            step_s = work.video.look_frames * work.video.decode_s()
            return min(work.lead_s, (int(self.done_s / step_s + 1e-6) + 1) * step_s)
        return work.lead_s + work.look_after(taken) * work.frame_s

    def _crash_s(self, work: Work) -> float | None:
        """After how much work a frame comes at which the decoder crashes."""
        if work.video is None or not work.video.poison or not work.shown:
            return None
        first, last = work.video.keyframe_of(work.shown[0]), work.shown[-1]
        for frame in work.video.poison:
            if first <= frame <= last:
                return work.lead_s + bisect_left(work.shown, frame) * work.frame_s
        return None

    def _look(self, work: Work) -> None:
        taken = work.taken(self.done_s)
        if work.cancelled:
            self._spent.lost_s += self.done_s
            self._end(work, None)
            return
        if work.asked is not None:
            stop = max(work.asked, work.done_to(taken))
            work.asked = None
            work.end_at(stop if work.stop is None else min(work.stop, stop))
            self._on_shrunk(work)
        work.heed_limit(taken)
        self._plan()

    def _finish(self, work: Work) -> None:
        failed: m.FailedKind | None = None
        if self.error_rate and self.fate.random() < self.error_rate:
            failed = self.fate.choice(("crash", "error"))
            self._spent.lost_s += self.done_s
        self._end(work, failed)

    def _crash(self, work: Work) -> None:
        self._spent.lost_s += self.done_s
        self._end(work, "crash")

    def _end(self, work: Work, failed: m.FailedKind | None) -> None:
        self.work = None
        self._version += 1
        if failed is not None:
            self.open_video = None
        self._on_end(self, work, failed)
