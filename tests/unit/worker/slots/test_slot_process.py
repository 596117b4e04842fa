"""Real slot processes that misbehave: the agent's side sees it, and says how they ended."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from multiprocessing import forkserver, reduction
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import pytest

from framefleet.common.errors import UserError
from framefleet.common.host.layout import Layout
from framefleet.common.job.spec import JobSpec
from framefleet.common.protocol.messages import Assign, Lease, Probe
from framefleet.worker.slot_limits import Limits
from framefleet.worker.slots import fork_server as forks
from framefleet.worker.slots.slot_messages import Running, SlotUp
from framefleet.worker.slots.slot_process import Entry, SlotProcess
from tests.faults import fake_slot

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read in /proc")

MIB = 2**20
LIMITS = Limits(memory_bytes=300 * MIB, no_progress_s=120.0)
SHORT = Limits(memory_bytes=300 * MIB, no_progress_s=1.0)
PATIENCE_S = 60.0

Start = Callable[[Entry, Limits], SlotProcess]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    slots: list[SlotProcess] = []

    def start_one(entry: Entry, limits: Limits) -> SlotProcess:
        slots.append(SlotProcess(0, Layout(tmp_path), JobSpec(job_id="j"), limits, entry=entry))
        return slots[-1]

    yield start_one
    for slot in slots:
        slot.end()


def misbehaving(start: Start, how: Callable[[Connection], object], limits: Limits = LIMITS) -> SlotProcess:
    """A slot that has been given a task, at which it misbehaves."""
    slot = start(partial(fake_slot.enter, how), limits)
    assert isinstance(next_message(slot), SlotUp)
    slot.up = True
    slot.give(Assign(lease=Lease(1, 1), task=Probe(files=[])))
    return slot


def next_message(slot: SlotProcess) -> object:
    assert wait([slot.descriptor], PATIENCE_S)
    return next(slot.messages())


def looks_until_given_up(slot: SlotProcess) -> tuple[int, str]:
    """Look once a second of a clock of our own."""
    for second in count():
        beyond = slot.beyond_limit(float(second))
        if beyond is not None:
            return second, beyond
        assert second < 1000, "it is never given up"
    raise AssertionError


@pytest.mark.parametrize("how", [fake_slot.hang_with_lock, fake_slot.hang_without_lock])
def test_a_slot_that_hangs_in_c_is_seen_and_ended(start: Start, how: Callable[[Connection], object]) -> None:
    slot = misbehaving(start, how)
    assert isinstance(next_message(slot), Running)
    assert looks_until_given_up(slot) == (121, "made no progress for 121 s (the limit is 120 s)")
    assert slot.end() == "was killed by SIGKILL"
    assert not Path(f"/proc/{slot.pid}").exists()


def test_a_slot_that_never_comes_up_is_seen(start: Start) -> None:
    seconds, beyond = looks_until_given_up(start(fake_slot.enter_and_hang, SHORT))
    assert (seconds, beyond) == (121, "did not start within 120 s")


def test_beats_are_seen_across_processes_and_count_as_progress(start: Start) -> None:
    slot = misbehaving(start, fake_slot.beat_on, SHORT)
    assert isinstance(next_message(slot), Running)
    for second in range(5):
        before = slot.beats
        while slot.beats == before:
            os.sched_yield()
        assert slot.beyond_limit(float(second)) is None


def test_a_slot_that_goes_in_circles_is_seen(start: Start) -> None:
    slot = misbehaving(start, fake_slot.beat_on, SHORT)
    assert isinstance(next_message(slot), Running)
    for second in count():
        before = slot.beats
        while slot.beats == before:
            os.sched_yield()
        beyond = slot.beyond_limit(float(second))
        if beyond is not None:
            assert (second, beyond) == (31, "was busy for 31 s and got no further (the limit is 30 s)")
            break


def test_messages_count_as_progress(start: Start) -> None:
    slot = misbehaving(start, fake_slot.hang_without_lock)
    for second in range(100):
        assert slot.beyond_limit(float(second)) is None
    assert isinstance(next_message(slot), Running)
    for second in range(100, 200):
        assert slot.beyond_limit(float(second)) is None


def test_a_slot_that_uses_too_much_memory_is_seen(start: Start) -> None:
    slot = misbehaving(start, fake_slot.eat)
    assert slot.beyond_limit(0.0) is None
    assert isinstance(next_message(slot), Running)
    beyond = slot.beyond_limit(0.5)
    assert beyond is not None
    assert beyond.startswith("used 0.4")
    assert beyond.endswith(" GiB of memory (the limit for a slot is 0.29 GiB)")


def test_a_slot_that_asks_for_far_too_much_does_not_get_it(start: Start) -> None:
    slot = misbehaving(start, fake_slot.ask_for_too_much)
    with pytest.raises((EOFError, ConnectionError)):
        next_message(slot)
    assert slot.end() == "ran out of memory (the limit for a slot is 0.29 GiB)"


def kill_fork_server() -> int:
    pid: int = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return pid


@pytest.mark.parametrize("moment", ["sendfds", "read_signed"])
def test_what_slots_are_forked_from_is_killed_while_it_forks(
    start: Start, monkeypatch: pytest.MonkeyPatch, moment: str, caplog: pytest.LogCaptureFixture
) -> None:
    module: Any = reduction if moment == "sendfds" else forkserver
    do = getattr(module, moment)
    killed: list[int] = []

    def kill_twice(*arguments: Any) -> Any:
        if len(killed) < 2:
            killed.append(kill_fork_server())
            if moment == "read_signed":  # it was told, and may have forked, but the number did not come
                raise EOFError("unexpected EOF")
        return do(*arguments)

    monkeypatch.setattr(module, moment, kill_twice)
    slot = start(partial(fake_slot.enter, fake_slot.hang_without_lock), LIMITS)
    assert isinstance(next_message(slot), SlotUp)
    assert len(set(killed)) == 2
    assert caplog.text.count("slot-0 was not started") == 2


def test_the_reason_is_told_when_slots_cannot_be_forked(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forks, "TRIES_AFTER_S", (0.0, 0.0))

    def refuse(*_: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(forkserver, "connect_to_new_process", refuse)
    with pytest.raises(UserError, match=r"tried 2 times \(.*Resource temporarily unavailable"):
        start(fake_slot.enter_and_hang, LIMITS)


def test_a_crash_is_told_by_its_signal(start: Start) -> None:
    slot = misbehaving(start, fake_slot.crash)
    with pytest.raises((EOFError, ConnectionError)):
        next_message(slot)
    assert slot.end() == "was killed by SIGSEGV"


def test_a_slot_that_holds_the_lock_dies_with_the_fork_server(start: Start) -> None:
    slot = misbehaving(start, fake_slot.hang_with_lock)
    assert isinstance(next_message(slot), Running)
    stat = Path(f"/proc/{slot.pid}/stat").read_text()
    os.kill(int(stat.rpartition(")")[2].split()[1]), signal.SIGKILL)
    assert wait([slot.descriptor], PATIENCE_S)
    with pytest.raises((EOFError, ConnectionError)):
        next(slot.messages())
