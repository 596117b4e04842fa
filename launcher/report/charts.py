"""What the charts of the page draw, as plain data: columns of numbers, small enough for 100,000 units."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from framefleet.launcher.report.timeline import US, Attempt, Kind, Lane, Timeline

MAX_DRAWN = 150_000  # a canvas draws so many in a tenth of a second
FIRST_PIXELS = 4096  # neighbours that together are narrower than a pixel of so wide a chart are drawn as one
HUES = 8  # videos that have a colour of their own: those with most work
SPLIT, COPY = 4, 8  # added to the kind of a unit


def chart_data(timeline: Timeline, videos: Sequence[str], *, end_us: int | None = None) -> dict[str, Any]:
    """What the page's script needs of a job.

    ``videos`` are those of the job, and perhaps of another one beside it; the first ``HUES`` have colours of
    their own. ``end_us``: where the axis of time ends, if not with the makespan.
    """
    end_us = timeline.makespan_us if end_us is None else end_us
    numbers = {name: number for number, name in enumerate(videos)}
    hues = min(HUES, len(videos))
    groups = _groups(timeline.lanes, timeline.makespan_us)
    firsts = [group[0] for _, group in groups]
    times, rates, busy = over_time(list(timeline.attempts()), end_us / US)
    used = sorted({numbers[first.video] for first in firsts if not first.is_probe} | set(range(hues)))
    place = {number: at for at, number in enumerate(used)}
    return {
        "end_s": end_us / US,
        "makespan_s": timeline.makespan_us / US,
        "hues": hues,
        "lanes": [
            {
                "host": lane.host,
                "slot": lane.slot,
                "ready": lane.ready_us / US,
                "away": [[start / US, end / US] for start, end in lane.away],
            }
            for lane in timeline.lanes
        ],
        "videos": [videos[number] for number in used],
        "units": {
            "count": len(groups),
            "lane": _packed([lane for lane, _ in groups], "<u2"),
            "start": _packed([group[0].start_us / US for _, group in groups], "<f4"),
            "length": _packed([(group[-1].end_us - group[0].start_us) / US for _, group in groups], "<f4"),
            "video": _packed(
                [-1 if first.is_probe else place[numbers[first.video]] for first in firsts], "<i4"
            ),
            "kind": _packed([_kind(group) for _, group in groups], "u1"),
            "of": _packed([len(group) for _, group in groups], "<u4"),
            "unit": _packed([first.unit for first in firsts], "<u4"),
            "attempt": _packed([min(first.number, 255) for first in firsts], "u1"),
            "frames": _packed([sum(attempt.frames for attempt in group) for _, group in groups], "<u4"),
            "shares": _packed([_shares(group) for _, group in groups], "u1"),
        },
        "rate": {
            "t": [round(float(value), 3) for value in times],
            "frames": [round(float(value), 2) for value in rates],
            "busy": [round(float(value), 3) for value in busy],
        },
    }


def _groups(lanes: Sequence[Lane], makespan_us: int) -> list[tuple[int, list[Attempt]]]:
    """Attempts one by one, or, where there are too many to draw, in groups of neighbours."""
    total = sum(len(lane.attempts) for lane in lanes)
    if total <= MAX_DRAWN:
        return [(place, [attempt]) for place, lane in enumerate(lanes) for attempt in lane.attempts]
    quantum_us = max(1, makespan_us // FIRST_PIXELS)
    while True:
        groups = [
            (place, group)
            for place, lane in enumerate(lanes)
            for group in _grouped(lane.attempts, quantum_us)
        ]
        if len(groups) <= MAX_DRAWN or quantum_us >= makespan_us:
            return groups
        quantum_us *= 2


def _grouped(attempts: Sequence[Attempt], quantum_us: int) -> list[list[Attempt]]:
    groups: list[list[Attempt]] = []
    for attempt in attempts:
        if (
            groups
            and groups[-1][0].kind is attempt.kind
            and attempt.end_us - groups[-1][0].start_us <= quantum_us
        ):
            groups[-1].append(attempt)
        else:
            groups.append([attempt])
    return groups


def _kind(group: Sequence[Attempt]) -> int:
    flags = SPLIT * any(attempt.was_split for attempt in group) + COPY * any(
        attempt.is_copy for attempt in group
    )
    return int(group[0].kind.value) + flags


def _shares(group: Sequence[Attempt]) -> tuple[int, int, int]:
    """What of a group went into roll-in, decoding and encoding, in 255ths."""
    length_us = sum(attempt.length_us for attempt in group)
    if not length_us:
        return 0, 0, 0
    parts = [0, 0, 0]
    for attempt in group:
        phases = attempt.phases.within(attempt.length_us)
        parts[0] += phases.roll_in_us
        parts[1] += phases.decode_us
        parts[2] += phases.convert_us + phases.encode_us + phases.write_us
    return tuple(round(255 * part / length_us) for part in parts)  # type: ignore[return-value]


def _packed(values: ArrayLike, form: str) -> str:
    return base64.b64encode(np.asarray(values, dtype=np.dtype(form)).tobytes()).decode()


def wasted(timeline: Timeline) -> list[Attempt]:
    """Attempts that came to nothing, in order of time."""
    lost = [attempt for attempt in timeline.attempts() if attempt.kind is Kind.WASTED]
    return sorted(lost, key=lambda attempt: attempt.start_us)


STEPS = 240
Seconds = NDArray[np.float64]


def over_time(
    attempts: Sequence[Attempt], end_s: float, steps: int = STEPS
) -> tuple[Seconds, Seconds, Seconds]:
    """(middles of steps in seconds, frames/s, busy slots), each of ``steps`` values.

    A unit's frames are taken as spread evenly over it. Only published frames count; a slot is busy with
    whatever it does.
    """
    edges = np.linspace(0.0, max(end_s, 1e-6), steps + 1)
    starts = np.array([attempt.start_us for attempt in attempts], dtype=np.float64) / US
    ends = np.array([attempt.end_us for attempt in attempts], dtype=np.float64) / US
    ends = np.maximum(ends, starts + 1e-6)
    frames = np.array(
        [attempt.frames if attempt.kind is Kind.DONE else 0 for attempt in attempts], dtype=np.float64
    )
    width = edges[1] - edges[0]
    frames_to = _accumulated(starts, ends, frames, edges)
    busy_to = _accumulated(starts, ends, ends - starts, edges)
    return (edges[1:] + edges[:-1]) / 2, np.diff(frames_to) / width, np.diff(busy_to) / width


def _accumulated(starts: Seconds, ends: Seconds, amounts: Seconds, at: Seconds) -> Seconds:
    """How much has come by the times ``at``, of amounts that each come evenly from a start to an end."""
    if not len(starts):
        return np.zeros_like(at)
    rates = amounts / (ends - starts)
    times = np.concatenate([starts, ends])
    order = np.argsort(times, kind="stable")
    times, rate = times[order], np.cumsum(np.concatenate([rates, -rates])[order])
    total = np.concatenate([[0.0], np.cumsum(rate[:-1] * np.diff(times))])
    return np.asarray(np.interp(at, times, total), dtype=np.float64)
