"""Which packets of a GOP need decoding: only those of wanted frames, and those that others refer to.

The timestamps of a GOP's packets are known before anything is decoded. From them follow the frames that
the sampling wants: a frame is wanted if its successor has another position. A wrong guess costs nothing but
time, as long as what was expected comes out of the decoder; when it does not, the GOP is planned again.

What is passed over depends on the GOP and the sampling alone, never on the unit: the frames that a
neighbouring unit wants are decoded too, up to the last frame that this unit needs. So all units see the same
errors at the same places.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from framefleet.common.job.sampling import Sampling, Selector
from framefleet.worker.bitstream.droppable import Classifier
from framefleet.worker.video.packets import Item, is_key

# A last frame whose packet has no duration is taken to last no longer than this.
END_MARGIN_S: Final = 1


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with a chunk of packets.

    Attributes:
        feed: the decoder needs the first so many of them at most.
        shortened: places among these of which it needs no more than so many bytes, mostly 0; they give no
            frame.
        resume_at: nothing more is wanted of this GOP: drain the decoder and begin anew at the last
            keyframe up to this pts. None: go on with the chunk behind.
    """

    feed: int
    shortened: Mapping[int, int]
    resume_at: int | None


class Planner:
    """Plans the chunks of one unit.

    Attributes:
        failed: pts of packets that gave no frame when they were expected to.
        whole_to: up to this pts of their keyframes, GOPs are decoded whole.
        goes_on: no GOP is left before its end, for the next keyframe may be a false one.
    """

    def __init__(
        self,
        sampling: Sampling,
        selector: Selector[Any],
        classifier: Classifier | None,
        *,
        time_base: Fraction,
        first_pts: int,
        start: int,
        goes_on: bool = False,
    ) -> None:

        self._sampling = sampling
        self._selector = selector
        self._classifier = classifier
        self._time_base = time_base
        self._first_pts = first_pts
        self._start = start
        self.goes_on = goes_on
        self.failed: set[int] = set()
        self.whole_to: int | None = None

    @property
    def counts(self) -> bool:
        """Whether frames count that nobody wants, so that none may be left out of the account."""
        return self._sampling.every > 1

    def plan(
        self, chunk: Sequence[Item], ahead: Sequence[Item], *, ended: bool, pending: Collection[int]
    ) -> Plan:
        """Plan the next ``chunk``.

        ``ahead``: the items behind it; ``ended``: there are none behind those; ``pending``: pts of the
        packets before, whose frames have not come yet.
        """
        everything = Plan(len(chunk), {}, None)
        key = chunk[0]
        if self.whole_to is not None:
            if key is None or key.pts is None or not is_key(key) or key.pts <= self.whole_to:
                return self._whole(chunk, ahead)
            self.whole_to = None
        places: dict[int, int] = {}
        for place, item in enumerate(chunk):
            if item is None or item.pts is None or item.pts in places:
                return everything
            if not item.is_discard:
                places[item.pts] = place
        behind = _timed(ahead)
        ended = ended and len(behind) == len(ahead)
        following_key = ahead[0].pts if ahead and ahead[0] is not None and is_key(ahead[0]) else None
        known = sorted({*pending, *places, *behind} - self.failed)
        wanted, needed, proof = self._wanted(known, ended=ended, is_last=not ahead, durations=chunk)
        last_place = max((places[pts] for pts in needed if pts in places), default=-1)
        shortened = self._shortened(chunk, wanted | proof)
        if not ahead:
            return Plan(last_place + 1, shortened, None)
        if following_key is None:
            return Plan(len(chunk), shortened, None)  # a piece: the GOP goes on
        leading = _leading(ahead)
        if self.goes_on or not needed.isdisjoint(leading):
            return Plan(len(chunk), shortened, None)
        resume_at = self._resume_at(known, needed.intersection(places), following_key)
        return Plan(last_place + 1, shortened, resume_at)

    def _whole(self, chunk: Sequence[Item], ahead: Sequence[Item]) -> Plan:
        """Everything; and if the GOP behind is to be thinned again, that is a session of its own."""
        key = ahead[0] if ahead else None
        if (
            key is not None
            and is_key(key)
            and key.pts is not None
            and self.whole_to is not None
            and key.pts > self.whole_to
            and not self.goes_on
            and not _leading(ahead)
        ):
            return Plan(len(chunk), {}, key.pts)
        return Plan(len(chunk), {}, None)

    def _wanted(
        self, known: list[int], *, ended: bool, is_last: bool, durations: Sequence[Item]
    ) -> tuple[set[int], set[int], set[int]]:
        """Of the pts ``known``: those that the sampling wants, those that this unit needs, and of these
        the ones that are only there to prove that the frame before them is over."""
        first_pts, time_base = self._first_pts, self._time_base
        start, stop = self._start, self._selector.stop
        position_of = self._sampling.position_of
        positions = [position_of(pts - first_pts, time_base) for pts in known]
        if self._sampling.every > 1:
            wanted = self._wanted_by_rank(known, positions)
        else:
            wanted = {
                pts
                for pts, position, following in zip(known, positions, positions[1:], strict=False)
                if position != following
            }
            if known and not (ended and self._is_beyond(known[-1], positions[-1], durations)):
                wanted.add(known[-1])
        needed = {
            pts
            for pts, position in zip(known, positions, strict=True)
            if pts in wanted and position >= start and (stop is None or position < stop)
        }
        proof: set[int] = set()
        if self._sampling.every == 1:
            # the frame behind the last one of the unit, or of the file
            if stop is not None:
                proof.update(
                    [pts for pts, position in zip(known, positions, strict=True) if position >= stop][:1]
                )
            held = self._selector.held
            if is_last and (needed or held is not None):
                last = max(needed) if needed else held.pts if held is not None else 0
                proof.update([pts for pts in known if pts > last][:1])
        return wanted, needed | proof, proof

    def _wanted_by_rank(self, known: list[int], positions: list[int]) -> set[int]:
        selector, every = self._selector, self._sampling.every
        held_pts = selector.held.pts if selector.held is not None else None
        rank = selector.next_rank
        wanted = set()
        for pts, position in zip(known, positions, strict=True):
            if position < self._start or pts < self._first_pts or (held_pts is not None and pts <= held_pts):
                continue
            if rank % every == 0:
                wanted.add(pts)
            rank += 1
        return wanted

    def _is_beyond(self, pts: int, position: int, items: Sequence[Item]) -> bool:
        """Whether the last frame's target lies beyond the end of the video: its own packet tells that end,
        unless it has no duration; then only a target far behind it is beyond."""
        timed = [item for item in items if item is not None and item.pts is not None]
        end = max((item.pts + (item.duration or 0) for item in timed if item.pts is not None), default=pts)
        if not any(item.pts == pts and item.duration for item in timed):
            end = max(end, pts) + int(END_MARGIN_S / self._time_base)
        return (
            self._sampling.offset_of(position, self._time_base) >= (end - self._first_pts) * self._time_base
        )

    def _shortened(self, chunk: Sequence[Item], wanted: Collection[int]) -> dict[int, int]:
        classifier = self._classifier
        if classifier is None:
            return {}
        shortened = {}
        for place, packet in enumerate(chunk):
            assert packet is not None
            # it learns from headers, and so is shown every packet
            needed_bytes = classifier.needed_bytes(memoryview(packet), packet.is_keyframe)
            if needed_bytes < packet.size and packet.pts not in wanted:
                shortened[place] = needed_bytes
        return shortened

    def _resume_at(self, known: list[int], needed: Collection[int], following_key: int) -> int:
        """pts up to which the next frame that is needed may lie; not below the keyframe behind."""
        if self.counts:
            return following_key
        last = max(needed, default=None)
        position = self._start
        for pts in known:
            if last is not None and pts <= last:
                continue
            found = self._sampling.position_of(pts - self._first_pts, self._time_base)
            if found >= position:
                position = found
                break
        tick = self._first_pts + self._sampling.last_tick(position, self._time_base)
        return max(tick, following_key)


def _timed(ahead: Sequence[Item]) -> list[int]:
    """pts of what lies ahead, up to the first thing that has none."""
    found = []
    for item in ahead:
        if item is None or item.pts is None:
            break
        if not item.is_discard:
            found.append(item.pts)
    return found


def _leading(ahead: Sequence[Item]) -> set[int]:
    """pts of the leading pictures of the GOP that ``ahead`` begins with."""
    key = ahead[0]
    assert key is not None
    assert key.pts is not None
    found = set()
    for item in ahead[1:]:
        if is_key(item):
            break
        if item is not None and item.pts is not None and item.pts < key.pts:
            found.add(item.pts)
    return found
