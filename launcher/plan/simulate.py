"""The makespan of an extraction: the scheduler's own core in a made-up cluster, for jobs of any size.

What a simulation costs grows with its units. A job of more than ``MOST_UNITS`` is made smaller, and what it
takes is put back:

- The shortest of many videos are joined, which changes little where most units are parts of videos.
- Videos are *shortened*, their keyframes as far apart as before, and of many slots some are left out. What a
  schedule loses beside ``W/S`` (work by speed) lies at its beginning and its end; it is as large for a job of
  which the middle is missing, so it is added to the whole job's ``W/S``.
- Where it still lasts days, its heartbeats would be what is simulated: then *all* times are scaled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from framefleet.common.job.spec import SchedulingOptions
from framefleet.coordinator.scheduling.policy import ENCODE_WEIGHT, UNITS_AHEAD
from framefleet.coordinator.simulation.footage import Footage
from framefleet.coordinator.simulation.plan import HostPlan, Plan
from framefleet.coordinator.simulation.slots import Costs
from framefleet.coordinator.simulation.world import World
from framefleet.launcher.plan.estimate import MIN_WORK_S, UNKNOWN_GOP_S, Estimate
from framefleet.launcher.plan.prices import Instance

MOST_UNITS: Final = 3000  # expected; half a millisecond each
MOST_VIDEOS: Final = 500
MOST_SLOTS: Final = 128  # where units are many: each wants some dozen of its own
MOST_S: Final = 10_000.0  # of virtual time; each second has its tick, and each host its heartbeats
FPS: Final = 25  # of the made-up videos that stand for the real ones


@dataclass(frozen=True, slots=True)
class Simulated:
    """The makespan of the whole extraction, in seconds, and how many units were simulated for it."""

    makespan_s: float
    units: int


@dataclass(frozen=True, slots=True)
class _Cluster:
    """Equal hosts: how many, slots of each, and a slot's speed."""

    hosts: int
    slots: int
    slot_speed: float

    @property
    def speed(self) -> float:
        return self.hosts * self.slots * self.slot_speed


def simulate(
    videos: Sequence[Estimate], instance: Instance, instances: int, *, most_units: int = MOST_UNITS
) -> Simulated:
    """The makespan of the extraction on so many instances, start-up and transfers not in it."""
    whole = _Cluster(instances, instance.vcpus, instance.slot_speed)
    few = joined(videos, MOST_VIDEOS)
    pieces = [_piece_work_s(each) for each in few]
    cluster, share = _reduced(whole, few, pieces, most_units)
    short = [_shortened(each, share) for each in few]
    longest_s = max(pieces, default=0.0) / whole.slot_speed
    lasting_s = max(
        _work_s(short) / cluster.speed, max(map(_piece_work_s, short), default=0.0) / cluster.slot_speed
    )
    scale = min(1.0, MOST_S / max(lasting_s, 1e-9))
    hosts = [
        HostPlan(name=f"h{number}", speeds=(cluster.slot_speed,) * cluster.slots)
        for number in range(cluster.hosts)
    ]
    footage = [_footage(number, each, scale) for number, each in enumerate(short)]
    result = World(Plan(seed=1, hosts=hosts, footage=footage)).run()
    costs = Costs()
    left_out_s = _work_s(few) / whole.speed - _work_s(short) / cluster.speed
    opened_s = (len(videos) - len(few)) * (costs.open_s + costs.probe_s) / whole.speed
    return Simulated(max(longest_s, result.makespan_s / scale + left_out_s) + opened_s, result.units)


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
            gop_s=min(rest[number].gop_s or UNKNOWN_GOP_S, rest[number].duration_s),
            duration_s=sum(each.duration_s for each in rest[number::groups]),
        )
        for number in range(groups)
    ]


def _reduced(
    whole: _Cluster, videos: Sequence[Estimate], pieces: Sequence[float], most_units: int
) -> tuple[_Cluster, float]:
    """The cluster that is simulated, and the share of each video's length that it is given."""
    pairs = list(zip(videos, pieces, strict=True))
    if sum(1 + each.work_s / piece for each, piece in pairs) <= most_units:
        return whole, 1.0  # never more units than pieces
    options = SchedulingOptions()
    slots = whole.hosts * whole.slots
    used = min(slots, MOST_SLOTS)
    hosts = min(whole.hosts, max(1, used // whole.slots))
    cluster = _Cluster(hosts, min(whole.slots, used), whole.slot_speed)
    slots_used = cluster.hosts * cluster.slots
    # towards the end, units of R/(4P) until they are the smallest; before, the largest that are allowed
    last = UNITS_AHEAD * slots_used * (1 + math.log(options.unit_cap_s / options.unit_min_s))
    cap_s = options.unit_cap_s * whole.slot_speed
    largest = sum(each.work_s / max(cap_s, piece) for each, piece in pairs)
    allowed = max(most_units / 4, most_units - last - len(videos))
    return cluster, min(slots_used / slots, allowed / max(largest, 1e-9))


def _shortened(video: Estimate, share: float) -> Estimate:
    return replace(video, work_s=video.work_s * share, duration_s=video.duration_s * share)


def _piece_work_s(video: Estimate) -> float:
    """What of a video no cut can divide: the work of one of its GOPs."""
    share = (video.gop_s or UNKNOWN_GOP_S) / video.duration_s if video.duration_s else 1.0
    return max(MIN_WORK_S, video.work_s) * min(1.0, share)


def _footage(number: int, video: Estimate, scale: float = 1.0) -> Footage:
    """A made-up video of that length, cost and distance of keyframes, for five samples a second."""
    frames = max(5, round(scale * video.duration_s * FPS) // 5 * 5)
    gop = max(1, min(frames, round(scale * (video.gop_s or UNKNOWN_GOP_S) * FPS)))
    work_px = (1 + ENCODE_WEIGHT / 5) * frames * 1920 * 1080
    return Footage(
        index=number,
        frames=frames,
        fps=FPS,
        gop=gop,
        rate=work_px / max(MIN_WORK_S, scale * video.work_s),
        claimed_s=frames / FPS,
    )


def _work_s(videos: Sequence[Estimate]) -> float:
    return sum(each.work_s for each in videos)
