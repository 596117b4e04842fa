"""The pool of work: which units exist, which comes next, and what is left.

Units are cut when somebody asks, from the front of what remains of a video, so their sizes follow
what has been learned by then.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass

from common.done import DoneRange, DoneVideo
from common.media import VideoInfo
from common.messages import MAX_PROBE_BATCH
from common.sampling import Sampling
from common.selection import Selection
from common.spec import SchedulingOptions
from coordinator import policy
from coordinator.listing import ListedVideo
from coordinator.numbering import Numbering
from coordinator.order import Order
from coordinator.rates import Rates
from coordinator.state import OPEN, Unit, UnitState, Video

PROBE_BATCH_CAP = MAX_PROBE_BATCH // 4
PROBES_PER_SLOT = 4  # batches a slot can expect, so that the last ones share out evenly
SLOW = 2.0  # a host is slow when another is faster by more than this factor
READY_AHEAD_S = 2.0  # seconds of extraction per slot that are known before probing gives way
MAX_HINTS_AHEAD = 500_000  # keyframes (40 bytes each) of videos not yet done, before probing waits for them
HINTS_PER_VIDEO = 25  # so many more are as large as all else that is known of a video


@dataclass(slots=True)
class TakenOver:
    """What an earlier run of the job has left."""

    frames: int = 0
    suspect: int = 0
    bytes: int = 0

    def add(self, video: DoneVideo) -> None:
        self.frames += video.frames
        self.suspect += video.suspect
        self.bytes += video.bytes


class Pool:
    """Videos, their units, and what is left to hand out. It knows hosts by name only, and no clock."""

    def __init__(
        self,
        videos: Sequence[ListedVideo],
        selection: Selection,
        options: SchedulingOptions,
        done: Mapping[str, DoneVideo] | None = None,
    ) -> None:
        self.selection = selection
        self.options = options
        self.videos = [Video(listed=listed) for listed in videos]
        self.units: dict[int, Unit] = {}
        """By number, without the probes that are over: nobody asks for one again."""
        self._next_number = 0
        self.numbering = Numbering(selection, self.units)
        self.unsettled = len(self.videos)
        self.probes_open = 0
        self.hints = 0
        """How large all that is known of videos not yet done is, in keyframes."""
        self.taken_over = TakenOver()
        self._done_ahead: dict[int, deque[DoneRange]] = {}
        if done:
            self._take_over(done)
            videos = [listed for listed in videos if not self.videos[listed.index].all_cut]
        largest_first = sorted(videos, key=lambda listed: (-listed.size_bytes, listed.index))
        # the list's own numbers: there may be a million, and they would be objects of their own
        self._unprobed = deque(listed.index for listed in largest_first)
        self._unprobed_bytes = sum(listed.size_bytes for listed in videos)
        self._bytes_per_work_s: float | None = None
        self._requeued: deque[int] = deque()
        self._requeued_s: dict[int, float] = {}
        """Estimated seconds of each when it was queued, and (below) of all: there may be thousands."""
        self._again_s = 0.0
        self.rates = Rates()
        self._order = Order(self.videos, self.rates)
        self.on_split: Callable[[Unit, Unit], None] = lambda unit, rest: None
        """Is told of every unit that was divided, and of its rest."""
        self.orphans: list[int] = []
        """Hedged copies of units that need none any more; the core drops them."""

    # ---- what is left -------------------------------------------------------------------------------

    def sampling_of(self, video: Video) -> Sampling:
        """What is wanted of a video; not kept here, as there may be a million of them."""
        sampling = self.selection.of(video.listed.name)
        assert sampling is not None  # else it would not be in the list
        return sampling

    def remaining_s(self) -> float:
        """Estimated seconds of work that nobody has yet (R)."""
        unprobed = self._unprobed_bytes / (self._bytes_per_work_s or policy.DEFAULT_BYTES_PER_WORK_S)
        return self.rates.remaining_s() + self._again_s + unprobed

    def estimate_s(self, unit: Unit) -> float:
        """Estimated seconds of a unit on a slot of ordinary speed."""
        if unit.is_probe:
            return 0.0
        return (unit.lead_px + unit.work_px) / self.rates.of(self.videos[unit.video])

    @property
    def empty(self) -> bool:
        """Nothing can be handed out at this moment."""
        return not (self._requeued or self._unprobed or self._order)

    @property
    def queued(self) -> Sequence[int]:
        """Units that wait to be handed out again, the next one first."""
        return tuple(self._requeued)

    @property
    def unprobed(self) -> Sequence[int]:
        """Files that nobody has looked at, the next one first."""
        return tuple(self._unprobed)

    # ---- handing out --------------------------------------------------------------------------------

    def take(
        self,
        host: str,
        *,
        last_video: int | None,
        speed: float,
        slots: float,
        live: Set[str],
        fastest: float = 0.0,
    ) -> Unit | None:
        """The next unit for a host, still PENDING; None when there is nothing that it may have.

        ``speed`` is the host's, ``slots`` the total speed of all; ``live`` names the hosts
        that are there, as one of them is to take what this one has failed at; the ``fastest`` of
        them may be worth waiting for.
        """
        slowness = fastest / speed if speed * SLOW < fastest else None
        unit = self._take_requeued(host, live, slowness, slots)
        if unit is None:
            if self._unprobed and self._must_probe(slots):
                return self._cut_probe(slots)
        elif unit.is_probe or not self.can_split(unit):
            return unit
        size_s = policy.next_size_s(
            self.remaining_s(),
            speed=slots,
            unit_min_s=self.options.unit_min_s,
            unit_cap_s=self.options.unit_cap_s,
        )
        if unit is not None:
            self._cut_requeued(unit, size_s * speed)
            return unit
        if slowness is not None:
            video = self._order.choose_fine(last_video, self._piece_for(slowness, slots))
        else:
            video = self._order.choose(last_video, size_s)
        if video is None:
            return self._cut_probe(slots) if self._unprobed and slowness is None else None
        return self._cut_extraction(video, size_s * speed)

    def _piece_for(self, slowness: float, slots: float) -> float:
        """Seconds, on the fastest host, of the largest piece that a slow one is given.

        It would be finished there when the fastest could have done everything else and this: the slow one
        needs ``slowness`` times as long, the others until then the remaining work shared out among them.
        """
        return (self.remaining_s() / max(slots, 1e-9)) / (slowness - 1)

    def _must_probe(self, slots: float) -> bool:
        """Up to half of the slots probe, to know early what is long; all of them if the work runs out."""
        if self.rates.remaining_s() < READY_AHEAD_S * slots:
            return True
        return self.hints < MAX_HINTS_AHEAD and self.probes_open < max(1.0, slots / 2)

    def _take_requeued(self, host: str, live: Set[str], slowness: float | None, slots: float) -> Unit | None:
        for place, number in enumerate(self._requeued):
            unit = self.units[number]
            if slowness is not None and self.estimate_s(unit) > self._piece_for(slowness, slots):
                continue
            if host not in unit.avoid or live <= unit.avoid:
                del self._requeued[place]
                self._take_off(number)
                return unit
        return None

    def _cut_requeued(self, unit: Unit, size_s: float) -> None:
        """A unit that comes back may be far more than a slot should have at this stage of the job."""
        video = self.videos[unit.video]
        assert video.info is not None
        if self.options.unit_span_s is not None or unit.work_px <= 1.5 * size_s * self.rates.of(video):
            return
        sampling = self.sampling_of(video)
        end_s = video.info.duration_s
        start_s = sampling.seconds_of(unit.start, video.info.time_base)
        if unit.stop is not None:
            end_s = sampling.seconds_of(unit.stop, video.info.time_base)
        stop = policy.cut_position(
            video.info,
            sampling,
            start=unit.start,
            span_s=(end_s - start_s) * size_s * self.rates.of(video) / unit.work_px,
            rule=self.options.cut,
            end=unit.stop,
        )
        if stop is not None:
            self.split(unit, stop)

    def can_split(self, unit: Unit) -> bool:
        """Whether a part of a unit may become a unit of its own: no other may be numbered by what it gave."""
        video = self.videos[unit.video]
        if unit.copy_of is not None or unit.copy is not None or self._is_one_unit(video):
            return False
        return not self.selection.in_order or unit.counted is None

    def split(self, unit: Unit, stop: int) -> Unit:
        """End an extraction at position ``stop``; the rest of its range becomes a unit that waits.

        Raises:
            ValueError: the position does not lie within the unit.
        """
        if stop < unit.start or (unit.stop is not None and stop >= unit.stop):
            raise ValueError(f"unit {unit.id} [{unit.start}, {unit.stop}) cannot be split at {stop}")
        video = self.videos[unit.video]
        sampling = self.sampling_of(video)
        kept_px = self.work_px(video, sampling, unit.start, stop)
        rest_px = self.work_px(video, sampling, stop, unit.stop)
        rest = self._new_unit(files=unit.files, start=stop, stop=unit.stop, work_px=rest_px)
        rest.lead_px = self._lead_px(video, stop)
        rest.isolating, rest.crashes = unit.isolating, unit.crashes
        unit.stop, unit.work_px, unit.counted = stop, kept_px, None
        if unit.state is UnitState.PENDING:
            unit.attempt += 1  # a lost host that comes back may still be at work on the whole of it
        video.units.insert(video.units.index(unit.id) + 1, rest.id)
        video.open_units += 1
        self._put_on(rest)
        self.on_split(unit, rest)
        return rest

    def _lead_px(self, video: Video, start: int) -> float:
        """Work of the roll-in of a unit that begins at ``start``."""
        info, sampling = video.info, self.sampling_of(video)
        assert info is not None
        if not video.px_per_s or sampling.keyframes_only:
            return 0.0
        seconds = policy.roll_in_s(info, sampling.seconds_of(start, info.time_base))
        return seconds * video.px_per_s * policy.decoding_share(info, sampling)

    def copy(self, unit: Unit) -> Unit:
        """A hedged copy of a unit, not queued: the caller leases it at once."""
        copy = self._new_unit(files=unit.files, start=unit.start, stop=unit.stop, work_px=unit.work_px)
        copy.lead_px = unit.lead_px
        copy.copy_of, unit.copy = unit.id, copy.id
        return copy

    def promote(self, copy: Unit) -> Unit:
        """A hedged copy takes the place of its unit, which is returned, to be dropped."""
        assert copy.copy_of is not None
        unit = self.units[copy.copy_of]
        video = self.videos[unit.video]
        video.units[video.units.index(unit.id)] = copy.id
        video.open_units += 1
        copy.copy_of = unit.copy = None
        copy.before, copy.first_sample, copy.counted = unit.before, unit.first_sample, unit.counted
        return unit

    def _cut_probe(self, slots: float) -> Unit:
        share = len(self._unprobed) / (PROBES_PER_SLOT * max(slots, 1.0))
        room = (MAX_HINTS_AHEAD - self.hints) / (HINTS_PER_VIDEO * max(slots, 1.0))
        batch = max(1, min(PROBE_BATCH_CAP, round(share), int(room)))
        return self.probe_next(min(len(self._unprobed), batch))

    def probe_next(self, count: int) -> Unit:
        """A probe of the ``count`` largest files that nobody has looked at."""
        files = tuple(self._unprobed.popleft() for _ in range(count))
        for index in files:
            self._unprobed_bytes -= self.videos[index].listed.size_bytes
        self.probes_open += 1
        return self._new_unit(files=files, is_probe=True)

    def _cut_extraction(self, index: int, size_s: float) -> Unit:
        video = self.videos[index]
        assert video.info is not None
        sampling, start = self.sampling_of(video), video.next_start
        # where a video is one unit, its host stops as soon as it has as many frames as are wanted
        end = video.stop if self._is_one_unit(video) else _earlier(video.stop, video.horizon)
        stop = policy.cut_position(
            video.info,
            sampling,
            start=start,
            span_s=self.options.unit_span_s or self._span_s(video, sampling, size_s * self.rates.of(video)),
            rule=self.options.cut,
            end=end,
        )
        ahead = self._done_ahead.get(index)
        if ahead and (stop is None or stop > ahead[0].start):
            stop = ahead[0].start
        return self.cut_at(index, end if stop is None else stop)

    def cut_at(self, index: int, stop: int | None) -> Unit:
        """The next unit of a video, which ends at ``stop``; None: at the video's end."""
        video = self.videos[index]
        sampling, start = self.sampling_of(video), video.next_start
        work_px = video.remaining_px
        if stop is not None:
            work_px = min(work_px, self.work_px(video, sampling, start, stop))
        unit = self._new_unit(files=(video.listed.index,), start=start, stop=stop, work_px=work_px)
        video.units.append(unit.id)
        video.open_units += 1
        self.rates.add_remaining(video, -work_px)
        if stop is not None:
            video.next_start = stop
        if stop == video.stop:
            self.stop_cutting(video)
        self._pass_over_done(index)
        return unit

    def _is_one_unit(self, video: Video) -> bool:
        return self.options.cut == "never" or video.info is None or not video.info.seekable

    def _span_s(self, video: Video, sampling: Sampling, work_px: float) -> float:
        """Seconds of video, from where it is cut next, that hold so much work."""
        if sampling.times is None:
            return work_px / video.px_per_s
        first = video.next_start
        last = min(len(sampling.times) - 1, first + max(1, round(work_px / video.px_per_time)))
        return float(sampling.times[last] - sampling.times[first])

    def work_px(self, video: Video, sampling: Sampling, start: int, stop: int | None) -> float:
        """Estimated work, in pixels, at positions ``[start, stop)``."""
        info = video.info
        assert info is not None
        if sampling.times is not None:
            return ((len(sampling.times) if stop is None else stop) - start) * video.px_per_time
        start_s = sampling.seconds_of(start, info.time_base)
        stop_s = video.end_s if stop is None else min(video.end_s, sampling.seconds_of(stop, info.time_base))
        return max(0.0, stop_s - start_s) * video.px_per_s

    def reached(self, unit: Unit) -> None:
        """A running unit has told how far it is; that may be behind the end that its container claims."""
        video = self.videos[unit.video]
        assert video.info is not None
        seen_s = self.sampling_of(video).seconds_of(unit.done_to, video.info.time_base)
        if unit.stop is None and seen_s > video.info.duration_s > 0:
            video.end_s = max(video.end_s, policy.believed_end_s(video.info, seen_s))

    def _new_unit(
        self,
        *,
        files: tuple[int, ...],
        is_probe: bool = False,
        start: int = 0,
        stop: int | None = None,
        work_px: float = 0.0,
    ) -> Unit:
        number = self._next_number
        self._next_number += 1
        unit = Unit(
            id=number,
            video=files[0],
            batch=files if is_probe else None,
            start=start,
            stop=stop,
            work_px=work_px,
        )
        self.units[number] = unit
        return unit

    # ---- coming back --------------------------------------------------------------------------------

    def requeue(self, unit: Unit) -> None:
        """Hand a PENDING unit out again, before anything new."""
        assert unit.state is UnitState.PENDING
        self._put_on(unit)

    def unqueue(self, unit: Unit) -> None:
        """Take a PENDING unit back out of the queue: the host that had it has it still."""
        self._requeued.remove(unit.id)
        self._take_off(unit.id)

    def _put_on(self, unit: Unit) -> None:
        self._requeued.appendleft(unit.id)
        estimate_s = self._requeued_s[unit.id] = self.estimate_s(unit)
        self._again_s += estimate_s

    def _take_off(self, number: int) -> None:
        self._again_s -= self._requeued_s.pop(number)
        if not self._requeued_s:
            self._again_s = 0.0  # and no rounding errors

    def split_probe(self, unit: Unit) -> list[Unit]:
        """Each file of a failed batch by itself, so that one bad file blames no other."""
        assert unit.is_probe
        singles = [self._new_unit(files=(index,), is_probe=True) for index in unit.files]
        self.probes_open += len(singles)  # the batch itself is closed when it is given up
        for single in reversed(singles):
            self._put_on(single)
        return singles

    # ---- what an earlier run has done ---------------------------------------------------------------

    def _take_over(self, done: Mapping[str, DoneVideo]) -> None:
        for index, video in enumerate(self.videos):
            known = done.get(video.listed.name)
            if known is None:
                continue
            video.frames = known.frames
            self.taken_over.add(known)
            if known.is_whole:
                video.all_cut = True
                video.forget()
                self.unsettled -= 1
            else:
                self._done_ahead[index] = deque(known.ranges)

    def _pass_over_done(self, index: int) -> None:
        """Where the next cut would be lies what is done: units that are done stand for it."""
        video, ahead = self.videos[index], self._done_ahead.get(index)
        while ahead and not video.all_cut and ahead[0].start == video.next_start:
            done = ahead.popleft()
            px = self.work_px(video, self.sampling_of(video), done.start, done.stop)
            self.rates.add_remaining(video, -min(px, video.remaining_px))
            unit = self._new_unit(files=(index,), start=done.start, stop=done.stop)
            unit.move("taken_over")
            unit.counted = self.numbering.counted_of(done.frames, done.shown)
            video.units.append(unit.id)
            for _ in self.numbering.numbered(video, unit):
                pass
            unit.rank = unit.before or 0
            if done.stop is not None:
                video.next_start = done.stop
            if done.stop in (None, video.stop) or self.numbering.has_enough(video):
                self.stop_cutting(video)
            elif self.numbering.limit is not None:
                self.look_further(index)

    # ---- what was learned ---------------------------------------------------------------------------

    def probed(self, index: int, info: VideoInfo) -> None:
        """A video's probe came back: it can be cut from now on."""
        video = self.videos[index]
        sampling = self.sampling_of(video)
        video.info = info
        video.end_s = info.duration_s or info.size_bytes / policy.DEFAULT_BYTES_PER_VIDEO_S
        self.hints += HINTS_PER_VIDEO + len(info.keyframes)
        video.start, video.stop = sampling.range_of(info.time_base)
        video.next_start = video.start
        video.px_per_s = policy.work_per_second(info, sampling)
        if sampling.times is not None:
            video.px_per_time = policy.work_per_time(info, len(sampling.times))
        piece_s = math.inf if self._is_one_unit(video) else policy.piece_s(info)
        video.piece_px = piece_s * video.px_per_s if sampling.times is None else 0.0
        self.look_further(index)
        work_s = max(video.remaining_px / self.rates.of(video), 1e-3)
        self._bytes_per_work_s = policy.ewma(self._bytes_per_work_s, max(1.0, info.size_bytes) / work_s)
        if video.stop is not None and video.start >= video.stop:
            self.stop_cutting(video)
        self._pass_over_done(index)
        if video.settled:
            self.forget(video)

    def look_further(self, index: int) -> None:
        """How far a video may be cut is known anew: more of its units have been counted."""
        video = self.videos[index]
        if video.all_cut:
            return
        assert video.info is not None
        sampling = self.sampling_of(video)
        video.horizon = self.numbering.horizon(video, sampling)
        self.rates.add_remaining(video, -video.remaining_px)
        end = _earlier(video.stop, video.horizon)
        self.rates.add_remaining(video, self.work_px(video, sampling, video.next_start, end))
        if video.can_cut:
            self._order.add(index)

    def refuse(self, index: int) -> None:
        """A video that cannot be read: nothing will come of it."""
        video = self.videos[index]
        video.refused = video.failed = True
        self.unsettled -= 1

    def done_px(self, unit: Unit) -> float:
        """Estimated work, in pixels, of what a running unit has done so far."""
        if unit.done_to <= unit.start:
            return 0.0
        video = self.videos[unit.video]
        sampling = self.sampling_of(video)
        return unit.lead_px + self.work_px(video, sampling, unit.start, unit.done_to)

    def forget(self, video: Video) -> None:
        """A settled video, all of whose units were published, needs no more than a line in the account."""
        if video.info is not None:
            self.hints -= HINTS_PER_VIDEO + len(video.info.keyframes)
        video.forget()

    def stop_cutting(self, video: Video) -> None:
        """No unit beyond those that exist: the last one is open-ended, or the file's end was seen."""
        if video.all_cut:
            return
        self.rates.add_remaining(video, -video.remaining_px)
        video.all_cut = True
        if video.settled:
            self.unsettled -= 1

    def close(self, unit: Unit) -> None:
        """A unit reached its final state."""
        assert unit.state not in OPEN
        if unit.is_probe:
            self.probes_open -= 1
            del self.units[unit.id]
            return
        if unit.copy is not None:
            self.orphans.append(unit.copy)
        if unit.copy_of is not None:
            self.units[unit.copy_of].copy = None
            return
        video = self.videos[unit.video]
        video.open_units -= 1
        if video.settled:
            self.unsettled -= 1


def _earlier(stop: int | None, other: int | None) -> int | None:
    """The first of two ends, None being none."""
    return other if stop is None else stop if other is None else min(stop, other)
