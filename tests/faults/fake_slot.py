"""Slot processes that misbehave, for tests of the agent's limits.

``enter`` is an entry of ``SlotProcess``: a slot that misbehaves at its first task. ``enter_by_name`` is a
real slot in which videos misbehave by their names; ``python -m tests.faults.fake_slot`` runs a host all of
whose slots are such: the coordinator, the agent and the extraction are the real ones.
"""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, NoReturn
from unittest import mock

import msgspec

from framefleet.common.host.layout import Layout
from framefleet.common.job.spec import JobSpec
from framefleet.common.protocol.messages import UnitProgress
from framefleet.coordinator.simulation.hosts import LIBRARIES
from framefleet.worker import slot_limits as limits
from framefleet.worker.slots.slot_messages import Running, SlotUp

EATEN_MIB = 400
TOO_MUCH = 100 * 2**30  # bytes: more than any limit here, and than most machines have


def tell(connection: Connection) -> None:
    """Say something that an agent understands."""
    progress = Running(UnitProgress(unit=0, attempt=1, done_to=0, frames=0, busy_s=0.0))
    connection.send_bytes(msgspec.msgpack.encode(progress))


def eat(connection: Connection) -> None:
    """Use ``EATEN_MIB`` of memory, and tell."""
    eaten = os.urandom(2**20) * EATEN_MIB
    tell(connection)
    connection.recv_bytes()
    del eaten


def hang_with_lock(connection: Connection) -> NoReturn:
    """Never return, from C code that holds the interpreter's lock."""
    tell(connection)
    while True:
        ctypes.PyDLL(None).sleep(1000)


def hang_without_lock(connection: Connection) -> NoReturn:
    """Never return, from C code that has given the interpreter's lock away."""
    tell(connection)
    lock = threading.Lock()
    while True:
        lock.acquire()


def beat_on(connection: Connection) -> NoReturn:
    """Make progress for ever, without a word after the first."""
    tell(connection)
    while True:
        limits.beat()


def ask_for_too_much(_: Connection) -> None:
    bytearray(TOO_MUCH)


def crash(_: Connection) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def enter(
    misbehave: Callable[[Connection], object],
    connection: Connection,
    _layout: Layout,
    _spec: JobSpec,
    slot_limits: limits.Limits,
    beats: ctypes.c_uint64,
) -> None:
    """Come up, wait for a task, and misbehave."""
    limits.enter(slot_limits, beats)
    connection.send_bytes(msgspec.msgpack.encode(SlotUp(LIBRARIES)))
    connection.recv_bytes()
    try:
        misbehave(connection)
    except MemoryError:
        os._exit(limits.EXIT_OUT_OF_MEMORY)


def enter_and_hang(*_: object) -> None:
    """Never come up."""
    while True:
        signal.pause()


BY_NAME: dict[str, Callable[[Connection], object]] = {
    "eats": eat,
    "hangs-with-lock": hang_with_lock,
    "hangs-without-lock": hang_without_lock,
    "asks-for-too-much": ask_for_too_much,
    "crashes": crash,
}


def enter_by_name(
    connection: Connection,
    layout: Layout,
    spec: JobSpec,
    slot_limits: limits.Limits,
    beats: ctypes.c_uint64,
) -> None:
    """A real slot, but it misbehaves as ``BY_NAME`` says at the extraction (``probe-...``: the probe) of a
    video of such a name."""
    from framefleet.worker.extraction.extract import extract as real_extract
    from framefleet.worker.slots.slot_main import run_slot
    from framefleet.worker.video.open_video import OpenVideo
    from framefleet.worker.video.probe import probe_video as real_probe

    def probe(video: OpenVideo) -> Any:
        name = video.path.stem
        if name.startswith("probe-"):
            BY_NAME[name.removeprefix("probe-")](connection)
        return real_probe(video)

    def extract(video: OpenVideo, *rest: Any, **named: Any) -> Any:
        if video.path.stem in BY_NAME:
            BY_NAME[video.path.stem](connection)
        return real_extract(video, *rest, **named)

    mock.patch("framefleet.worker.slots.slot_main.probe_video", probe).start()
    mock.patch("framefleet.worker.slots.slot_main.extract", extract).start()
    run_slot(connection, layout, spec, slot_limits, beats)


def main() -> int:
    """A host like any other, but for its slots."""
    import framefleet.worker.__main__
    from framefleet.worker.slots.slot_process import SlotProcess
    from tests.faults import fake_slot  # by the name under which a slot process can find it

    faulty = functools.partial(SlotProcess, entry=fake_slot.enter_by_name)
    with mock.patch("framefleet.worker.agent.SlotProcess", faulty):
        return framefleet.worker.__main__.main()


if __name__ == "__main__":
    sys.exit(main())
