"""From estimates of videos to makespans and costs of whole jobs, by the scheduler's own core.

What is assumed beside the estimates stands at the top; the range that is printed with each figure
allows for it.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from framefleet.launcher.plan.estimate import Estimate
from framefleet.launcher.plan.prices import Instance
from framefleet.launcher.plan.simulate import simulate

DOWNLOAD_BYTES_PER_S: Final = (
    100e6  # onto an instance's disk; a guess, below what its network and disk promise
)
UPLOAD_BYTES_PER_S: Final = 50e6  # of small files
START_S: Final = 300.0  # from submission to the container's start; users tell of 4 to 8 minutes, not billed
END_S: Final = 30.0  # the last uploads, and AWS's own
LOW: Final = 0.6  # of the extraction: so far apart lie speeds of machines, and of contents
HIGH: Final = 1.8
START_RANGE_S: Final = (240.0, 480.0)
TRANSFER_LOW: Final = 0.5  # of the transfers, whose speeds are guesses
TRANSFER_HIGH: Final = 2.0
WORTH_IT: Final = 0.7  # of the time: what twice as many instances must come down to


@dataclass(frozen=True, slots=True)
class Forecast:
    """A job on so many instances; seconds. ``total_s`` is from submission to the end, ``billed_s`` of each
    instance. The upload takes ``sending_s`` in all and goes on beside the extraction."""

    instances: int
    download_s: float
    extraction_s: float
    sending_s: float

    @property
    def upload_s(self) -> float:
        """What of the upload is left when the extraction is over."""
        return max(0.0, self.sending_s - self.extraction_s)

    @property
    def billed_s(self) -> float:
        return self.download_s + self.extraction_s + self.upload_s + END_S

    @property
    def total_s(self) -> float:
        return START_S + self.billed_s

    def range_s(self) -> tuple[float, float]:
        """Between what ``total_s`` may lie: every part of it at its least, and at its most."""
        low_s, high_s = (
            start_s
            + END_S
            + transfer * self.download_s
            + max(factor * self.extraction_s, transfer * self.sending_s)
            for start_s, transfer, factor in zip(
                START_RANGE_S, (TRANSFER_LOW, TRANSFER_HIGH), (LOW, HIGH), strict=True
            )
        )
        return low_s, high_s

    def cost(self, instance: Instance) -> float:
        return self._cost(instance, self.billed_s)

    def cost_range(self, instance: Instance) -> tuple[float, float]:
        """Between what the cost may lie: that of ``range_s``, without the time that is not billed."""
        low_s, high_s = self.range_s()
        return self._cost(instance, low_s - START_RANGE_S[0]), self._cost(instance, high_s - START_RANGE_S[1])

    def _cost(self, instance: Instance, billed_s: float) -> float:
        return self.instances * instance.price * billed_s / 3600


def forecast(videos: Sequence[Estimate], instance: Instance, instances: int) -> Forecast:
    """A coordinated job: all videos on every instance, ranges of frames for whoever is free."""
    total = sum(each.size_bytes for each in videos)
    return Forecast(
        instances,
        total / DOWNLOAD_BYTES_PER_S,
        simulate(videos, instance, instances).makespan_s,
        _made_bytes(videos) / instances / UPLOAD_BYTES_PER_S,
    )


def forecast_sharded(videos: Sequence[Estimate], instance: Instance, instances: int) -> Forecast:
    """A job that deals out whole videos in turn, as ShardedByS3Key does; the slowest instance decides."""
    worst = Forecast(instances, 0.0, 0.0, 0.0)
    for number in range(instances):
        mine = videos[number::instances]
        extraction_s = _in_turn((each.work_s / instance.slot_speed for each in mine), instance.vcpus)
        download_s = sum(each.size_bytes for each in mine) / DOWNLOAD_BYTES_PER_S
        here = Forecast(instances, download_s, extraction_s, _made_bytes(mine) / UPLOAD_BYTES_PER_S)
        worst = max(worst, here, key=lambda each: each.billed_s)
    return worst


def knee(forecasts: Sequence[Forecast]) -> int:
    """The most instances that are still worth it: up to them, each doubling saves at least 30 %."""
    best = forecasts[0]
    for fewer, more in pairwise(forecasts):
        doublings = math.log2(more.instances / fewer.instances)
        if more.total_s > WORTH_IT**doublings * fewer.total_s:
            break
        best = more
    return best.instances


def _in_turn(work: Iterable[float], slots: int) -> float:
    """When slots that take whole videos in order are done."""
    free = [0.0] * slots
    for seconds in work:
        heapq.heapreplace(free, free[0] + seconds)
    return max(free)


def _made_bytes(videos: Sequence[Estimate]) -> float:
    return sum(each.frames * each.frame_bytes for each in videos)
