"""A job over time: frames per second and busy slots, on even steps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from framefleet.launcher.report.timeline import US, Attempt, Kind

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
