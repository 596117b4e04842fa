"""One host of a local cluster: an agent in a process group of its own, its root folder, and its log."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import msgspec

from framefleet import IMPORT_ROOT
from framefleet.common.host.layout import ROOT_VARIABLE, VIDEOS_VARIABLE, Layout
from framefleet.common.host.shared_filesystem import SHARED_VARIABLE
from framefleet.common.job.spec import JobSpec, write_spec
from framefleet.common.status import STATUS_PREFIX, Status, decode_status

WORKER_COMMAND = (sys.executable, "-m", "framefleet.worker")

TAIL_LINES = 15
_TAIL_BYTES = 1 << 16
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PREFIX = STATUS_PREFIX.encode()


class LocalHost:
    """A host that runs as a process group on this machine.

    Everything that it prints goes to a file, never through a pipe: a launcher that is stopped, or
    whose terminal is, must not make the job wait.
    """

    def __init__(self, *, name: str, root: Path) -> None:
        self.name = name
        self.layout = Layout(root)
        self.log = root / "host.log"
        self.videos = self.layout.videos
        self.returncode: int | None = None  # None while it runs; -N when signal N ended it
        self.told_to_stop = False
        self.status: Status | None = None  # the latest that it has printed
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: IO[bytes] | None = None
        self._rest = b""

    def prepare(
        self, *, hosts: Sequence[str], videos: Path, spec: JobSpec, files: Mapping[str, bytes] | None = None
    ) -> None:
        """Make the tree that SageMaker would mount: the cluster, the input, the job with its ``files``, the
        output."""
        config = {"current_host": self.name, "hosts": list(hosts), "network_interface_name": "lo"}
        for folder in (self.layout.resource_config.parent, self.layout.job_spec.parent, self.layout.output):
            folder.mkdir(parents=True, exist_ok=True)
        self.layout.resource_config.write_bytes(msgspec.json.encode(config))
        self.videos = videos
        write_spec(self.layout.job_spec, spec)
        for name, data in (files or {}).items():
            (self.layout.job_spec.parent / name).write_bytes(data)

    def start(self, command: Sequence[str], *, keep_open: Sequence[int] = ()) -> None:
        """Start the agent in a session, and so a process group, of its own."""
        environment = dict(os.environ)
        paths = [str(IMPORT_ROOT), *filter(None, [environment.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
        environment.pop(SHARED_VARIABLE, None)  # of a job on a cluster
        environment[ROOT_VARIABLE] = str(self.layout.root)
        environment[VIDEOS_VARIABLE] = str(self.videos)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=IMPORT_ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=keep_open,
                preexec_fn=_die_with_launcher if sys.platform == "linux" else None,
            )
        self._reader = self.log.open("rb")

    @property
    def running(self) -> bool:
        return self._process is not None and self.returncode is None

    def poll(self) -> bool:
        """Notice whether the agent has ended, and read what it printed.

        Returns:
            Whether ``status`` is new.
        """
        if self._process is not None and self.returncode is None:
            # Only an agent that is not yet reaped keeps its group's number from being given to others.
            ended = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is not None:
                self.returncode = self._end(self._process)
        return self._read_statuses()

    def _end(self, agent: subprocess.Popen[bytes]) -> int | None:
        """End what an agent that is over has left of its group; its exit code, or None (started again)."""
        self.kill()
        return agent.wait()

    def terminate(self) -> None:
        """Ask the agent to leave, as ``docker stop`` asks the first process of a container and no other."""
        if self._process is not None and self.returncode is None:
            os.kill(self._process.pid, signal.SIGTERM)  # Popen's own would reap it, if it has ended

    def kill(self) -> None:
        """Kill the whole process group, as long as its agent has not been reaped."""
        if self._process is not None and self.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Kill whatever is left of the group and wait for the agent."""
        if self.running and self._process is not None:
            self.kill()
            self.returncode = self._process.wait()
        if self._reader is not None:
            self._read_statuses()
            self._reader.close()
            self._reader = None

    def ending(self) -> str:
        """In words, how the agent ended."""
        if self.returncode is None:
            return "still runs"
        if self.returncode < 0:
            with contextlib.suppress(ValueError):
                return f"was killed by {signal.Signals(-self.returncode).name}"
        return f"ended with exit code {self.returncode}"

    def exit_message(self) -> str:
        """What the agent left as its last word, if it did."""
        with contextlib.suppress(OSError):
            text = self.layout.exit_message.read_bytes().decode(errors="backslashreplace")
            return " ".join(text.removeprefix("framefleet: ").split())
        return ""

    def log_tail(self) -> list[str]:
        """The last ``TAIL_LINES`` lines of the log that are not statuses; none if it cannot be read."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(0, self.log.stat().st_size - _TAIL_BYTES))
                lines = [line for line in log.read().splitlines() if line and not line.startswith(_PREFIX)]
        except OSError:
            return []
        return [line.decode(errors="backslashreplace") for line in lines[-TAIL_LINES:]]

    def save_log(self, target: Path) -> None:
        """Copy the log without its statuses; a host that printed nothing else leaves no copy."""
        with self.log.open("rb") as log:
            lines = (line for line in log if not line.startswith(_PREFIX))
            first = next(lines, None)
            if first is None:
                return
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as copy:
                copy.write(first)
                copy.writelines(lines)

    def _read_statuses(self) -> bool:
        if self._reader is None:
            return False
        try:
            fresh = self._reader.read()
        except OSError:  # the disk has died, and what hosts cannot write any more tells so
            return False
        *lines, self._rest = (self._rest + fresh).split(b"\n")
        for line in reversed(lines):
            status = decode_status(line)
            if status is not None:
                self.status = status
                return True
        return False


def _die_with_launcher() -> None:
    """In the child, before it becomes the agent: end when the launcher does, even by SIGKILL."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
