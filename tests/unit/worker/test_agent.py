"""What an agent answers when its coordinator comes back, without slots or sockets."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import msgspec
import pytest

from framefleet.common.errors import UserError
from framefleet.common.host.layout import Layout
from framefleet.common.job.spec import JobSpec
from framefleet.common.media import FrameRow, UnitResult
from framefleet.common.protocol import messages as m
from framefleet.coordinator.simulation.hosts import LIBRARIES
from framefleet.worker.agent import MAX_FAILED_STARTS, Agent
from framefleet.worker.publishing.attempts import Held, done_of
from framefleet.worker.slots.slot_messages import SlotUp, Staged
from framefleet.worker.staging import staging_folder
from framefleet.worker.video.file_stamp import Stamp
from tests.helpers.core_bench import info

LEASE = m.Lease(3, 1)
TASK = m.Extract(
    path=b"a.mp4",
    size_bytes=1,
    video="a.mp4",
    folder="a",
    start=0,
    stop=None,
    fingerprint=info().fingerprint,
    duration_s=1.0,
)
ROWS = [
    FrameRow(
        sample=sample, target_s=0.0, pts=sample, time_base="1/1", time_s=float(sample), keyframe=True,
        pix_fmt="yuv420p", width=1, height=1, rotation=0, interlaced=False, file=f"{sample:08d}.jpg", bytes=1,
        sha256="00", status="ok",
    )
    for sample in range(3)
]  # fmt: skip


class Bench:
    """An agent, and what it has said."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root)
        self.said: list[m.FromHost] = []
        link = mock.Mock()
        link.send = lambda data: self.said.append(m.decode_from_host(data))
        with mock.patch("framefleet.worker.agent.SlotProcess"):
            self.agent = Agent(
                host="a",
                incarnation="1",
                layout=self.layout,
                spec=JobSpec(job_id="j"),
                slots=1,
                link=link,
                should_stop=lambda: None,
            )
        self.agent._publisher.made_with(LIBRARIES)
        self.agent._slots[0].running = None
        self.agent._slots[0].up = True

    def hear(self, *messages: m.FromCoordinator) -> list[m.FromHost]:
        self.said.clear()
        for message in messages:
            self.agent._hear(message)
        return self.said.copy()

    def stage(self) -> m.Done:
        folder = staging_folder(self.layout, LEASE)
        folder.mkdir(parents=True)
        for row in ROWS:
            (folder / row.file).write_bytes(b"x")
        result = UnitResult(rows=list(ROWS), decoded=3, roll_in=0, errors=0, saw_end=True)
        done = done_of(Staged(lease=LEASE, result=result, stop=None, stamp=Stamp(1, 1)))
        self.agent._attempts.stage(Held(TASK, result, done, 0.0))
        return done

    def files(self) -> list[str]:
        return sorted(path.name for path in (self.layout.output / "frames").rglob("*.jpg"))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


WELCOME = m.Welcome(job_id="j", heartbeat_s=5.0, lease_s=30.0)
COMMIT = m.Commit(lease=LEASE, first_sample=7)


def test_what_is_staged_or_being_published_is_said_again(bench: Bench) -> None:
    done = bench.stage()
    assert bench.hear(WELCOME) == [m.Ready(slots=1), done]
    bench.hear(COMMIT)
    assert bench.hear(WELCOME) == [m.Ready(slots=1), done]
    bench.agent._attempts.flush()
    assert bench.hear(WELCOME) == [m.Ready(slots=1)], "a Commit will ask, or an Assign"
    assert bench.hear(COMMIT) == [m.Committed(leases=[LEASE])]
    assert bench.hear(m.Assign(lease=LEASE, task=TASK)) == [done]


def test_an_assignment_that_is_told_twice_is_taken_once(bench: Bench) -> None:
    assign = m.Assign(lease=LEASE, task=TASK)
    bench.hear(assign, assign)
    assert bench.agent._unfinished() == [LEASE]


def test_all_that_is_held_is_named_and_what_runs_comes_first(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.stage()
    bench.hear(COMMIT)
    bench.agent._attempts.flush()
    bench.hear(m.Assign(lease=m.Lease(9, 2), task=TASK))
    bench.said.clear()
    bench.agent._say_hello()
    (hello,) = bench.said
    assert isinstance(hello, m.Hello)
    assert hello.running == [m.Lease(9, 2), LEASE]
    monkeypatch.setattr(m, "MAX_RUNNING", 1)
    bench.agent._say_hello()
    assert bench.said[-1] == m.Hello(
        version=m.PROTOCOL_VERSION,
        host="a",
        incarnation="1",
        slots=1,
        running=[m.Lease(9, 2)],
        libraries=LIBRARIES,
    )


@pytest.mark.parametrize("is_published", [False, True])
def test_another_number_than_before_is_an_error_and_leaves_nothing_behind(
    bench: Bench, is_published: bool, caplog: pytest.LogCaptureFixture
) -> None:
    bench.stage()
    bench.hear(COMMIT)
    if is_published:
        bench.agent._attempts.flush()
        assert bench.files() == ["00000007.jpg", "00000008.jpg", "00000009.jpg"]
    (answer,) = bench.hear(m.Commit(lease=LEASE, first_sample=8))
    assert isinstance(answer, m.Failed)
    assert "first_sample=8" in answer.text
    assert "first_sample=7" in answer.text
    assert "told to publish" in caplog.text
    bench.agent._attempts.flush()
    assert bench.files() == []


def test_slots_that_die_together_before_they_are_up_are_one_failure(bench: Bench) -> None:
    def new_slot(number: int, *_: object) -> mock.Mock:
        return mock.Mock(number=number, up=False, running=None)

    agent = bench.agent
    with mock.patch("framefleet.worker.agent.SlotProcess", new_slot):
        agent._slots = [agent._new_slot(number) for number in range(8)]
        for _ in range(MAX_FAILED_STARTS - 1):  # what they are forked from is killed, and all of them with it
            for slot in list(agent._slots):
                agent._on_slot_death(slot)
        agent._on_slot_message(agent._slots[3], SlotUp(LIBRARIES))
        for _ in range(MAX_FAILED_STARTS - 1):
            agent._on_slot_death(agent._slots[0])
        with pytest.raises(UserError, match="cannot start"):
            agent._on_slot_death(agent._slots[0])


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> mock.Mock:
    """The agent's clock, set by the test."""
    clock = mock.Mock(return_value=1000.0)
    monkeypatch.setattr("framefleet.worker.agent.time.monotonic", clock)
    return clock


def step(bench: Bench, clock: mock.Mock, after_s: float, *messages: m.FromCoordinator) -> None:
    """A step of the loop, in which the time passes before what has arrived is read."""

    def receive() -> list[bytes]:
        clock.return_value += after_s
        return [m.encode(message) for message in messages]

    with mock.patch.object(bench.agent._link, "receive", receive):
        bench.agent._step(clock.return_value)


def quiet(bench: Bench, clock: mock.Mock, seconds: float) -> None:
    """Nothing is heard for so long."""
    for _ in range(int(seconds)):
        step(bench, clock, 1.0)


@pytest.fixture
def member(bench: Bench, clock: mock.Mock) -> Bench:
    """An agent that was welcome."""
    bench.agent._slots[0].messages.return_value = []  # type: ignore[attr-defined]
    bench.agent._slots[0].beyond_limit.return_value = None  # type: ignore[attr-defined]
    bench.agent._silence.end()  # by this clock
    step(bench, clock, 0.0, WELCOME)
    return bench


def test_a_silent_coordinator_is_taken_for_dead(member: Bench, clock: mock.Mock) -> None:
    quiet(member, clock, 60)
    with pytest.raises(UserError, match="silent for 61 s"):
        quiet(member, clock, 2)


def test_a_host_that_was_stopped_itself_does_not_take_the_coordinator_for_dead(
    member: Bench, clock: mock.Mock
) -> None:
    step(member, clock, 1e6)
    step(member, clock, 1e6, m.ReHello())
    assert isinstance(member.said[-1], m.Hello)
    step(member, clock, 0.1, m.End(failed=None))
    assert member.agent._end == m.End(failed=None)


@pytest.mark.parametrize("was_welcome", [True, False])
def test_a_host_that_hears_nothing_looks_how_the_job_ended(
    member: Bench, clock: mock.Mock, was_welcome: bool
) -> None:
    if not was_welcome:
        member.agent._welcome, member.agent._was_welcome = None, False
    account = mock.Mock(**{"end.return_value": None, "has_moved.return_value": False})
    with mock.patch.object(member.agent._silence, "_account", account):
        quiet(member, clock, 30)
        assert 3 <= account.end.call_count <= 6
        assert member.agent._end is None
        account.end.return_value = m.End(failed=None)
        quiet(member, clock, 6)
    assert member.agent._end == m.End(failed=None)


def test_a_coordinator_that_died_before_it_welcomed_the_host_again_is_not_waited_for_longer(
    member: Bench, clock: mock.Mock
) -> None:
    step(member, clock, 0.1, m.ReHello())
    with pytest.raises(UserError, match="silent"):
        quiet(member, clock, 70)


def test_a_host_that_was_cut_off_waits_as_long_as_the_journal_shows_that_the_job_goes_on(
    member: Bench, clock: mock.Mock
) -> None:
    account = mock.Mock(**{"end.return_value": None, "has_moved.return_value": True})
    with mock.patch.object(member.agent._silence, "_account", account):
        quiet(member, clock, 600)
        account.has_moved.return_value = False
        with pytest.raises(UserError, match="silent"):
            quiet(member, clock, 70)


def test_a_host_says_hello_when_a_slot_has_told_its_libraries(bench: Bench) -> None:
    bench.agent._publisher.libraries = None
    bench.agent._keep_in_touch(1e9)
    assert bench.said == [], "and is not given up by itself, as it has asked nobody"
    (slot,) = bench.agent._slots
    bench.agent._on_slot_message(slot, SlotUp(LIBRARIES))
    bench.agent._keep_in_touch(1e9)
    (hello,) = bench.said
    assert isinstance(hello, m.Hello)
    assert hello.libraries == LIBRARIES


def test_a_slot_that_comes_back_with_other_libraries_ends_the_host(bench: Bench) -> None:
    (slot,) = bench.agent._slots
    bench.agent._on_slot_message(slot, SlotUp(LIBRARIES))
    other = msgspec.structs.replace(LIBRARIES, opencv="9.9")
    with pytest.raises(UserError, match=r"OpenCV 1.0 by OpenCV 9.9"):
        bench.agent._on_slot_message(slot, SlotUp(other))
