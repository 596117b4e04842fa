"""Attempts that come to nothing, told as transcripts."""

from __future__ import annotations

from framefleet.common.job.spec import SchedulingOptions
from framefleet.common.protocol import messages as m
from framefleet.coordinator.core.failures import MAX_CRASHES
from framefleet.coordinator.events import Conclude
from framefleet.coordinator.state import UnitState
from tests.helpers.core_bench import Bench, assigned, info
from tests.helpers.failing_attempts import crash_at, failed, refuse


def test_an_exception_is_tried_once_elsewhere_then_recorded() -> None:
    bench = Bench()
    bench.hello("a")
    bench.probe_all("a", 2.0)
    unit = bench.running("a")[0]
    bench.hello("b")
    bench.say("a", failed(unit, "error"))
    assert bench.running("b") == [unit]
    bench.say("b", failed(unit, "error"))
    assert [(failure.video, failure.kind, failure.attempts) for failure in bench.core.failures.failures] == [
        ("0.mp4", "lost", 2)
    ]
    assert bench.ended_of_itself


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
    bench.probe_all("a", 1.0)
    unit = bench.running("a")[0]
    bench.say("a", failed(unit, "error"))
    for _ in range(MAX_CRASHES + 1):  # and once more at the end
        assert not bench.core.failures.failures
        bench.say("a", failed(unit, "crash"))
    assert bench.core.failures.failures[0].kind == "lost"


def test_what_was_killed_from_outside_again_and_again_is_tried_once_more_at_the_end() -> None:
    bench = Bench(hosts=("a",), options=SchedulingOptions(unit_span_s=1))
    bench.hello("a")
    bench.probe_all("a", 5.0)
    (unlucky,) = bench.running("a")
    for _ in range(MAX_CRASHES):
        assert bench.running("a") == [unlucky]
        bench.say("a", failed(unlucky, "crash"))
    others = 0
    while bench.running("a") != [unlucky]:
        bench.finish("a", bench.running("a")[0])
        others += 1
    assert others == 4
    bench.finish("a", unlucky)
    assert bench.core.failures.failures == []
    assert bench.ended_of_itself


def test_the_gop_that_crashes_is_isolated_and_the_rest_of_the_video_is_extracted() -> None:
    bench = Bench(hosts=("a",), options=SchedulingOptions(unit_span_s=1000))
    bench.hello("a")
    bench.probe_all("a", 64.0)
    tried = crash_at(bench, range(102, 103))  # 5 fps: in the GOP of second 20
    assert tried[:MAX_CRASHES] == [(0, None)] * MAX_CRASHES
    assert len(tried) <= MAX_CRASHES + 2 * 6 + 1, "64 GOPs are halved six times"
    (failure,) = bench.core.failures.failures
    assert (failure.start_s, failure.stop_s, failure.kind) == (20.0, 21.0, "lost")
    assert "SIGSEGV" in failure.reason
    units = bench.core.pool.units.values()
    assert sorted(u.state.value for u in units if not u.is_probe and u.state is not UnitState.DONE) == [
        "failed"
    ]


def test_a_file_that_crashes_everywhere_is_quarantined() -> None:
    bench = Bench(hosts=("a",), options=SchedulingOptions(unit_span_s=40))
    bench.hello("a")
    bench.probe_all("a", 4000.0)
    tried = crash_at(bench, range(10**6))
    failures = bench.core.failures.failures
    assert len(tried) < 100
    assert "parts of it crashed" in failures[-1].reason or any("parts of it" in f.reason for f in failures)
    assert bench.ended_of_itself


def test_a_host_that_cannot_write_is_drained_and_costs_no_unit() -> None:
    bench = Bench(videos=1, hosts=("a", "b"), options=SchedulingOptions(unit_span_s=1))
    bench.hello("a")
    bench.probe_all("a", 60.0)
    bench.hello("b")
    for _ in range(2):
        bench.say(
            "a", failed(bench.running("a")[0], "output", "cannot write frames: No space left on device")
        )
    assert bench.running("a") == []
    bench.work("b")
    assert not bench.core.failures.failures
    assert bench.ended_of_itself
    assert any("host a is given nothing any more" in note and "No space" in note for note in bench.core.notes)


def test_a_host_at_which_units_fail_that_succeed_elsewhere_is_drained() -> None:
    bench = Bench(videos=1, hosts=("a", "b"), options=SchedulingOptions(unit_span_s=1))
    bench.hello("a")
    bench.probe_all("a", 60.0)
    bench.hello("b")
    for _ in range(3):
        (unit,) = bench.running("a")
        bench.say("a", failed(unit, "error", "ImportError: libfoo"))
        bench.finish("b", bench.running("b")[0])
        assert bench.running("b") == [unit]
        bench.finish("b", unit)
    bench.say("a", failed(bench.running("a")[0], "error", "ImportError: libfoo"))
    assert bench.running("a") == []
    bench.work("b")
    assert bench.ended_of_itself
    assert not bench.core.failures.failures


def test_the_last_host_is_never_drained_and_a_drained_one_is_better_than_none() -> None:
    bench = Bench(videos=1, hosts=("a", "b"), options=SchedulingOptions(unit_span_s=1))
    bench.hello("a")
    bench.probe_all("a", 60.0)
    bench.hello("b")
    for _ in range(2):
        bench.say("a", failed(bench.running("a")[0], "output"))
    assert bench.running("a") == []
    bench.say("b", m.Bye(reason=""))
    assert bench.running("a")
    bench.say("a", failed(bench.running("a")[0], "output"))
    bench.say("a", failed(bench.running("a")[0], "output"))
    assert bench.running("a"), "it is the last one"


def test_a_bad_file_in_a_batch_of_probes_blames_no_other() -> None:
    bench = Bench(videos=12, hosts=("a",))
    bench.hello("a")
    batch = bench.running("a")[0]
    assert len(batch.files) == 3
    bench.say("a", failed(batch, "crash"))
    while not bench.core.failures.failures:
        unit = bench.running("a")[0]
        assert len(unit.files) == 1
        if unit.files == (1,):
            bench.say("a", failed(unit, "crash"))
        elif unit.is_probe:
            found = [(index, info(1.0)) for index in unit.files]
            bench.say("a", m.Probed(lease=unit.lease, found=found, refused=[], seconds=0.01))
        else:
            bench.finish("a", unit)
    assert [failure.video for failure in bench.core.failures.failures] == ["1.mp4"]


def test_what_a_fast_host_failed_at_is_given_to_a_slow_one_that_alone_may_have_it() -> None:
    bench = Bench(videos=1, hosts=("fast", "slow"), options=SchedulingOptions(unit_span_s=1000))
    bench.hello("fast")
    bench.probe_all("fast", 600.0)
    (unit,) = bench.running("fast")
    bench.hello("slow")
    bench.core.hosts["slow"].speed = 0.1
    bench.core.members.changed()
    bench.say("fast", failed(unit, "error"))
    assert bench.running("slow") == [unit]


def test_a_refused_video_is_reported_and_the_rest_goes_on() -> None:
    bench = Bench(videos=2, hosts=("a",))
    bench.hello("a", slots=2)
    first, second = bench.running("a")
    bench.say("a", m.Probed(lease=first.lease, found=[], refused=[(first.video, "empty")], seconds=0.0))
    bench.say("a", m.Probed(lease=second.lease, found=[(second.video, info(1.0))], refused=[], seconds=0.0))
    for unit in bench.running("a"):
        if unit.is_probe:
            refuse(bench, "a", unit, "empty")
        else:
            bench.finish("a", unit)
    assert [(failure.video, failure.kind, failure.reason) for failure in bench.core.failures.failures] == [
        (f"{first.video}.mp4", "input", "empty")
    ]
    assert bench.ended_of_itself


def test_a_probe_answered_for_other_files_counts_as_failed() -> None:
    bench = Bench(videos=1, hosts=("a",))
    unit = assigned(bench.hello("a"))[0]
    bench.say("a", m.Probed(lease=unit.lease, found=[(7, info())], refused=[], seconds=0.0))
    assert bench.core.pool.units[unit.lease.unit].errors == 1


def test_a_full_disk_ends_the_job() -> None:
    bench = Bench()
    bench.hello("a")
    bench.hello("b")
    bench.probe_all("a", 600.0)
    said = []
    while bench.core.outcome is None:
        for host in ("a", "b"):
            if bench.core.outcome is None and bench.running(host):
                said = bench.say(host, failed(bench.running(host)[0], "output", "No space left on device"))
    assert Conclude(outcome="failed", reason="No space left on device") in bench.others
    assert (b"a", m.End(failed="No space left on device")) in said


def test_bad_disks_cost_nothing_while_there_is_a_host_that_can_write() -> None:
    names = ("a", "b", "c", "d", "e", "f")
    bench = Bench(videos=1, hosts=names, options=SchedulingOptions(unit_span_s=1))
    bench.hello("a")
    bench.probe_all("a", 3.0)
    (unlucky,) = bench.running("a")
    for name in names[1:]:
        bench.hello(name)
    for _ in names[1:]:  # one after another that has it cannot write it: more of them than any unit has tries
        assert unlucky.host is not None
        bench.say(unlucky.host, failed(unlucky, "output"))
        assert bench.core.outcome is None
    for name in names:
        bench.work(name)
    assert bench.core.failures.failures == []
    assert bench.ended_of_itself
