"""What others would do with the same hosts and videos, each in a few lines.

They get the benefit of every doubt: no probing, no faults, no heartbeats; estimates of work are those that
the containers' claims give at one rate for all. What they hand out costs a slot the same opening, and the
coordinator the same time, as with the real core.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from framefleet.coordinator.scheduling.policy import DEFAULT_RATE
from framefleet.coordinator.simulation.footage import Footage
from framefleet.coordinator.simulation.plan import Plan

FIXED_S = 10.0
LEAST_S = 1.0  # the smallest chunk of the policies that shrink theirs, as the real one's

Size = Callable[[float, int], float]
"""Estimated seconds of the next chunk, from those that remain and the number of slots."""


@dataclass(slots=True)
class _Todo:
    """A video and what is left of it."""

    video: Footage
    frame_s: float
    expected_s: float
    """Estimated seconds of each frame, at one rate for all videos."""
    next_frame: int = 0

    @property
    def left_s(self) -> float:
        return (self.video.frames - self.next_frame) * self.expected_s


def baselines(plan: Plan) -> Iterator[tuple[str, float]]:
    """(name, makespan in seconds) of each."""
    yield "whole files, in order", _pull(plan, _todo(plan), None)
    yield "whole files, longest first", _pull(plan, _longest_first(_todo(plan)), None)
    yield "ShardedByS3Key", _sharded(plan)
    yield f"fixed chunks of {FIXED_S:.0f} s", _pull(plan, _todo(plan), lambda left_s, slots: FIXED_S)
    yield "guided self-scheduling", _pull(plan, _longest_first(_todo(plan)), _guided)
    yield "factoring", _pull(plan, _longest_first(_todo(plan)), _Factoring())


def _guided(left_s: float, slots: int) -> float:
    return max(LEAST_S, left_s / slots)


class _Factoring:
    """FAC2: rounds of as many equal chunks as there are slots, each round half of what remains."""

    def __init__(self) -> None:
        self._left_of_round = 0
        self._size_s = 0.0

    def __call__(self, left_s: float, slots: int) -> float:
        if not self._left_of_round:
            self._left_of_round = slots
            self._size_s = max(LEAST_S, left_s / (2 * slots))
        self._left_of_round -= 1
        return self._size_s


def _todo(plan: Plan) -> list[_Todo]:
    todo = []
    for video in plan.footage:
        sampling = plan.sampling_of(video)
        frame_s = video.frame_s(sampling)
        claimed = max(1.0, video.claimed_s * video.fps) / video.frames
        todo.append(_Todo(video, frame_s, frame_s * video.rate / DEFAULT_RATE * claimed))
    return todo


def _longest_first(todo: list[_Todo]) -> list[_Todo]:
    return sorted(todo, key=lambda each: -each.left_s)


def _sharded(plan: Plan) -> float:
    """Host i of those that come takes every n-th video of the list; its slots take them in order."""
    todo = _todo(plan)
    hosts = [host for host in plan.hosts if host.starts_at is not None]
    return max(
        _run(plan, [(host.starts_at or 0.0, speed) for speed in host.speeds], todo[place :: len(hosts)], None)
        for place, host in enumerate(hosts)
    )


def _pull(plan: Plan, todo: list[_Todo], size: Size | None) -> float:
    slots = [
        (host.starts_at, speed) for host in plan.hosts if host.starts_at is not None for speed in host.speeds
    ]
    return _run(plan, slots, todo, size)


def _run(plan: Plan, slots: list[tuple[float, float]], todo: list[_Todo], size: Size | None) -> float:
    """Slots (free from, speed) that take chunks of the list from its front, until nothing is left."""
    costs, server = plan.costs, plan.server
    round_trip_s = 2 * (plan.links.latency_s + plan.links.jitter_s)
    dispatch_s = server.unit_s + server.wake_s + 3 * server.message_s + 2 * server.send_s
    free = [(start, number, speed, -1) for number, (start, speed) in enumerate(slots)]
    heapq.heapify(free)
    left_s = sum(each.left_s for each in todo)
    dispatcher_free_at = end = 0.0
    place = 0
    while place < len(todo):
        at, number, speed, open_video = heapq.heappop(free)
        each = todo[place]
        frames = each.video.frames - each.next_frame
        if size is not None:
            wanted = max(1, round(size(left_s, len(slots)) / each.expected_s))
            whole_gops = math.ceil(wanted / each.video.gop) * each.video.gop
            frames = min(frames, whole_gops)
        left_s -= frames * each.expected_s
        each.next_frame += frames
        place += each.next_frame >= each.video.frames
        dispatcher_free_at = max(dispatcher_free_at, at) + dispatch_s
        open_s = costs.unit_s + (0.0 if open_video == each.video.index else costs.open_s)
        at = dispatcher_free_at + round_trip_s + (open_s + frames * each.frame_s) / speed
        end = max(end, at)
        heapq.heappush(free, (at, number, speed, each.video.index))
    return end
