"""Attempts put on the lanes of their slots, on one clock.

A host says by its own monotonic clock when a slot began an attempt. What that is on the coordinator's clock
follows from all its attempts together: none began before it was leased, nor ended after its answer came.
What is not said (by lost hosts, of cancelled attempts, in journals of older versions) is put where its host
had a slot free.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from framefleet.launcher.report.read_journal import HostTold, Journal, Told
from framefleet.launcher.report.timeline import US, Attempt, Kind, Lane, Phases
from framefleet.launcher.text import natural_key


def us(seconds: float) -> int:
    """Whole microseconds."""
    return round(seconds * US)


def clock_offsets(attempts: Iterable[Told]) -> dict[tuple[str, str], float]:
    """Seconds from each host's (and incarnation's) clock to the coordinator's, where they can be told."""
    bounds: dict[tuple[str, str], tuple[float, float]] = {}
    for told in attempts:
        if told.timing is None or told.ended_s is None or told.seconds is None:
            continue
        host = told.host, told.incarnation
        low, high = bounds.get(host, (float("-inf"), float("inf")))
        low = max(low, told.leased_s - told.timing.since_s)
        bounds[host] = low, min(high, told.ended_s - told.timing.since_s - told.seconds)
    return {host: (low + high) / 2 for host, (low, high) in bounds.items()}


def lanes_of(journal: Journal, *, shift_s: float, makespan_us: int) -> list[Lane]:
    """The lanes of all hosts of a journal, which begins ``shift_s`` after the job."""
    offsets = clock_offsets(journal.attempts)
    by_host: dict[str, list[Attempt]] = {}
    for told in journal.attempts:
        name = journal.names.get(told.video, f"video {told.video} of the list")
        attempt = _attempt(told, name, offsets.get((told.host, told.incarnation)))
        attempt.start_us = min(max(0, attempt.start_us + us(shift_s)), makespan_us)
        attempt.end_us = min(max(attempt.start_us, attempt.end_us + us(shift_s)), makespan_us)
        if told.ended_s is None:
            attempt.end_us = makespan_us
        by_host.setdefault(told.host, []).append(attempt)
    lanes = []
    for name, host in sorted(journal.hosts.items(), key=lambda item: natural_key(item[0])):
        lanes += _lanes_of_host(name, host, by_host.get(name, []), us(shift_s), makespan_us)
    return lanes


def _attempt(told: Told, video: str, offset_s: float | None) -> Attempt:
    ended_s = told.leased_s if told.ended_s is None else told.ended_s
    start_s, timing = told.leased_s, told.timing
    if timing is not None and offset_s is not None and told.seconds is not None:
        start_s = timing.since_s + offset_s
        ended_s = start_s + told.seconds
    elif told.seconds is not None:
        start_s = max(told.leased_s, ended_s - told.seconds)
    attempt = Attempt(
        unit=told.unit,
        number=told.number,
        host=told.host,
        video="" if told.is_probe else video,
        start_us=us(start_s),
        end_us=us(ended_s),
        kind=told.kind,
        slot=timing.slot if timing is not None else None,
        frames=told.frames,
        suspect=told.suspect,
        bytes=told.bytes,
        is_probe=told.is_probe,
        is_copy=told.is_copy,
        was_split=told.was_split,
        reason=told.reason,
    )
    if timing is not None:
        attempt.phases = Phases(
            open_us=us(timing.open_s),
            roll_in_us=us(timing.roll_in_s),
            decode_us=us(timing.decode_s),
            convert_us=us(timing.convert_s),
            encode_us=us(timing.encode_s),
            write_us=us(timing.write_s),
        )
    return attempt


def _lanes_of_host(
    name: str, host: HostTold, attempts: Sequence[Attempt], shift_us: int, makespan_us: int
) -> list[Lane]:
    slots = max(1, host.slots)
    for attempt in attempts:
        if attempt.slot is not None and attempt.slot >= slots:
            attempt.slot = None  # hosts say what they like
    lanes = [Lane(host=name, slot=slot, ready_us=makespan_us) for slot in range(slots)]
    for attempt in attempts:
        if attempt.slot is not None:
            lanes[attempt.slot].attempts.append(attempt)
    for lane in lanes:
        lane.attempts.sort(key=lambda attempt: (attempt.start_us, attempt.end_us))
        lane.away = [
            (us(start_s) + shift_us, makespan_us if end_s is None else us(end_s) + shift_us)
            for start_s, end_s in host.away
        ]
    _place(lanes, [attempt for attempt in attempts if attempt.slot is None])
    for lane in lanes:
        _disentangle(lane)
    ready = [us(at_s) + shift_us for at_s in host.ready_s] or [us(host.up_s) + shift_us] * slots
    order = sorted(lanes, key=lambda lane: lane.attempts[0].start_us if lane.attempts else makespan_us)
    for place, lane in enumerate(order):  # which of its slots came up first a host does not say
        if place < len(ready):
            lane.ready_us = min(ready[place], makespan_us)
        if lane.attempts:
            lane.ready_us = min(lane.ready_us, lane.attempts[0].start_us)
    return lanes


def _place(lanes: Sequence[Lane], unplaced: Sequence[Attempt]) -> None:
    """Put each attempt that does not say its slot on the lane where it is least in the way."""
    if not unplaced:
        return
    places = {lane.slot: 0 for lane in lanes}
    busy_to = {lane.slot: 0 for lane in lanes}
    for attempt in sorted(unplaced, key=lambda attempt: (attempt.start_us, attempt.end_us)):
        for lane in lanes:
            place = places[lane.slot]
            while place < len(lane.attempts) and lane.attempts[place].start_us <= attempt.start_us:
                busy_to[lane.slot] = max(busy_to[lane.slot], lane.attempts[place].end_us)
                place += 1
            places[lane.slot] = place

        def cost(lane: Lane, attempt: Attempt = attempt) -> tuple[int, int]:
            place = places[lane.slot]
            next_us = lane.attempts[place].start_us if place < len(lane.attempts) else attempt.end_us
            covered_us = max(0, busy_to[lane.slot] - attempt.start_us) + max(0, attempt.end_us - next_us)
            return covered_us, -busy_to[lane.slot]

        lane = min(lanes, key=cost)
        attempt.slot = lane.slot
        lane.attempts.insert(places[lane.slot], attempt)
        places[lane.slot] += 1
        busy_to[lane.slot] = max(busy_to[lane.slot], attempt.end_us)


def _disentangle(lane: Lane) -> None:
    """Clocks are known to a millisecond or so, and ends of lost attempts not at all: where two overlap, the
    one that came to something has the time."""
    before: Attempt | None = None
    for attempt in lane.attempts:
        if before is not None and attempt.start_us < before.end_us:
            if before.kind in (Kind.WASTED, Kind.OPEN):
                before.end_us = attempt.start_us
            else:
                attempt.start_us = before.end_us
                attempt.end_us = max(attempt.end_us, attempt.start_us)
        before = attempt
