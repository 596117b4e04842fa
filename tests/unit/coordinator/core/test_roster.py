"""What one host cannot read or do, and the hosts that a decision has to wait for, told as transcripts."""

from __future__ import annotations

import pytest

from framefleet.common.job.spec import SchedulingOptions
from framefleet.common.protocol import messages as m
from framefleet.common.status import FailureKind
from framefleet.coordinator.events import Tick
from framefleet.coordinator.scheduling.pool import LOOKED_AT
from framefleet.coordinator.state import Unit
from tests.helpers.core_bench import Bench, info
from tests.helpers.failing_attempts import crash_at, failed, refuse


def find(bench: Bench, host: str, unit: Unit) -> None:
    found = [(index, info(1.0)) for index in unit.files]
    bench.say(host, m.Probed(lease=unit.lease, found=found, refused=[], seconds=0.0))


def test_a_host_that_can_read_nothing_costs_no_video_and_is_drained() -> None:
    bench = Bench(videos=40, hosts=("blind", "sound"))
    bench.hello("blind", slots=2)  # it is the first one there: nobody could confirm what it says
    for unit in bench.running("blind"):
        refuse(bench, "blind", unit)
    bench.hello("sound")
    while bench.core.outcome is None:
        for unit in bench.running("blind"):
            if unit.is_probe:
                refuse(bench, "blind", unit)
            else:
                bench.say("blind", failed(unit, "input"))
        for unit in bench.running("sound"):
            if unit.is_probe:
                find(bench, "sound", unit)
            else:
                bench.finish("sound", unit)
    assert bench.core.failures.failures == []
    assert bench.core.hosts["blind"].drained
    assert bench.ended_of_itself


def test_a_file_that_two_hosts_cannot_read_is_refused_for_good() -> None:
    bench = Bench(videos=1, hosts=("a", "b"))
    bench.hello("a")
    bench.hello("b")
    refuse(bench, "a", bench.running("a")[0])
    assert bench.core.failures.failures == []
    refuse(bench, "b", bench.running("b")[0], "no video stream")
    (failure,) = bench.core.failures.failures
    assert (failure.kind, failure.reason, failure.attempts) == ("input", "no video stream", 2)
    assert bench.ended_of_itself
    assert not bench.core.hosts["a"].drained


def test_the_only_host_of_a_job_looks_twice_the_second_time_when_nothing_else_is_left() -> None:
    bench = Bench(videos=2, hosts=("a",))
    bench.hello("a")
    (first,) = bench.running("a")
    refuse(bench, "a", first)
    assert bench.core.failures.failures == []
    find(bench, "a", bench.running("a")[0])
    assert not bench.running("a")[0].is_probe, "the other video is done before"
    bench.finish("a", bench.running("a")[0])
    (second,) = bench.running("a")
    assert second.files == first.files
    refuse(bench, "a", second)
    assert [(failure.kind, failure.attempts) for failure in bench.core.failures.failures] == [("input", 2)]
    assert bench.ended_of_itself


def test_what_the_only_host_can_read_at_its_second_look_is_done() -> None:
    bench = Bench(videos=1, hosts=("a",))
    bench.hello("a")
    refuse(bench, "a", bench.running("a")[0])
    find(bench, "a", bench.running("a")[0])
    bench.work("a")
    assert bench.core.failures.failures == []
    assert bench.ended_of_itself
    assert bench.core.hosts["a"].faults == 0


WAIT = SchedulingOptions(unit_span_s=1000, host_wait_s=60)


def beat_until_overdue(bench: Bench, host: str) -> None:
    """Nothing is given to the host that is up before those that are missing have had their time."""
    assert bench.running(host) == []
    for _ in range(5):
        bench.say(host, m.Progress(units=[]), after_s=10)
        bench.tell(Tick())
        assert bench.running(host) == []
        assert bench.core.failures.failures == []
        assert bench.core.outcome is None
    bench.say(host, m.Progress(units=[]), after_s=11)
    bench.tell(Tick())


@pytest.mark.parametrize("comes", [True, False])
def test_a_refusal_is_confirmed_by_a_host_that_is_expected_and_not_there_yet(comes: bool) -> None:
    bench = Bench(videos=1, hosts=("a", "b"), options=WAIT)
    bench.hello("a")
    refuse(bench, "a", bench.running("a")[0])
    if comes:
        assert bench.running("a") == []
        bench.hello("b")
        find(bench, "b", bench.running("b")[0])
        bench.work("a")
        bench.work("b")
        assert bench.core.failures.failures == []
    else:
        beat_until_overdue(bench, "a")
        refuse(bench, "a", bench.running("a")[0], "no video stream")
        assert [failure.attempts for failure in bench.core.failures.failures] == [2]
    assert bench.ended_of_itself


def test_a_lost_host_is_expected_back_until_it_has_given_up() -> None:
    bench = Bench(videos=1, hosts=("a", "b"), options=SchedulingOptions(unit_span_s=1000, host_wait_s=900))
    bench.hello("b")
    bench.hello("a")
    bench.core.members.lose(bench.core.hosts["b"], "is gone", bench.now)
    bench.tell(Tick())
    refuse(bench, "a", bench.running("a")[0])
    beat_until_overdue(bench, "a")
    refuse(bench, "a", bench.running("a")[0])
    assert bench.ended_of_itself


def test_a_host_that_said_goodbye_is_not_waited_for() -> None:
    bench = Bench(videos=1, hosts=("a", "b"), options=WAIT)
    bench.hello("b")
    bench.hello("a")
    bench.say("b", m.Bye(reason=""))
    refuse(bench, "a", bench.running("a")[0])
    refuse(bench, "a", bench.running("a")[0])
    assert bench.ended_of_itself


@pytest.mark.parametrize("kind", ["input", "read", "absent", "error", "crash", "output"])
@pytest.mark.parametrize("comes", [True, False])
def test_one_host_gives_nothing_up_while_another_is_expected(kind: m.FailedKind, comes: bool) -> None:
    bench = Bench(videos=1, hosts=("a", "b"), options=WAIT)
    bench.hello("a")
    bench.probe_all("a", 0.5)
    tries = 0
    while bench.running("a"):
        bench.say("a", failed(bench.running("a")[0], kind))
        tries += 1
        assert tries < 10
    assert (bench.core.failures.failures, bench.core.outcome) == ([], None)
    if comes:
        bench.hello("b")
        bench.work("b")
        assert (bench.core.failures.failures, bench.core.outcome) == ([], "completed")
        return
    beat_until_overdue(bench, "a")
    while bench.core.outcome is None:
        bench.say("a", failed(bench.running("a")[0], kind))
        tries += 1
        assert tries < 20
    assert bench.ended_of_itself == (kind != "output")
    assert len(bench.core.failures.failures) == 1


def test_one_host_does_not_divide_and_poison_what_another_has_not_tried() -> None:
    bench = Bench(hosts=("a", "b"), options=WAIT)
    bench.hello("a")
    bench.probe_all("a", 600.0)
    crash_at(bench, range(10**6))
    assert (bench.core.failures.failures, bench.core.outcome) == ([], None)
    bench.hello("b")
    bench.work("b")
    assert (bench.core.failures.failures, bench.core.outcome) == ([], "completed")


def test_a_gop_that_crashes_is_tried_a_last_time_elsewhere() -> None:
    bench = Bench(hosts=("a", "b"), options=WAIT)
    bench.hello("a")
    bench.hello("b")
    bench.probe_all("a", 0.5)
    while not (unit := next(iter((*bench.running("a"), *bench.running("b"))))).last_try:
        assert unit.host is not None
        last = unit.host
        bench.say(unit.host, failed(unit, "crash"))
    assert unit.host is not None
    assert unit.host != last
    bench.finish(unit.host, unit)
    assert (bench.core.failures.failures, bench.core.outcome) == ([], "completed")


def test_a_host_that_cannot_write_waits_for_the_others_and_goes_on_if_they_do_not_come() -> None:
    bench = Bench(videos=1, hosts=("a", "b"), options=SchedulingOptions(unit_span_s=1, host_wait_s=60))
    bench.hello("a")
    bench.probe_all("a", 10.0)
    for _ in range(2):
        bench.say("a", failed(bench.running("a")[0], "output"))
    assert bench.core.hosts["a"].drained
    beat_until_overdue(bench, "a")
    bench.work("a")
    assert (bench.core.failures.failures, bench.core.outcome) == ([], "completed")


def test_a_batch_to_confirm_that_crashes_is_still_to_be_confirmed_file_by_file() -> None:
    bench = Bench(videos=12, hosts=("a", "b"))
    bench.hello("a")
    batch = bench.running("a")[0]
    refuse(bench, "a", batch)
    bench.hello("b")
    while not any(unit.refused_by for unit in bench.running("b")):
        for host in ("a", "b"):
            for unit in bench.running(host):
                if unit.is_probe and unit.refused_by is None:
                    find(bench, host, unit)
                elif not unit.is_probe:
                    bench.finish(host, unit)
    (unit,) = bench.running("b")
    assert unit.files == batch.files
    bench.say("b", failed(unit, "crash"))
    while bench.core.outcome is None:
        for host in ("a", "b"):
            for unit in bench.running(host):
                if unit.is_probe:
                    assert unit.refused_by == "a"
                    refuse(bench, host, unit, "no video stream")
                else:
                    bench.finish(host, unit)
    assert {failure.attempts for failure in bench.core.failures.failures} == {2}
    assert len(bench.core.failures.failures) == len(batch.files)


@pytest.mark.parametrize(("kind", "told"), [("input", "input"), ("absent", "lost")])
def test_a_file_that_cannot_be_had_is_given_up_once_for_all_its_ranges(
    kind: m.FailedKind, told: FailureKind
) -> None:
    bench = Bench(hosts=("a",))
    bench.hello("a")
    bench.probe_all("a", 600.0)
    while bench.core.outcome is None:
        bench.say("a", failed(bench.running("a")[0], kind, "it is gone"))
    (failure,) = bench.core.failures.failures
    assert failure.kind == told
    assert bench.ended_of_itself


def test_a_list_made_of_a_short_copy_is_believed_by_nobody() -> None:
    bench = Bench(videos=1, hosts=("a", "b"), options=SchedulingOptions(unit_span_s=1))
    bench.hello("a")
    bench.probe_all("a", 10.0)  # the primary's own copy is as the list tells
    bench.hello("b")
    (theirs,) = bench.running("b")
    bench.say("b", failed(theirs, "list", "has 2,000 bytes on this host, and 1,000 in the list"))
    for name in ("a", "b"):
        bench.work(name)
    assert bench.ended_of_itself
    (failure,) = bench.core.failures.failures
    assert (failure.kind, failure.attempts) == ("input", 1)
    assert "2,000 bytes" in failure.reason
    assert bench.core.hosts["b"].faults == 0


def test_a_slow_host_does_not_look_at_all_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(videos=1, hosts=("a lost one", "fast", "slow"), options=SchedulingOptions(unit_span_s=1))
    bench.hello("a lost one", slots=1000)
    bench.probe_all("a lost one", 1000.0)
    bench.hello("fast")
    bench.hello("slow")
    bench.core.hosts["slow"].speed = 1e-5
    bench.core.members.changed()
    workload, looks = bench.core.pool.workload, []

    def estimate_s(unit: Unit) -> float:
        looks.append(unit.id)
        return 1e9

    monkeypatch.setattr(workload, "estimate_s", estimate_s)
    bench.say("a lost one", m.Bye(reason=""))
    assert len(bench.core.pool.queued) > 900
    assert bench.running("slow") == []
    looks.clear()
    bench.finish("fast", bench.running("fast")[0])
    assert bench.running("fast")
    assert 0 < len(looks) <= 3 * LOOKED_AT


def test_a_host_that_may_not_read_is_left_out_and_costs_nothing() -> None:
    bench = Bench(videos=4, hosts=("a", "b"), options=SchedulingOptions(unit_span_s=1000))
    bench.hello("a")
    while bench.running("a"):  # the batch, and then each file by itself
        bench.say("a", failed(bench.running("a")[0], "read", "stale file handle"))
    assert bench.core.failures.failures == []
    bench.hello("b")
    while bench.core.outcome is None:
        for unit in bench.running("a"):
            bench.say("a", failed(unit, "read", "stale file handle"))
        unit = bench.running("b")[0]
        if unit.is_probe:
            find(bench, "b", unit)
        else:
            bench.finish("b", unit)
    assert bench.core.failures.failures == []
    assert bench.core.outcome == "completed"
    assert bench.core.hosts["a"].drained


def test_a_host_that_may_not_read_some_units_goes_on_with_others() -> None:
    bench = Bench(videos=1, hosts=("a", "b"), options=SchedulingOptions(unit_span_s=1))
    bench.hello("a")
    bench.probe_all("a", 60.0)
    bench.hello("b")
    unit = bench.running("a")[0]
    bench.say("a", failed(unit, "read", "stale file handle"))
    assert unit not in bench.running("a")
    bench.work("b")
    bench.work("a")
    assert bench.core.failures.failures == []
    assert bench.core.hosts["a"].drained is None
    assert bench.core.outcome == "completed"


def test_what_no_host_may_read_is_lost_not_refused() -> None:
    bench = Bench(videos=1, hosts=("a", "b"))
    bench.hello("a")
    bench.hello("b")
    tried = []
    while bench.core.outcome is None:
        host = next(name for name in ("a", "b") if bench.running(name))
        tried.append(host)
        bench.say(host, failed(bench.running(host)[0], "read", "stale file handle"))
        assert len(tried) < 10
    assert set(tried) == {"a", "b"}
    (failure,) = bench.core.failures.failures
    assert (failure.kind, failure.reason) == ("lost", "stale file handle")
    assert bench.ended_of_itself, "a file that nobody can read ends no job"
