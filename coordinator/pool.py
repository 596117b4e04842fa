"""The pool of work: which units exist, which comes next, and what is left.

Units are cut when somebody asks, from the front of what remains of a video, so their sizes follow
what has been learned by then.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator, Sequence, Set

from common.media import VideoInfo
from common.messages import MAX_PROBE_BATCH
from common.sampling import Sampling
from common.spec import SchedulingOptions
from coordinator import policy
from coordinator.catalogue import ListedVideo
from coordinator.state import OPEN, Unit, UnitState, Video

PROBE_BATCH_CAP = MAX_PROBE_BATCH // 4
PROBES_PER_SLOT = 4  # batches a slot can expect, so that the last ones share out evenly
READY_AHEAD_S = 2.0  # seconds of extraction per slot that are known before probing gives way


class Pool:
    """Videos, their units, and what is left to hand out. It knows hosts by name only, and no clock."""

    def __init__(self, videos: Sequence[ListedVideo], sampling: Sampling, options: SchedulingOptions) -> None:
        self.sampling = sampling
        self.options = options
        self.videos = [Video(listed=listed) for listed in videos]
        self.units: dict[int, Unit] = {}
        self.unsettled = len(self.videos)
        self.probes_open = 0
        largest_first = sorted(
            range(len(videos)), key=lambda index: (videos[index].size_bytes, -index), reverse=True
        )
        self._unprobed = deque(largest_first)
        self._unprobed_bytes = sum(listed.size_bytes for listed in videos)
        self._bytes_per_work_s: float | None = None
        self._requeued: deque[int] = deque()
        self._longest: list[tuple[float, int]] = []
        self._rates: dict[policy.RateClass, float] = {}
        self._remaining_px: dict[policy.RateClass, float] = {}

    # ---- what is left -------------------------------------------------------------------------------

    def rate(self, video: Video) -> float:
        """Pixels per second that one slot of ordinary speed does on this video, as far as is known."""
        assert video.info is not None
        return video.rate or self._rates.get(policy.rate_class(video.info), policy.DEFAULT_RATE)

    def remaining_s(self) -> float:
        """Estimated seconds of work that nobody has yet (R)."""
        ready = sum(
            px / self._rates.get(key, policy.DEFAULT_RATE) for key, px in self._remaining_px.items() if px > 0
        )
        again = sum(self.estimate_s(self.units[unit]) for unit in self._requeued)
        unprobed = self._unprobed_bytes / (self._bytes_per_work_s or policy.DEFAULT_BYTES_PER_WORK_S)
        return ready + again + unprobed

    def estimate_s(self, unit: Unit) -> float:
        """Estimated seconds of a unit on a slot of ordinary speed."""
        if unit.is_probe:
            return 0.0
        return unit.work_px / self.rate(self.videos[unit.video])

    @property
    def empty(self) -> bool:
        """Nothing can be handed out at this moment."""
        return not (self._requeued or self._unprobed or self._longest)

    @property
    def queued(self) -> Sequence[int]:
        """Units that wait to be handed out again, the next one first."""
        return tuple(self._requeued)

    # ---- handing out --------------------------------------------------------------------------------

    def take(
        self, host: str, *, last_video: int | None, speed: float, slots: float, live: Set[str]
    ) -> Unit | None:
        """The next unit for a host, still PENDING; None when there is nothing that it may have.

        ``speed`` is the host's, ``slots`` the total speed of all; ``live`` names the hosts
        that are there, as one of them is to take what this one has failed at.
        """
        unit = self._take_requeued(host, live)
        if unit is not None:
            return unit
        ready_s = self._ready_s()
        half_the_slots = max(1.0, slots / 2)
        if self._unprobed and (ready_s < READY_AHEAD_S * slots or self.probes_open < half_the_slots):
            return self._cut_probe(slots)
        size_s = policy.next_size_s(
            self.remaining_s(),
            speed=slots,
            unit_min_s=self.options.unit_min_s,
            unit_cap_s=self.options.unit_cap_s,
        )
        video = self._choose_video(last_video, size_s)
        if video is None:
            return self._cut_probe(slots) if self._unprobed else None
        return self._cut_extraction(video, size_s * speed)

    def _take_requeued(self, host: str, live: Set[str]) -> Unit | None:
        for place, number in enumerate(self._requeued):
            unit = self.units[number]
            if host not in unit.avoid or live <= unit.avoid:
                del self._requeued[place]
                return unit
        return None

    def _ready_s(self) -> float:
        return sum(px / self._rates.get(key, policy.DEFAULT_RATE) for key, px in self._remaining_px.items())

    def _cut_probe(self, slots: float) -> Unit:
        share = len(self._unprobed) / (PROBES_PER_SLOT * max(slots, 1.0))
        count = min(len(self._unprobed), max(1, min(PROBE_BATCH_CAP, round(share))))
        files = tuple(self._unprobed.popleft() for _ in range(count))
        for index in files:
            self._unprobed_bytes -= self.videos[index].listed.size_bytes
        self.probes_open += 1
        return self._new_unit(files=files, is_probe=True)

    def _choose_video(self, last_video: int | None, size_s: float) -> int | None:
        """Longest first; but the range after the one just done, in the file that is open there, before
        anything that can still be cut."""
        longest = self._peek_longest()
        if longest is None:
            return None
        top = self.videos[longest]
        assert top.info is not None
        if not top.info.seekable and top.remaining_px / self.rate(top) > size_s:
            return longest
        if last_video is not None and self._can_cut(self.videos[last_video]):
            return last_video
        return longest

    @staticmethod
    def _can_cut(video: Video) -> bool:
        return video.info is not None and not video.all_cut

    def _peek_longest(self) -> int | None:
        while self._longest:
            negative_px, index = self._longest[0]
            video = self.videos[index]
            if self._can_cut(video):
                if -negative_px <= video.remaining_px:
                    return index
                heapq.heapreplace(self._longest, (-video.remaining_px, index))
            else:
                heapq.heappop(self._longest)
        return None

    def _cut_extraction(self, index: int, size_s: float) -> Unit:
        video = self.videos[index]
        assert video.info is not None
        span_s = self.options.unit_span_s or size_s * self.rate(video) / video.px_per_s
        stop = policy.cut_position(
            video.info, self.sampling, start=video.next_start, span_s=span_s, rule=self.options.cut
        )
        if stop is None:
            work_px = video.remaining_px
        else:
            offset = self.sampling.offset_of
            covered_s = float(
                offset(stop, video.info.time_base) - offset(video.next_start, video.info.time_base)
            )
            work_px = min(video.remaining_px, covered_s * video.px_per_s)
        unit = self._new_unit(files=(index,), start=video.next_start, stop=stop, work_px=work_px)
        video.units.append(unit.id)
        video.open_units += 1
        self._subtract(video, work_px)
        if stop is None:
            self.stop_cutting(video)
        else:
            video.next_start = stop
        return unit

    def _new_unit(
        self,
        *,
        files: tuple[int, ...],
        is_probe: bool = False,
        start: int = 0,
        stop: int | None = None,
        work_px: float = 0.0,
    ) -> Unit:
        unit = Unit(
            id=len(self.units), files=files, is_probe=is_probe, start=start, stop=stop, work_px=work_px
        )
        self.units[unit.id] = unit
        return unit

    def _subtract(self, video: Video, work_px: float) -> None:
        assert video.info is not None
        key = policy.rate_class(video.info)
        video.remaining_px -= work_px
        self._remaining_px[key] = max(0.0, self._remaining_px[key] - work_px)

    # ---- coming back --------------------------------------------------------------------------------

    def requeue(self, unit: Unit) -> None:
        """Hand a PENDING unit out again, before anything new."""
        assert unit.state is UnitState.PENDING
        self._requeued.appendleft(unit.id)

    def unqueue(self, unit: Unit) -> None:
        """Take a PENDING unit back out of the queue: the host that had it has it still."""
        self._requeued.remove(unit.id)

    def split_probe(self, unit: Unit) -> list[Unit]:
        """Each file of a failed batch by itself, so that one bad file blames no other."""
        assert unit.is_probe
        singles = [self._new_unit(files=(index,), is_probe=True) for index in unit.files]
        self.probes_open += len(singles) - 1
        self._requeued.extendleft(single.id for single in reversed(singles))
        return singles

    # ---- what was learned ---------------------------------------------------------------------------

    def probed(self, index: int, info: VideoInfo) -> None:
        """A video's probe came back: it can be cut from now on."""
        video = self.videos[index]
        video.info = info
        video.px_per_s = policy.work_per_second(info, output_fps=self.sampling.output_fps)
        duration_s = info.duration_s or info.size_bytes / policy.DEFAULT_BYTES_PER_VIDEO_S
        video.remaining_px = video.px_per_s * duration_s
        key = policy.rate_class(info)
        self._remaining_px[key] = self._remaining_px.get(key, 0.0) + video.remaining_px
        heapq.heappush(self._longest, (-video.remaining_px, index))
        work_s = max(video.remaining_px / self.rate(video), 1e-3)
        self._bytes_per_work_s = policy.ewma(self._bytes_per_work_s, max(1.0, info.size_bytes) / work_s)

    def refuse(self, index: int) -> None:
        """A video that cannot be read: nothing will come of it."""
        video = self.videos[index]
        video.refused = video.failed = True
        self.unsettled -= 1

    def learn(self, unit: Unit, *, decoded: int, written: int, seconds: float) -> float | None:
        """Correct the rates by a finished unit.

        Returns: how much faster than predicted it was (1.0 as predicted), None if too short to tell.
        """
        if seconds < policy.MIN_OBSERVED_S or decoded == 0:
            return None
        video = self.videos[unit.video]
        assert video.info is not None
        observed = policy.observed_px(video.info, decoded=decoded, written=written) / seconds
        ratio = observed / self.rate(video)
        key = policy.rate_class(video.info)
        self._rates[key] = policy.ewma(self._rates.get(key), observed)
        video.rate = policy.ewma(video.rate, observed)
        return ratio

    def stop_cutting(self, video: Video) -> None:
        """No unit beyond those that exist: the last one is open-ended, or the file's end was seen."""
        if video.all_cut:
            return
        self._subtract(video, video.remaining_px)
        video.all_cut = True
        if video.settled:
            self.unsettled -= 1

    def close(self, unit: Unit) -> None:
        """A unit reached its final state."""
        assert unit.state not in OPEN
        if unit.is_probe:
            self.probes_open -= 1
            return
        video = self.videos[unit.video]
        video.open_units -= 1
        if video.settled:
            self.unsettled -= 1

    # ---- numbering ----------------------------------------------------------------------------------

    def ready_to_commit(self, unit: Unit) -> Iterator[Unit]:
        """STAGED units whose first sample number is known now that ``unit`` has been staged or given up.

        Under a rate a frame's number follows from its time, so a unit is ready at once. Under
        ``native`` frames are numbered as displayed, and a unit waits for all before it.
        """
        staged = UnitState.STAGED
        if not self.sampling.numbered_by_order:
            unit.first_sample = 0
        if unit.first_sample is not None:
            if unit.state is staged:
                yield unit
            return
        video = self.videos[unit.video]
        for number in video.units[video.numbered :]:
            following = self.units[number]
            if following.state is UnitState.FAILED:
                video.numbered += 1  # nobody knows how many frames are missing here: counted as none
                continue
            if following.state is not staged:
                return
            assert following.done is not None
            following.first_sample = video.frames_before
            video.frames_before += following.done.frames
            video.numbered += 1
            yield following
