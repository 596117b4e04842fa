"""From looks at some videos to makespans and costs of whole jobs, by the scheduler's own core.

What videos cost is measured on this machine, by their first frames. What is assumed beside that stands at the
top; the range that is printed with each figure allows for it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Final

from common.media import VideoInfo
from common.sampling import Sampling
from coordinator.policy import DEFAULT_BYTES_PER_VIDEO_S, DEFAULT_RATE, ENCODE_WEIGHT, frames_per_second
from coordinator.simulation.footage import Footage
from coordinator.simulation.plan import HostPlan, Plan
from coordinator.simulation.world import World
from plan.looking import Look
from plan.prices import Instance

DOWNLOAD_BYTES_PER_S: Final = (
    100e6  # onto an instance's disk; a guess, below what its network and disk promise
)
UPLOAD_BYTES_PER_S: Final = 50e6  # of small files
START_S: Final = 300.0  # from submission to the container's start; users tell of 4 to 8 minutes, not billed
END_S: Final = 30.0  # the last uploads, and AWS's own
UNKNOWN_BITS_PER_PIXEL: Final = 1.5  # of an image, where no video could be looked at
LOW: Final = 0.6  # of the extraction: so far apart lie speeds of machines, and of contents
HIGH: Final = 1.8
START_RANGE_S: Final = (240.0, 480.0)
TRANSFER_LOW: Final = 0.5  # of the transfers, whose speeds are guesses
TRANSFER_HIGH: Final = 2.0
MOST_SIMULATED: Final = 1500  # videos; the shortest of more are joined
FPS: Final = 25  # of the made-up videos that stand for the real ones
MIN_WORK_S: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Estimate:
    """One video: seconds of a core of its own, frames that come of it, their bytes, and its longest piece."""

    work_s: float
    frames: float
    frame_bytes: float
    size_bytes: int
    gop_s: float
    duration_s: float


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
        return self.instances * instance.price * self.billed_s / 3600


def estimate_all(sizes: Sequence[int], looks: dict[int, Look | None], sampling: Sampling) -> list[Estimate]:
    """An estimate for each video: those that were not looked at are like the others, by their bytes."""
    known = {place: _estimate(seen, sampling) for place, seen in looks.items() if seen is not None}
    if not known:
        pixel_s = 1 / DEFAULT_RATE
        default = Look(
            codec="h264", width=1920, height=1080, duration_s=1.0, frame_rate=30.0, gop_s=2.0,
            size_bytes=round(DEFAULT_BYTES_PER_VIDEO_S),
            decode_s=1920 * 1080 * pixel_s, encode_s=1920 * 1080 * pixel_s * ENCODE_WEIGHT,
            frame_bytes=1920 * 1080 * UNKNOWN_BITS_PER_PIXEL / 8,
        )  # fmt: skip
        like = [_estimate(default, sampling)]
    else:
        like = list(known.values())

    def per_byte(name: str) -> float:
        return float(median(getattr(each, name) / max(1, each.size_bytes) for each in like))

    work, frames, duration = per_byte("work_s"), per_byte("frames"), per_byte("duration_s")
    frame_bytes, gop_s = median(each.frame_bytes for each in like), median(each.gop_s for each in like)
    readable = 1.0 if not looks else max(0.0, sum(each is not None for each in looks.values()) / len(looks))
    found = []
    for place, size in enumerate(sizes):
        if place in looks:
            found.append(known.get(place) or Estimate(MIN_WORK_S, 0, 0, size, 0, 0))
        else:
            scale = size * (readable or 1.0)
            found.append(Estimate(work * scale, frames * scale, frame_bytes, size, gop_s, duration * scale))
    return found


def _estimate(seen: Look, sampling: Sampling) -> Estimate:
    count = round(seen.duration_s / seen.gop_s) if seen.gop_s else 0
    info = VideoInfo(
        container="",
        codec=seen.codec,
        width=seen.width,
        height=seen.height,
        time_base_num=1,
        time_base_den=1000,
        first_pts=0,
        duration_s=min(seen.duration_s, 1e9),
        frame_rate=min(seen.frame_rate, 999.0),
        keyframes=[round(1000 * seen.gop_s * number) for number in range(min(count, 10_000))],
        seekable=True,
        size_bytes=seen.size_bytes,
    )
    decoded, written = frames_per_second(info, sampling)
    if count > 10_000:  # more hints than a probe keeps: their density is what matters
        decoded = seen.frame_rate
    work_s = seen.duration_s * (seen.decode_s * decoded + seen.encode_s * written)
    return Estimate(
        work_s=max(MIN_WORK_S, work_s),
        frames=seen.duration_s * written,
        frame_bytes=seen.frame_bytes,
        size_bytes=seen.size_bytes,
        gop_s=seen.gop_s,
        duration_s=seen.duration_s,
    )


def forecast(videos: Sequence[Estimate], instance: Instance, instances: int) -> Forecast:
    """A coordinated job: all videos on every instance, ranges of frames for whoever is free."""
    total = sum(each.size_bytes for each in videos)
    extraction_s = simulate(videos, instance, instances)
    return Forecast(
        instances,
        total / DOWNLOAD_BYTES_PER_S,
        extraction_s,
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


def simulate(videos: Sequence[Estimate], instance: Instance, instances: int) -> float:
    """The makespan of the extraction: the scheduler's own core in a made-up cluster. Seconds."""
    hosts = [HostPlan(name=f"h{n}", speeds=(instance.slot_speed,) * instance.vcpus) for n in range(instances)]
    footage = [_footage(number, each) for number, each in enumerate(joined(videos, MOST_SIMULATED))]
    return World(Plan(seed=1, hosts=hosts, footage=footage)).run().makespan_s


def joined(videos: Sequence[Estimate], most: int) -> list[Estimate]:
    """At most so many videos with the same work in all: the shortest are joined, which changes little."""
    if len(videos) <= most:
        return list(videos)
    by_work = sorted(videos, key=lambda each: -each.work_s)
    whole, rest = by_work[: most // 2], by_work[most // 2 :]
    groups = most - len(whole)
    return whole + [
        Estimate(
            work_s=sum(each.work_s for each in rest[number::groups]),
            frames=sum(each.frames for each in rest[number::groups]),
            frame_bytes=rest[number].frame_bytes,
            size_bytes=sum(each.size_bytes for each in rest[number::groups]),
            gop_s=rest[number].gop_s,
            duration_s=sum(each.duration_s for each in rest[number::groups]),
        )
        for number in range(groups)
    ]


def knee(forecasts: Sequence[Forecast]) -> int:
    """The most instances that are still worth it: where twice as many saved at least 30 % of the time."""
    best = forecasts[0]
    for fewer, more in pairwise(forecasts):
        if more.total_s > 0.7 * fewer.total_s:
            break
        best = more
    return best.instances


def _footage(number: int, video: Estimate) -> Footage:
    """A made-up video of that length, cost and distance of keyframes, for five samples a second."""
    frames = max(5, round(video.duration_s * FPS) // 5 * 5)
    gop = max(1, min(frames, round((video.gop_s or 2.0) * FPS)))
    work_px = (1 + ENCODE_WEIGHT / 5) * frames * 1920 * 1080
    return Footage(
        index=number, frames=frames, fps=FPS, gop=gop, rate=work_px / max(MIN_WORK_S, video.work_s)
    )


def _in_turn(work: Iterable[float], slots: int) -> float:
    """When slots that take whole videos in order are done."""
    free = [0.0] * slots
    for seconds in work:
        heapq.heapreplace(free, free[0] + seconds)
    return max(free)


def _made_bytes(videos: Sequence[Estimate]) -> float:
    return sum(each.frames * each.frame_bytes for each in videos)
