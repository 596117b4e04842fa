"""A job that a test holds open: its slots stop in the middle of a unit until the test lets them go on.

So what a test does to a running job never comes too late, however fast the machine. A ``Gate`` is the test's
side. ``python -m tests.faults.held_slots`` runs a host that differs in its slots alone: coordinator, agent
and extraction are the real ones.
"""

from __future__ import annotations

import ctypes
import fcntl
import functools
import os
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest import mock

from framefleet.common.host.layout import Layout
from framefleet.common.job.spec import JobSpec
from framefleet.worker import slot_limits as limits

VARIABLE = "FRAMEFLEET_TEST_GATE"  # names the gate's folder; only this module reads it
COMMAND = (sys.executable, "-m", "tests.faults.held_slots")
FLUSH_S = 0.2  # a held slot is a busy one, for which an agent would put off publishing by seconds
_LOOK_S = 0.005


class Gate:
    """Holds every slot process that has completed so many units, in the middle of the next one.

    A slot that is held has a file ``<host>-<pid>`` locked. The gate's own file is locked by the test: should
    that end, slots go on.
    """

    def __init__(self, place: Path, units: int) -> None:
        """``place``: where the gate may have a folder of its own."""
        self.folder = folder = Path(tempfile.mkdtemp(prefix="gate-", dir=place))
        folder.chmod(0o777)  # containers may have another user
        self._owner = os.open(folder / "gate", os.O_WRONLY | os.O_CREAT)
        fcntl.flock(self._owner, fcntl.LOCK_EX)
        self.let(units)

    def let(self, units: int) -> None:
        """From now on, a slot process is held when it has completed so many units."""
        fresh = self.folder / "fresh"
        fresh.write_text(str(units))
        fresh.replace(self.folder / "units")

    def open(self) -> None:
        """Nothing is held from now on."""
        fcntl.flock(self._owner, fcntl.LOCK_UN)

    def holds(self, host: str) -> bool:
        """Whether a slot of this host is held; one that has died is not."""
        return any(_is_locked(path) for path in self.folder.glob(f"{host}-*"))


def _is_locked(path: Path) -> bool:
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def _pass(folder: Path, host: str, completed: int, meanwhile: Callable[[], object]) -> None:
    """In a slot: go on if the gate lets it, or when it does; ``meanwhile`` hears what the agent says."""

    def is_held() -> bool:
        return int((folder / "units").read_text()) <= completed and _is_locked(folder / "gate")

    if not is_held():
        return
    with (folder / f"{host}-{os.getpid()}").open("w") as mark:
        fcntl.flock(mark, fcntl.LOCK_EX)
        while is_held():
            limits.beat()
            meanwhile()
            time.sleep(_LOOK_S)


def enter(
    connection: Connection,
    layout: Layout,
    spec: JobSpec,
    slot_limits: limits.Limits,
    beats: ctypes.c_uint64,
) -> None:
    """A real slot, but for the gate."""
    from framefleet.worker.extraction.extract import extract as real_extract
    from framefleet.worker.slots.slot_main import run_slot

    folder = Path(os.environ[VARIABLE])
    host = layout.host
    completed = 0

    def extract(*arguments: Any, checkpoint: Any, **named: Any) -> Any:
        nonlocal completed
        has_passed = False

        def gated_checkpoint(done_to: int, frames: int) -> Any:
            nonlocal has_passed
            if frames and not has_passed:
                has_passed = True
                _pass(folder, host, completed, lambda: checkpoint(done_to, frames))
            return checkpoint(done_to, frames)

        result = real_extract(*arguments, checkpoint=gated_checkpoint, **named)
        if not has_passed:
            _pass(folder, host, completed, lambda: None)
        completed += 1
        return result

    mock.patch("framefleet.worker.slots.slot_main.extract", extract).start()
    run_slot(connection, layout, spec, slot_limits, beats)


def main() -> int:
    """A host like any other, but for its slots, and for how soon it publishes."""
    import framefleet.worker.__main__
    from framefleet.worker.slots.slot_process import SlotProcess
    from tests.faults import held_slots  # by the name under which a slot process can find it

    gated_slot = functools.partial(SlotProcess, entry=held_slots.enter)
    with (
        mock.patch("framefleet.worker.agent.SlotProcess", gated_slot),
        mock.patch("framefleet.worker.publishing.attempts.FLUSH_S", FLUSH_S),
    ):
        return framefleet.worker.__main__.main()


if __name__ == "__main__":
    sys.exit(main())
