"""Attempts that come to nothing, told as transcripts."""

from __future__ import annotations

from common import messages as m
from coordinator.events import (
    Conclude,
)
from coordinator.failing import MAX_CRASHES
from coordinator.state import Unit, UnitState
from tests.bench import Bench, assigned, info


def failed(unit: Unit, kind: m.FailedKind, text: str = "boom") -> m.Failed:
    return m.Failed(lease=unit.lease, kind=kind, text=text, seconds=0.1)


def test_an_exception_is_tried_once_elsewhere_then_recorded() -> None:
    bench = Bench()
    bench.hello("a")
    bench.probe_all("a", 2.0)
    unit = bench.running("a")[0]
    bench.hello("b")
    bench.say("a", failed(unit, "error"))
    assert bench.running("b") == [unit]
    bench.say("b", failed(unit, "error"))
    assert [(failure.video, failure.kind, failure.attempts) for failure in bench.core.failing.failures] == [
        ("0.mp4", "lost", 2)
    ]
    assert Conclude(outcome="completed", reason="") in bench.others


def test_the_only_host_left_retries_by_itself() -> None:
    bench = Bench(hosts=("a", "b"))
    bench.hello("a")
    bench.probe_all("a", 2.0)
    unit = bench.running("a")[0]
    bench.say("a", failed(unit, "error"))
    assert bench.running("a") == [unit]


def test_crashes_are_counted_apart() -> None:
    bench = Bench(hosts=("a",))
    bench.hello("a")
    bench.probe_all("a", 2.0)
    unit = bench.running("a")[0]
    bench.say("a", failed(unit, "error"))
    for _ in range(MAX_CRASHES):
        assert not bench.core.failing.failures
        bench.say("a", failed(unit, "crash"))
    assert bench.core.failing.failures[0].kind == "lost"


def test_a_bad_file_in_a_batch_of_probes_blames_no_other() -> None:
    bench = Bench(videos=12, hosts=("a",))
    bench.hello("a")
    batch = bench.running("a")[0]
    assert len(batch.files) == 3
    bench.say("a", failed(batch, "crash"))
    while not bench.core.failing.failures:
        unit = bench.running("a")[0]
        assert len(unit.files) == 1
        if unit.files == (1,):
            bench.say("a", failed(unit, "crash"))
        elif unit.is_probe:
            found = [(index, info(1.0)) for index in unit.files]
            bench.say("a", m.Probed(lease=unit.lease, found=found, refused=[], seconds=0.01))
        else:
            bench.finish("a", unit)
    assert [failure.video for failure in bench.core.failing.failures] == ["1.mp4"]


def test_a_refused_video_is_reported_and_the_rest_goes_on() -> None:
    bench = Bench(videos=2, hosts=("a",))
    bench.hello("a", slots=2)
    first, second = bench.running("a")
    bench.say("a", m.Probed(lease=first.lease, found=[], refused=[(first.video, "empty")], seconds=0.0))
    bench.say("a", m.Probed(lease=second.lease, found=[(second.video, info(1.0))], refused=[], seconds=0.0))
    bench.work("a")
    assert [(failure.video, failure.kind, failure.reason) for failure in bench.core.failing.failures] == [
        (f"{first.video}.mp4", "input", "empty")
    ]
    assert Conclude(outcome="completed", reason="") in bench.others


def test_a_probe_answered_for_other_files_counts_as_failed() -> None:
    bench = Bench(videos=1, hosts=("a",))
    unit = assigned(bench.hello("a"))[0]
    bench.say("a", m.Probed(lease=unit.lease, found=[(7, info())], refused=[], seconds=0.0))
    assert bench.core.pool.units[unit.lease.unit].errors == 1


def test_a_vanished_file_is_given_up_once_for_all_its_ranges() -> None:
    bench = Bench(hosts=("a",))
    bench.hello("a")
    bench.probe_all("a", 600.0)
    unit = bench.running("a")[0]
    bench.say("a", failed(unit, "input", "vanished"))
    bench.say("a", failed(unit, "input", "vanished"))
    assert len(bench.core.failing.failures) == 1
    assert bench.core.failing.failures[0].kind == "input"
    assert Conclude(outcome="completed", reason="") in bench.others


def test_a_full_disk_ends_the_job() -> None:
    bench = Bench()
    bench.hello("a")
    bench.hello("b")
    bench.probe_all("a", 600.0)
    unit = bench.running("a")[0]
    bench.say("a", failed(unit, "output", "No space left on device"))
    host = unit.host or ""
    if unit.state is UnitState.PENDING:
        bench.finish("b", bench.running("b")[0])
        host = unit.host or ""
    said = bench.say(host, failed(unit, "output", "No space left on device"))
    assert Conclude(outcome="failed", reason="No space left on device") in bench.others
    assert (b"a", m.End(failed="No space left on device")) in said
