"""Attempts that fail, on a core's bench: what a host says of one, and crashes until a part is isolated."""

from __future__ import annotations

from framefleet.common.protocol import messages as m
from framefleet.coordinator.state import Unit
from tests.helpers.core_bench import Bench


def failed(unit: Unit, kind: m.FailedKind, text: str = "boom") -> m.Failed:
    return m.Failed(lease=unit.lease, kind=kind, text=text, seconds=0.1)


def crash_at(bench: Bench, bad: range, limit: int = 1000) -> list[tuple[int, int | None]]:
    """Host a does all there is; a unit that holds a bad position crashes. Gives the units that were tried."""
    tried = []
    while bench.running("a"):
        unit = bench.running("a")[0]
        tried.append((unit.start, unit.stop))
        assert len(tried) < limit
        stop = unit.stop if unit.stop is not None else 10**9
        if any(unit.start <= position < stop for position in bad):
            bench.say("a", failed(unit, "crash", "killed by SIGSEGV"))
        else:
            bench.finish("a", unit)
    return tried


def refuse(bench: Bench, host: str, unit: Unit, reason: str = "cannot be read: Input/output error") -> None:
    refused = [(index, reason) for index in unit.files]
    bench.say(host, m.Probed(lease=unit.lease, found=[], refused=refused, seconds=0.0))
