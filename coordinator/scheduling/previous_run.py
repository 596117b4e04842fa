"""What an earlier run of the job has done: it is passed over where the next cut would be."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING

from framefleet.common.job.completed import DoneRange, DoneVideo
from framefleet.coordinator.totals import Totals

if TYPE_CHECKING:
    from framefleet.coordinator.scheduling.pool import Pool


class PreviousRun:
    """The ranges of a pool's videos that are done already, and how much that is in all (``totals``)."""

    def __init__(self, pool: Pool, done: Mapping[str, DoneVideo]) -> None:
        self._pool = pool
        self._in_part: dict[int, DoneVideo] = {}
        self._ahead: dict[int, deque[DoneRange]] = {}
        self.totals = Totals()
        for index, video in enumerate(pool.videos if done else ()):
            known = done.get(video.listed.name)
            if known is None:
                continue
            self.totals.add(known)
            if known.is_whole:
                video.frames = known.frames
                video.all_cut = True
                video.forget()
                pool.unsettled -= 1
            else:
                self._in_part[index] = known
                self.begin(index)

    def begin(self, index: int) -> None:
        """Nothing of a video has been cut (any more)."""
        if (known := self._in_part.get(index)) is not None:
            self._pool.videos[index].frames = known.frames
            self._ahead[index] = deque(known.ranges)

    def has_part_of(self, index: int) -> bool:
        """Whether some of a video is done, and not all."""
        return index in self._in_part

    def is_of_other_file(self, index: int, checksum: str) -> bool:
        """Whether what is done of a video was made of a file with another checksum."""
        known = self._in_part.get(index)
        return known is not None and known.checksum not in (None, checksum)

    def next_start(self, index: int) -> int | None:
        """Where the next range of a video begins that is done; None: none is ahead."""
        ahead = self._ahead.get(index)
        return ahead[0].start if ahead else None

    def pass_over(self, index: int) -> None:
        """Where the next cut would be lies what is done: units that are done stand for it."""
        pool = self._pool
        video, ahead = pool.videos[index], self._ahead.get(index)
        while ahead and not video.all_cut and ahead[0].start == video.next_start:
            done = ahead.popleft()
            px = pool.workload.range_px(video, done.start, done.stop)
            pool.rates.add_remaining(video, -min(px, video.remaining_px))
            unit = pool.new_unit(files=(index,), start=done.start, stop=done.stop)
            unit.move("taken_over")
            unit.counted = pool.numbering.counted_of(done.frames, done.shown)
            video.units.append(unit.id)
            for _ in pool.numbering.numbered(video, unit):
                pass
            unit.rank = unit.before or 0
            if done.stop is not None:
                video.next_start = done.stop
            if done.stop in (None, video.stop) or pool.numbering.has_enough(video):
                pool.stop_cutting(video)
            elif pool.numbering.limit is not None:
                pool.recompute_horizon(index)
