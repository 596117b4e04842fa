"""The pool of work: which units exist, which comes next, and what is left.

Units are cut when somebody asks, from the front of what remains of a video, so their sizes follow
what has been learned by then.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from itertools import islice

import msgspec

from framefleet.common.job.completed import DoneVideo
from framefleet.common.job.selection import Selection
from framefleet.common.job.spec import SchedulingOptions
from framefleet.common.media import VideoInfo
from framefleet.coordinator.listed_video import ListedVideo
from framefleet.coordinator.scheduling import policy
from framefleet.coordinator.scheduling.numbering import Numbering
from framefleet.coordinator.scheduling.previous_run import PreviousRun
from framefleet.coordinator.scheduling.queues import Requeue, Unprobed
from framefleet.coordinator.scheduling.video_order import Order
from framefleet.coordinator.scheduling.workload import Workload, earlier
from framefleet.coordinator.state import OPEN, Host, Strength, Unit, UnitState, Video
from framefleet.coordinator.totals import Totals

READY_AHEAD_S = 2.0  # seconds of extraction per slot that are known before probing gives way
# What is known of videos not yet done may take so many bytes before probing waits. Many slots need more:
# what is probed last is cut last, and if it costs far more than was thought all wait for it.
KNOWN_BYTES, KNOWN_BYTES_PER_SLOT = 20_000_000, 20_000
MAX_KNOWN_BYTES, LISTED_BYTES = 120_000_000, 100  # at most so many, less so many for every listed video
VIDEO_BYTES, KEYFRAME_BYTES = 1000, 8
# Of what waits: if many hosts are lost at once it is thousands of units, and slow hosts that may have none of
# them would look at all in each wake. Those that may take the first ones, so nothing waits for ever.
LOOKED_AT = 128


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
        self.known_bytes = 0
        """How large all that is known of videos not yet done is, about."""
        self.workload = Workload(self.videos, selection, options)
        self.rates = self.workload.rates
        self._order = Order(self.videos, self.rates)
        self._requeue = Requeue()
        self._doubted = Requeue()
        """What is handed out last: what one host could not read or do, as others may be there by then, and
        what has crashed too often, as what killed it may be over by then."""
        self.earlier = PreviousRun(self, done or {})
        self._unprobed = Unprobed(self.videos)
        self.on_split: Callable[[Unit, Unit], None] = lambda unit, rest: None
        """Is told of every unit that was divided, and of its rest."""
        self.orphans: list[int] = []
        """Hedged copies of units that need none any more; the core drops them."""

    # ---- what is left -------------------------------------------------------------------------------

    def remaining_s(self) -> float:
        """Estimated seconds of work that nobody has yet (R)."""
        return self.rates.remaining_s() + self._requeue.remaining_s + self._unprobed.remaining_s()

    @property
    def taken_over(self) -> Totals:
        """What an earlier run of the job has left."""
        return self.earlier.totals

    @property
    def empty(self) -> bool:
        """Nothing can be handed out at this moment."""
        return not (self._requeue or self._unprobed or self._order or self._doubted)

    @property
    def queued(self) -> Sequence[int]:
        """Units that wait to be handed out again, the next one first."""
        return *self._requeue, *self._doubted

    @property
    def unprobed(self) -> Sequence[int]:
        """Files that nobody has looked at, the next one first."""
        return tuple(self._unprobed)

    # ---- handing out --------------------------------------------------------------------------------

    def take(self, host: Host, strength: Strength) -> Unit | None:
        """The next unit for a host, still PENDING; None when there is nothing that it may have.

        Of those that are there (``strength``) another one is to take what this one has failed at, and a
        faster one may be worth waiting for.
        """
        slots, speed = strength.speed, host.speed
        slowness = strength.slowness(speed)
        unit = self._take_waiting(self._requeue, host, strength) if self._requeue else None
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
            stop = self.workload.cut_of(unit, size_s * speed)
            if stop is not None:  # it may be far more than a slot should have at this stage of the job
                self.split(unit, stop)
            return unit
        if slowness is not None:
            video = self._order.choose_fine(host.video, self._piece_for(slowness, slots))
        else:
            video = self._order.choose(host.video, size_s)
        if video is not None:
            return self._cut_extraction(video, size_s * speed)
        if self._unprobed and slowness is None:
            return self._cut_probe(slots)
        return self._take_waiting(self._doubted, host, strength)

    def _piece_for(self, slowness: float, slots: float) -> float:
        return policy.piece_for_slow_s(self.remaining_s(), speed=slots, slowness=slowness)

    def _must_probe(self, slots: float) -> bool:
        """Up to half of the slots probe, to know early what is long; all of them if the work runs out."""
        if self.rates.remaining_s() < READY_AHEAD_S * slots:
            return True
        return self._room_bytes(slots) > 0 and self.probes_open < max(1.0, slots / 2)

    def _take_waiting(self, queue: Requeue, host: Host, strength: Strength) -> Unit | None:
        for number in islice(queue, LOOKED_AT):
            unit = self.units[number]
            nobody_else = (strength.expected if unit.is_doubtful else strength.live) <= unit.avoid
            is_own_word = host.name == unit.refused_by and strength.expected != {host.name}
            if is_own_word or (host.name in unit.avoid and not nobody_else):
                continue
            # only for one that may have it is there a use in waiting
            slowness = strength.slowness(host.speed, frozenset() if nobody_else else unit.avoid)
            estimate_s = self.workload.estimate_s(unit)
            if slowness is None or estimate_s <= self._piece_for(slowness, strength.speed):
                queue.remove(number)
                return unit
        return None

    def can_split(self, unit: Unit) -> bool:
        """Whether a part of a unit may become a unit of its own: no other may be numbered by what it gave."""
        video = self.videos[unit.video]
        if unit.copy_of is not None or unit.copy is not None or self.workload.is_one_unit(video):
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
        kept_px = self.workload.range_px(video, unit.start, stop)
        rest_px = self.workload.range_px(video, stop, unit.stop)
        rest = self.new_unit(files=unit.files, start=stop, stop=unit.stop, work_px=rest_px)
        rest.lead_px = self.workload.lead_px(video, stop)
        rest.isolating, rest.crashes = unit.isolating, unit.crashes
        unit.stop, unit.work_px, unit.counted = stop, kept_px, None
        if unit.state is UnitState.PENDING:
            unit.attempt += 1  # a lost host that comes back may still be at work on the whole of it
        video.units.insert(video.units.index(unit.id) + 1, rest.id)
        video.open_units += 1
        self._requeue.put(rest.id, self.workload.estimate_s(rest))
        self.on_split(unit, rest)
        return rest

    def copy(self, unit: Unit) -> Unit:
        """A hedged copy of a unit, not queued: the caller leases it at once."""
        copy = self.new_unit(files=unit.files, start=unit.start, stop=unit.stop, work_px=unit.work_px)
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
        room = self._room_bytes(slots) / (VIDEO_BYTES * max(slots, 1.0))
        return self.probe_next(self._unprobed.batch_size(slots, int(room)))

    def _room_bytes(self, slots: float) -> float:
        limit = max(KNOWN_BYTES, MAX_KNOWN_BYTES - LISTED_BYTES * len(self.videos))
        return min(limit, KNOWN_BYTES + KNOWN_BYTES_PER_SLOT * slots) - self.known_bytes

    def probe_next(self, count: int) -> Unit:
        """A probe of the ``count`` largest files that nobody has looked at."""
        self.probes_open += 1
        return self.new_unit(files=self._unprobed.take(count), is_probe=True)

    def _cut_extraction(self, index: int, size_s: float) -> Unit:
        stop = self.workload.cut(self.videos[index], size_s)
        return self.cut_at(index, earlier(stop, self.earlier.next_start(index)))

    def cut_at(self, index: int, stop: int | None) -> Unit:
        """The next unit of a video, which ends at ``stop``; None: at the video's end."""
        video = self.videos[index]
        start, work_px = video.next_start, video.remaining_px
        if stop is not None:
            work_px = min(work_px, self.workload.range_px(video, start, stop))
        unit = self.new_unit(files=(video.listed.index,), start=start, stop=stop, work_px=work_px)
        video.units.append(unit.id)
        video.open_units += 1
        self.rates.add_remaining(video, -work_px)
        if stop is not None:
            video.next_start = stop
        if stop == video.stop:
            self.stop_cutting(video)
        self.earlier.pass_over(index)
        return unit

    def new_unit(
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
        batch = files if is_probe else None
        unit = Unit(id=number, video=files[0], batch=batch, start=start, stop=stop, work_px=work_px)
        self.units[number] = unit
        return unit

    # ---- coming back --------------------------------------------------------------------------------

    def requeue(self, unit: Unit) -> None:
        """Hand a PENDING unit out again, before anything new."""
        assert unit.state is UnitState.PENDING
        self._queue_of(unit).put(unit.id, self.workload.estimate_s(unit))

    def unqueue(self, unit: Unit) -> None:
        """Take a PENDING unit back out of the queue: the host that had it has it still."""
        self._queue_of(unit).remove(unit.id)

    def _queue_of(self, unit: Unit) -> Requeue:
        return self._doubted if unit.is_doubtful else self._requeue

    def split_probe(self, unit: Unit) -> list[Unit]:
        """Each file of a failed batch by itself, so that one bad file blames no other."""
        assert unit.is_probe
        singles = [self.new_unit(files=(index,), is_probe=True) for index in unit.files]
        for single in reversed(singles):
            single.avoid, single.refused_by = unit.avoid, unit.refused_by
            self.probes_open += 1
            self.requeue(single)
        return singles

    def confirm(self, files: Sequence[int], refused_by: str) -> None:
        """What a host could not read is looked at again, last of all, by another one if there is one."""
        unit = self.new_unit(files=tuple(files), is_probe=True)
        unit.avoid, unit.refused_by = frozenset({refused_by}), refused_by
        self.probes_open += 1
        self.requeue(unit)

    def probe_again(self, index: int, avoid: frozenset[str], *, for_others: bool) -> None:
        """A video whose probe was contradicted is looked at by another host than those in ``avoid``."""
        unit = self.new_unit(files=(index,), is_probe=True)
        unit.avoid, unit.for_others = avoid, for_others
        self.probes_open += 1
        self.requeue(unit)

    # ---- what was learned ---------------------------------------------------------------------------

    def probed(self, index: int, info: VideoInfo) -> None:
        """A video's probe came back: it can be cut from now on."""
        video = self.videos[index]
        # numbers of their own take 32 bytes each, and lists 8 more
        video.info = info = msgspec.structs.replace(info, keyframes=array("q", info.keyframes))
        self.workload.measure(video)
        self.known_bytes += _known_bytes(info)
        self.recompute_horizon(index)
        work_s = max(video.remaining_px / self.rates.of(video), 1e-3)
        self._unprobed.measured(info.size_bytes, work_s)
        if video.stop is not None and video.start >= video.stop:
            self.stop_cutting(video)
        self.earlier.pass_over(index)
        if video.settled:
            self.forget(video)

    def recompute_horizon(self, index: int) -> None:
        """How far a video may be cut is known anew: more of its units have been counted."""
        video = self.videos[index]
        if video.all_cut:
            return
        assert video.info is not None
        video.horizon = self.numbering.horizon(video, self.workload.sampling_of(video))
        self.rates.add_remaining(video, -video.remaining_px)
        end = earlier(video.stop, video.horizon)
        self.rates.add_remaining(video, self.workload.range_px(video, video.next_start, end))
        if video.can_cut:
            self._order.add(index)

    def refuse(self, index: int) -> None:
        """A video that cannot be read: nothing will come of it."""
        video = self.videos[index]
        video.refused = video.failed = True
        self.unsettled -= 1

    def unknow(self, index: int) -> None:
        """Nothing is known of a video any more, and none of its units counts: it is as before its probe."""
        video = self.videos[index]
        assert video.info is not None
        self.rates.add_remaining(video, -video.remaining_px)
        self.known_bytes -= _known_bytes(video.info)
        video.unknow()
        self.earlier.begin(index)

    def forget(self, video: Video) -> None:
        """A settled video, all of whose units were published, needs no more than a line in the account."""
        if video.info is not None:
            self.known_bytes -= _known_bytes(video.info)
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


def _known_bytes(info: VideoInfo) -> int:
    return VIDEO_BYTES + KEYFRAME_BYTES * len(info.keyframes)
