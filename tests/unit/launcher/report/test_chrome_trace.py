"""The trace is what Chrome's trace event format asks for, and nests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from framefleet.launcher.report import chrome_trace as trace
from framefleet.launcher.report.read_job import read_job
from tests.helpers.fake_journal import eventful_job


@pytest.fixture
def events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    monkeypatch.setattr(trace, "BATCH", 3)
    eventful_job(tmp_path)
    trace.write_trace(read_job(tmp_path), tmp_path / "trace.json")
    document = json.loads((tmp_path / "trace.json").read_text())
    assert set(document) == {"traceEvents", "displayTimeUnit"}
    return list(document["traceEvents"])


def test_every_event_has_what_its_phase_needs(events: list[dict[str, Any]]) -> None:
    for event in events:
        assert event["ph"] in ("M", "X", "i")
        assert isinstance(event["pid"], int)
        assert isinstance(event["tid"], int)
        assert isinstance(event["name"], str)
        if event["ph"] == "M":
            assert event["name"] in ("process_name", "process_sort_index", "thread_name")
            assert event["args"]
        else:
            assert isinstance(event["ts"], int)
            assert event["ts"] >= 0
        if event["ph"] == "X":
            assert isinstance(event["dur"], int)
            assert event["dur"] >= 0
        if event["ph"] == "i":
            assert event["s"] in ("t", "p", "g")


def test_hosts_are_processes_and_slots_threads(events: list[dict[str, Any]]) -> None:
    names = {event["pid"]: event["args"]["name"] for event in events if event["name"] == "process_name"}
    threads = [
        (event["pid"], event["tid"], event["args"]["name"])
        for event in events
        if event["name"] == "thread_name"
    ]
    assert names == {1: "algo-1", 2: "algo-2"}
    assert threads == [(1, 1, "slot 0"), (1, 2, "slot 1"), (2, 1, "slot 0")]
    assert {(event["pid"], event["tid"]) for event in events if event["ph"] == "X"} == {
        (1, 1),
        (1, 2),
        (2, 1),
    }


def test_slices_of_a_thread_nest(events: list[dict[str, Any]]) -> None:
    slices = [event for event in events if event["ph"] == "X"]
    assert sum(event["cat"] != "phase" for event in slices) == 7
    assert {event["name"] for event in slices if event["cat"] == "phase"} == {
        "decode",
        "convert",
        "encode",
        "write",
    }
    for thread in {(event["pid"], event["tid"]) for event in slices}:
        open_ends: list[int] = []
        for event in [event for event in slices if (event["pid"], event["tid"]) == thread]:
            start, end = event["ts"], event["ts"] + event["dur"]
            while open_ends and open_ends[-1] <= start:
                open_ends.pop()
            assert not open_ends or end <= open_ends[-1], "a slice lies within the one it began in"
            assert len(open_ends) == (event["cat"] == "phase"), "a unit is on top, a phase within a unit"
            open_ends.append(end)


def test_what_came_to_nothing_says_why(events: list[dict[str, Any]]) -> None:
    wasted = {event["args"]["outcome"] for event in events if event.get("cat") == "wasted"}
    assert wasted == {"the slot process was killed by SIGSEGV", "the host was lost"}
    assert [event["args"]["unit"] for event in events if event.get("args", {}).get("split")] == [2]
