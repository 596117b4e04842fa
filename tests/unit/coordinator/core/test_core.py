"""The coordinator's core, told as transcripts: what comes in, what goes out."""

from __future__ import annotations

import msgspec
import pytest

from framefleet.common.job.spec import SchedulingOptions
from framefleet.common.media import Timing
from framefleet.common.protocol import messages as m
from framefleet.common.status import nothing_made
from framefleet.coordinator.events import Conclude, Garbled, Quit, Received, Record, Send, Tick, Unreachable
from framefleet.coordinator.state import IllegalMoveError, Unit, UnitState
from tests.helpers.core_bench import Bench, assigned, hello_of, info


def test_a_job_from_hello_to_quit() -> None:
    bench = Bench(hosts=("a",))
    said = bench.hello("a")
    assert [type(message) for _, message in said] == [m.Welcome, m.Assign]
    probe = assigned(said)[0]
    assert probe.task == m.Probe(files=[(0, b"0.mp4", 1000)])
    said = bench.say("a", m.Probed(lease=probe.lease, found=[(0, info(2.0))], refused=[], seconds=0.1))
    extract = assigned(said)[0]
    assert extract.task == m.Extract(
        path=b"0.mp4",
        size_bytes=1000,
        video="0.mp4",
        folder="0",
        start=0,
        stop=None,
        fingerprint=info().fingerprint,
        duration_s=2.0,
    )
    unit = bench.running("a")[0]
    assert bench.say("a", bench.done("a", unit)) == [(b"a", m.Commit(lease=unit.lease, first_sample=0))]
    said = bench.say("a", m.Committed(leases=[unit.lease]))
    assert said == [(b"a", m.End(failed=None))]
    assert Conclude(outcome="completed", reason="") in bench.others
    assert Quit() not in bench.others
    bench.say("a", m.Bye(reason=""))
    assert bench.others[-1] == Quit()
    told = [action.entry["event"] for action in bench.others if isinstance(action, Record)]
    assert told == [
        "libraries",
        "host_up",
        "ready",
        "leased",
        "probed",
        "leased",
        "staged",
        "committed",
        "end",
        "host_left",
    ]


def test_conclude_comes_before_the_first_end() -> None:
    bench = Bench(videos=0, hosts=("a",))
    bench.core.handle(
        Received(
            peer=b"a",
            message=hello_of(host="a", incarnation="1", slots=1),
        ),
        100.0,
    )
    actions = bench.core.schedule(100.0)
    kinds = [action.message if isinstance(action, Send) else action for action in actions]
    reason = nothing_made(0, 0)
    assert kinds.index(Conclude(outcome="failed", reason=reason)) < kinds.index(m.End(failed=reason))


def test_no_work_before_ready_and_never_more_than_slots() -> None:
    bench = Bench(videos=40)
    hello = hello_of(host="a", incarnation="1", slots=4)
    assert assigned(bench.say("a", hello)) == []
    assert len(assigned(bench.say("a", m.Ready(slots=3)))) == 3
    assert len(assigned(bench.say("a", m.Ready(slots=400)))) == 1


def test_a_long_video_is_shared_at_keyframes() -> None:
    bench = Bench(hosts=("a", "b"))
    bench.hello("a", slots=2)
    bench.probe_all("a", 600.0)
    bench.hello("b", slots=2)
    units = bench.running("a") + bench.running("b")
    assert len(units) == 4
    assert [unit.start for unit in units] == [0, *[unit.stop for unit in units[:-1]]]
    assert all(unit.stop is not None and unit.stop % 5 == 0 for unit in units), "5 samples to a keyframe"


def test_an_unseekable_video_is_one_unit() -> None:
    bench = Bench(hosts=("a",))
    probe = assigned(bench.hello("a", slots=4))[0]
    said = bench.say(
        "a", m.Probed(lease=probe.lease, found=[(0, info(600.0, seekable=False))], refused=[], seconds=0.1)
    )
    assert [(assign.task.start, assign.task.stop) for assign in assigned(said)] == [(0, None)]  # type: ignore[union-attr]


def test_the_next_range_goes_to_the_host_that_has_the_file_open() -> None:
    bench = Bench(videos=2, hosts=("a", "b"))
    bench.hello("a", slots=2)
    bench.probe_all("a", 400.0)
    first, second = bench.running("a")
    while {first.video, second.video} != {0, 1}:
        bench.core.hosts["a"].video = 1 - second.video
        bench.finish("a", second)
        first, second = bench.running("a")
    video = first.video
    bench.core.hosts["a"].video = video
    bench.finish("a", first)
    newest = max(bench.running("a"), key=lambda unit: unit.id)
    assert newest.video == video


def test_what_a_silent_host_had_is_done_first_by_another() -> None:
    bench = Bench()
    bench.hello("a")
    bench.probe_all("a", 600.0)
    lost = bench.running("a")[0]
    lease = lost.lease
    bench.hello("b")
    bench.say("b", m.Ready(slots=1), after_s=29)
    assert bench.state_of(lost) is UnitState.LEASED
    bench.say("b", m.Progress(units=[]), after_s=0.5)
    bench.tell(Tick(), after_s=1)
    assert bench.host_state("a") == "lost"
    bench.finish("b", bench.running("b")[0])
    assert bench.running("b") == [lost]
    assert lost.lease == m.Lease(lease.unit, lease.attempt + 1)
    said = bench.say("a", bench.done("a", lost))
    assert said == [(b"a", m.ReHello())], "a host that was given up introduces itself again"


def test_an_answer_from_a_fenced_attempt_is_discarded() -> None:
    bench = Bench()
    bench.hello("a")
    bench.probe_all("a", 600.0)
    unit = bench.running("a")[0]
    old = unit.lease
    bench.tell(Tick(), after_s=31)
    bench.hello("b")
    assert bench.running("b") == [unit]
    said = bench.hello("a", running=(old,))
    assert (b"a", m.Discard(lease=old)) in said
    late = m.Done(
        lease=old, stop=None, frames=9, suspect=0, bytes=1, decoded=9, errors=0, saw_end=False,
        seconds=1.0, notes=[],
    )  # fmt: skip
    assert bench.say("a", late) == [(b"a", m.Discard(lease=old))]
    assert bench.state_of(unit) is UnitState.LEASED
    assert unit.host == "b"


def test_a_host_that_comes_back_goes_on_with_what_nobody_took() -> None:
    bench = Bench()
    bench.hello("a")
    bench.probe_all("a", 600.0)
    unit = bench.running("a")[0]
    lease = unit.lease
    bench.tell(Tick(), after_s=31)
    assert bench.state_of(unit) is UnitState.PENDING
    said = bench.hello("a", running=(lease,))
    assert not any(isinstance(message, m.Discard) for _, message in said)
    assert unit.lease == lease
    bench.finish("a", unit)
    assert bench.state_of(unit) is UnitState.DONE


def test_what_is_done_is_not_undone_by_an_echo() -> None:
    bench = Bench()
    bench.hello("a")
    bench.probe_all("a", 600.0)
    unit = bench.running("a")[0]
    done = bench.done("a", unit)
    bench.finish("a", unit)
    echoes: list[m.FromHost] = [
        done,
        m.Committed(leases=[unit.lease]),
        m.Progress(units=[m.UnitProgress(unit.id, unit.attempt, 0, 0, 0.0)]),
    ]
    for echo in echoes:
        assert not any(isinstance(message, m.Discard) for _, message in bench.say("a", echo))
    bench.tell(Tick(), after_s=31)
    said = bench.hello("a", running=(unit.lease,))
    assert not any(isinstance(message, m.Discard) for _, message in said)
    assert bench.state_of(unit) is UnitState.DONE


def test_a_host_started_again_loses_what_its_old_process_had() -> None:
    bench = Bench(hosts=("a",))
    bench.hello("a")
    bench.probe_all("a", 600.0)
    unit = bench.running("a")[0]
    bench.hello("a", incarnation="2")
    assert unit.attempt == 2
    said = bench.hello("a", incarnation="1")
    assert isinstance(said[0][1], m.Refuse)


def claim(incarnation: str, running: tuple[m.Lease, ...] = ()) -> Received:
    """Another connection says that it is host a."""
    hello = hello_of(host="a", incarnation=f"a-{incarnation}", slots=1, running=list(running))
    return Received(peer=b"other", message=hello)


@pytest.mark.parametrize("incarnation", ["1", "2"])
def test_a_host_that_is_there_keeps_its_name(incarnation: str) -> None:
    bench = Bench(hosts=("a",))
    bench.hello("a")
    bench.probe_all("a", 600.0)
    unit = bench.running("a")[0]
    assert bench.tell(claim(incarnation)) == [(b"a", m.Alive())], "to find out whether it is there"
    for _ in range(100):
        assert bench.tell(claim(incarnation)) == [], "its queue is not filled"
    said = bench.tell(Received(peer=b"other", message=m.Committed(leases=[unit.lease])))
    assert said == [(b"other", m.ReHello())]
    assert bench.tell(claim(incarnation), after_s=2.0) == [(b"a", m.Alive())]
    assert unit.held_by("a", 1)
    bench.say("a", m.Progress(units=[m.UnitProgress(unit.id, 1, 0, 0, 0.0)]))
    assert bench.host_state("a") == "up"


@pytest.mark.parametrize("incarnation", ["1", "2"])
def test_a_host_whose_connection_is_gone_comes_by_another_one(incarnation: str) -> None:
    bench = Bench(hosts=("a",))
    bench.hello("a")
    bench.probe_all("a", 600.0)
    unit = bench.running("a")[0]
    same = incarnation == "1"
    bench.tell(claim(incarnation, (unit.lease,) if same else ()))
    peer, answer = bench.tell(Unreachable(peer=b"a"))[0]
    assert (peer, type(answer)) == (b"other", m.Welcome)
    assert bench.host_state("a") == "up"
    assert unit.held_by("a", 1) == same, "a new process has nothing of the old one's"
    assert bench.say("a", m.Ready(slots=1)) == [(b"a", m.ReHello())]


def test_a_host_that_says_nothing_any_more_loses_its_name_with_its_lease() -> None:
    bench = Bench(hosts=("a",))
    bench.hello("a")
    bench.tell(Tick(), after_s=31)
    assert isinstance(bench.tell(claim("2"))[0][1], m.Welcome)


def test_a_connection_is_one_host_only() -> None:
    bench = Bench(hosts=("a", "b"))
    bench.hello("a")
    hello = hello_of(host="b", incarnation="b-1", slots=1)
    (answer,) = bench.say("a", hello)
    assert isinstance(answer[1], m.Refuse)
    assert "host 'a'" in answer[1].reason


@pytest.mark.parametrize(
    ("hello", "word"),
    [
        (hello_of(version=99, host="a", incarnation="1", slots=1), "version 99"),
        (
            hello_of(host="mallory", incarnation="1", slots=1),
            "mallory",
        ),
    ],
)
def test_strangers_are_refused(hello: m.Hello, word: str) -> None:
    (_, answer), *_ = Bench().tell(Received(peer=b"x", message=hello))
    assert isinstance(answer, m.Refuse)
    assert word in answer.reason


def test_an_unknown_peer_is_asked_for_its_name_whatever_it_says() -> None:
    bench = Bench()
    for message in (m.Ready(slots=3), m.Progress(units=[]), m.Committed(leases=[m.Lease(7, 1)])):
        assert bench.tell(Received(peer=b"x", message=message)) == [(b"x", m.ReHello())]
    assert bench.tell(Garbled(peer=b"x", reason="noise")) == [(b"x", m.ReHello())]
    assert bench.core.garbled == 1


def test_an_assignment_that_never_arrived_is_given_again() -> None:
    bench = Bench(hosts=("a",))
    bench.hello("a")
    bench.probe_all("a", 600.0)
    unit = bench.running("a")[0]
    bench.say("a", m.Progress(units=[]), after_s=9)
    assert unit.attempt == 1
    bench.say("a", m.Progress(units=[]), after_s=2)
    assert unit.attempt == 2
    first = m.Lease(unit.id, 1)
    late = m.Done(
        lease=first, stop=None, frames=9, suspect=0, bytes=1, decoded=9, errors=0, saw_end=False,
        seconds=1.0, notes=[],
    )  # fmt: skip
    assert bench.say("a", late) == [(b"a", m.Discard(lease=first))]
    assert bench.state_of(unit) is UnitState.LEASED


def test_an_unanswered_commit_is_repeated() -> None:
    bench = Bench(hosts=("a",))
    bench.hello("a")
    bench.probe_all("a", 2.0)
    unit = bench.running("a")[0]
    bench.say("a", bench.done("a", unit))
    bench.say("a", m.Progress(units=[m.UnitProgress(unit.id, 1, 0, 5, 0.5)]), after_s=11)
    said = bench.tell(Tick())
    assert (b"a", m.Commit(lease=unit.lease, first_sample=0)) in said


def test_a_cut_off_host_is_lost_before_its_lease_is_over() -> None:
    bench = Bench()
    bench.hello("a")
    bench.tell(Unreachable(peer=b"a"))
    bench.tell(Tick(), after_s=9)
    assert bench.host_state("a") == "up"
    bench.tell(Tick(), after_s=2)
    assert bench.host_state("a") == "lost"


def test_the_end_of_a_file_ends_its_cutting() -> None:
    bench = Bench(hosts=("a",))
    bench.hello("a")
    bench.probe_all("a", 1e6)
    unit = bench.running("a")[0]
    assert unit.stop is not None
    said = bench.say("a", bench.done("a", unit, saw_end=True))
    assert assigned(said) == []
    assert bench.core.pool.videos[0].all_cut
    bench.say("a", m.Committed(leases=[unit.lease]))
    assert Conclude(outcome="completed", reason="") in bench.others


def test_native_frames_are_numbered_in_order_of_display() -> None:
    bench = Bench(fps="native", hosts=("a",), options=SchedulingOptions(unit_min_s=1.0, unit_cap_s=1.0))
    bench.hello("a", slots=3)
    bench.probe_all("a", 600.0)
    first, second, third = bench.running("a")
    said = bench.say("a", bench.done("a", third, frames=7))
    assert not any(isinstance(message, m.Commit) for _, message in said)
    assert bench.state_of(third) is UnitState.STAGED
    bench.say("a", bench.done("a", second, frames=4))
    assert bench.state_of(second) is UnitState.STAGED
    said = bench.say("a", bench.done("a", first, frames=10))
    commits = [message for _, message in said if isinstance(message, m.Commit)]
    assert commits == [
        m.Commit(lease=first.lease, first_sample=0),
        m.Commit(lease=second.lease, first_sample=10),
        m.Commit(lease=third.lease, first_sample=14),
    ]


def test_native_numbers_survive_the_loss_of_a_committing_host() -> None:
    bench = Bench(fps="native", options=SchedulingOptions(unit_min_s=1.0, unit_cap_s=1.0))
    bench.hello("a")
    bench.probe_all("a", 600.0)
    first = bench.running("a")[0]
    bench.say("a", bench.done("a", first, frames=10))
    second = next(unit for unit in bench.running("a") if unit is not first)
    bench.say("a", bench.done("a", second, frames=4))
    bench.tell(Tick(), after_s=31)
    bench.hello("b")
    redone = bench.running("b")[0]
    said = bench.say("b", bench.done("b", redone, frames=redone.done.frames if redone.done else 0))
    commit = next(message for _, message in said if isinstance(message, m.Commit))
    assert commit.first_sample == (0 if redone is first else 10)


def test_an_illegal_move_changes_nothing() -> None:
    unit = Unit(id=3, video=0)
    with pytest.raises(IllegalMoveError, match="unit 3"):
        unit.move("committed")
    assert unit.state is UnitState.PENDING


def test_when_slots_can_work_is_on_record_once() -> None:
    bench = Bench()
    bench.hello("a", slots=4)
    for slots in (4, 3, 3, 4):
        bench.say("a", m.Ready(slots=slots))
    said = [action.entry for action in bench.others if isinstance(action, Record)]
    assert [entry["slots"] for entry in said if entry["event"] == "ready"] == [4, 3, 4]


def test_where_the_time_of_a_unit_went_is_on_record() -> None:
    bench = Bench(hosts=("a",))
    bench.hello("a")
    bench.probe_all("a", seconds=2.0)
    timing = Timing(slot=0, since_s=7.5, decode_s=0.25)
    unit = bench.running("a")[0]
    bench.say("a", msgspec.structs.replace(bench.done("a", unit), timing=timing))
    said = [action.entry for action in bench.others if isinstance(action, Record)]
    assert [entry["timing"] for entry in said if entry["event"] == "staged"] == [timing]
    assert [entry["names"] for entry in said if entry["event"] == "probed"] == [[(0, "0.mp4")]]
