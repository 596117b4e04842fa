"""One run of one contestant on one core, and what it cost; nothing it started outlives it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.contestants import environment

TIMEOUT_S = 900.0


class RunError(Exception):
    """A contestant failed; the text is the last thing that it said."""


@dataclass(frozen=True)
class Run:
    """``cpu_s``: user and system seconds of the process and all that it waited for. ``told``: its JSON."""

    cpu_s: float
    wall_s: float
    told: Mapping[str, Any]


class Running:
    """A contestant at work, as a process group of its own, pinned to one core."""

    def __init__(self, command: Sequence[str], core: int) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - they live as long as this object
        self._complained = tempfile.TemporaryFile()  # noqa: SIM115
        self._begun = time.monotonic()
        self.is_running = True
        self._process = subprocess.Popen(
            ["taskset", "-c", str(core), *command],
            stdin=subprocess.DEVNULL,
            stdout=self._said,
            stderr=self._complained,
            env=environment(),
            start_new_session=True,
        )

    def finish(self) -> Run:
        """Wait for its end.

        Raises:
            RunError: it failed, or took more than ``TIMEOUT_S``.
        """
        timer = threading.Timer(TIMEOUT_S, self._kill)
        timer.start()
        try:
            # the only call that tells the usage of one child
            _, status, usage = os.wait4(self._process.pid, 0)
        finally:
            timer.cancel()
        wall_s = time.monotonic() - self._begun
        self.is_running = False
        self._process.returncode = os.waitstatus_to_exitcode(status)
        complaint = os.pread(self._complained.fileno(), 2**24, 0).decode(errors="replace").strip()
        if self._process.returncode:
            last = complaint.splitlines()[-1] if complaint else "no words"
            raise RunError(f"exit code {self._process.returncode}: {last}")
        lines = self.said().splitlines()
        told = json.loads(lines[-1]) if lines else {}
        return Run(usage.ru_utime + usage.ru_stime, wall_s, told)

    def said(self) -> str:
        """What it has written on standard output so far."""
        # the file's place is shared with the writer, so it must not be moved
        return os.pread(self._said.fileno(), 2**24, 0).decode().strip()

    def close(self) -> None:
        """End what still runs."""
        if self.is_running:
            self._kill()
            with contextlib.suppress(ChildProcessError):
                self._process.wait()
            self.is_running = False
        self._said.close()
        self._complained.close()

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)


def run(command: Sequence[str], core: int) -> Run:
    """Run ``command`` on ``core`` to its end.

    Raises:
        RunError: it failed.
    """
    running = Running(command, core)
    try:
        return running.finish()
    finally:
        running.close()


def run_at_once(commands: Sequence[Sequence[str]], cores: Sequence[int]) -> tuple[list[Run], float]:
    """Run several at once, each on its core; gives each one's costs and the seconds until the last ended."""
    begun = time.monotonic()
    running: list[Running] = []
    try:
        for command, core in zip(commands, cores, strict=True):
            running.append(Running(command, core))
        runs = [one.finish() for one in running]
        return runs, time.monotonic() - begun
    finally:
        for one in running:
            one.close()


def fresh(folder: Path) -> Path:
    """``folder``, empty."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
