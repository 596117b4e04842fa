"""How a job ends, told as transcripts."""

from __future__ import annotations

from framefleet.common.job.spec import SchedulingOptions
from framefleet.common.protocol import messages as m
from framefleet.common.status import nothing_made
from framefleet.coordinator.events import Conclude, Quit, Stop, Tick
from tests.helpers.core_bench import Bench


def test_stop_ends_in_good_order() -> None:
    bench = Bench()
    bench.hello("a")
    said = bench.tell(Stop(reason="stopped by SIGTERM"))
    assert said == [(b"a", m.End(failed="stopped by SIGTERM"))]
    assert not any(isinstance(action, Conclude) for action in bench.others)
    bench.say("a", m.Bye(reason=""))
    assert bench.others[-2:] == [Conclude(outcome="interrupted", reason="stopped by SIGTERM"), Quit()]


def test_stop_does_not_wait_for_ever() -> None:
    bench = Bench()
    bench.hello("a")
    bench.tell(Stop(reason="stop"))
    bench.tell(Tick(), after_s=3.1)
    assert bench.others[-1] == Quit()


def test_a_late_host_is_told_that_the_job_is_over() -> None:
    bench = Bench(videos=0, hosts=("a", "b"))
    bench.hello("a")
    bench.say("a", m.Bye(reason=""))
    assert Quit() not in bench.others
    said = bench.hello("b")
    assert (b"b", m.End(failed=nothing_made(0, 0))) in said
    bench.say("b", m.Bye(reason=""))
    assert bench.others[-1] == Quit()


def test_a_host_that_never_comes_is_not_waited_for_for_ever() -> None:
    bench = Bench(videos=0, hosts=("a", "b"), options=SchedulingOptions(host_wait_s=60))
    bench.hello("a")
    bench.say("a", m.Bye(reason=""))
    bench.tell(Tick(), after_s=59)
    assert Quit() not in bench.others
    bench.tell(Tick(), after_s=2)
    assert bench.others[-1] == Quit()


def test_a_host_that_can_read_the_account_is_not_waited_for() -> None:
    bench = Bench(videos=0, hosts=("a", "b"), is_account_shared=True)
    bench.hello("a")
    bench.say("a", m.Bye(reason=""))
    assert bench.others[-1] == Quit()


def test_a_lost_host_may_come_back_and_ask_how_the_job_ended() -> None:
    bench = Bench(videos=1, hosts=("a", "b"), options=SchedulingOptions(lease_s=30))
    bench.hello("a")
    bench.hello("b")
    bench.say("a", m.Progress(units=[]), after_s=31)
    bench.tell(Tick())
    assert bench.host_state("b") == "lost"
    bench.probe_all("a")
    bench.work("a")
    assert bench.core.outcome == "completed"
    bench.say("a", m.Bye(reason=""))
    bench.tell(Tick(), after_s=20)
    assert Quit() not in bench.others
    assert (b"b", m.End(failed=None)) in bench.hello("b")
    assert Quit() in bench.others, "what was sent still goes out"


def test_a_lost_host_is_waited_for_no_longer_than_it_waits_itself() -> None:
    bench = Bench(videos=0, hosts=("a", "b"), options=SchedulingOptions(lease_s=30))
    bench.hello("a")
    bench.hello("b")
    bench.core.members.lose(bench.core.hosts["b"], "is gone", bench.now)
    bench.say("a", m.Bye(reason=""))
    bench.tell(Tick(), after_s=59)
    assert Quit() not in bench.others
    bench.tell(Tick(), after_s=2)
    assert bench.others[-1] == Quit()


def test_without_any_host_the_job_fails_in_the_end() -> None:
    bench = Bench(options=SchedulingOptions(host_wait_s=60))
    bench.tell(Tick(), after_s=61)
    assert any(isinstance(action, Conclude) and action.outcome == "failed" for action in bench.others)
