"""``trace.json``: the job in Chrome's trace event format, which Perfetto (ui.perfetto.dev) opens.

A process is a host, a thread is a slot, a slice is an attempt; within it lie its phases. A unit does a little
of each again and again: a phase is drawn as one slice as long as all of it together.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from framefleet.launcher.report.timeline import Attempt, Kind, Timeline

Event = dict[str, Any]
BATCH = 10_000  # events in one piece of text


def write_trace(timeline: Timeline, path: Path) -> None:
    """Write the trace whole or not at all.

    Raises:
        OSError: the disk refuses.
    """
    encoder = msgspec.json.Encoder()
    temporary = path.with_name(f".{path.name}.part")
    try:
        with temporary.open("wb") as file:
            file.write(b'{"displayTimeUnit":"ms","traceEvents":[\n')
            lines: list[bytes] = []
            first = True
            for event in events(timeline):
                lines.append(encoder.encode(event))
                if len(lines) >= BATCH:
                    file.write((b"" if first else b",\n") + b",\n".join(lines))
                    lines, first = [], False
            file.write((b"" if first or not lines else b",\n") + b",\n".join(lines))
            file.write(b"\n]}\n")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def events(timeline: Timeline) -> Iterator[Event]:
    """Names first, then the slices of one thread after those of another, each before what lies within it."""
    pids = {host: number for number, host in enumerate(timeline.hosts, start=1)}
    for host, pid in pids.items():
        yield _name("process_name", pid, 0, name=host)
        yield _name("process_sort_index", pid, 0, sort_index=pid)
    for lane in timeline.lanes:
        pid, tid = pids[lane.host], lane.slot + 1  # thread 0 is the idle one to some viewers
        yield _name("thread_name", pid, tid, name=f"slot {lane.slot}")
        for start_us, _ in lane.away:
            yield {"ph": "i", "s": "t", "name": "host gone", "pid": pid, "tid": tid, "ts": start_us}
        for attempt in lane.attempts:
            yield from _slices(attempt, pid, tid)


def _name(what: str, pid: int, tid: int, **args: object) -> Event:
    return {"ph": "M", "name": what, "pid": pid, "tid": tid, "args": args}


def _slices(attempt: Attempt, pid: int, tid: int) -> Iterator[Event]:
    name = "probe" if attempt.is_probe else attempt.video
    args: Event = {"unit": attempt.unit, "attempt": attempt.number, "frames": attempt.frames}
    args["outcome"] = attempt.reason or attempt.kind.name.lower()
    if attempt.is_copy:
        args["copy"] = True
    if attempt.was_split:
        args["split"] = True
    category = "probe" if attempt.is_probe else "unit" if attempt.kind is Kind.DONE else "wasted"
    at_us = attempt.start_us
    place = {"ph": "X", "pid": pid, "tid": tid}
    yield {**place, "name": name, "cat": category, "ts": at_us, "dur": attempt.length_us, "args": args}
    phases = attempt.phases.within(attempt.length_us)
    for phase, length_us in (
        ("open", phases.open_us),
        ("roll-in", phases.roll_in_us),
        ("decode", phases.decode_us),
        ("convert", phases.convert_us),
        ("encode", phases.encode_us),
        ("write", phases.write_us),
    ):
        if length_us:
            yield {**place, "name": phase, "cat": "phase", "ts": at_us, "dur": length_us}
            at_us += length_us
