"""The coordinator's process, as the agent of its host sees it: started, watched, started again, ended.

A coordinator that is killed, or ends by a bug, is started again and goes on from its journal; one that ends
by itself has told why. A crash loop ends: restarts are counted, until one of them has got further.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from framefleet import IMPORT_ROOT
from framefleet.common.errors import EXIT_CRASHED
from framefleet.common.log import LOG

MAX_RESTARTS, RESTART_WINDOW_S = 6, 300.0  # without a commit: what the journal holds kills it, then
POLL_S = 0.02

_COMMITTED = b'"event":"committed"'


class CoordinatorProcess:
    """Keeps a coordinator alive until the job is over."""

    def __init__(self, command: Sequence[str], journal: Path) -> None:
        self._command = list(command)
        self._journal = journal
        self._restarts: list[float] = []
        self._gave_up: str | None = None
        self._told: int | None = None  # to stop
        self._start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def look(self) -> str | None:
        """Start the coordinator again if it has died; in words why not, if it has ended for good."""
        if self._process.poll() is None or (self._gave_up is None and self._start_again()):
            return None
        return self._gave_up or f"the coordinator ended with exit code {self._process.returncode}"

    def end(self, patience_s: float, *, is_stopping: Callable[[], bool]) -> tuple[int, str | None]:
        """Wait for the coordinator to end of itself, then make it.

        Returns: its exit code, and why it was not started again, if it died too often.
        """
        deadline = time.monotonic() + patience_s
        while True:
            if is_stopping():
                if self._process.poll() is not None:
                    break
                self.tell_to_stop()
            elif self.look() is not None:
                break
            if time.monotonic() > deadline:
                self.kill()
                break
            time.sleep(POLL_S)
        return self._process.returncode, self._gave_up

    def tell_to_stop(self) -> None:
        """Ask it to end the job in good order: every host leaves, then it writes its account."""
        if self._told != self.pid:
            self._told = self.pid
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, if it is not over."""
        self._process.kill()
        self._process.wait()

    def _start(self) -> None:
        self._written = self._journal.stat().st_size if self._journal.exists() else 0
        self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, cwd=IMPORT_ROOT)

    def _start_again(self) -> bool:
        code = self._process.returncode
        if code >= 0 and code != EXIT_CRASHED:
            return False
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        now = time.monotonic()
        if self._got_further():
            self._restarts.clear()
        self._restarts = [at for at in self._restarts if now - at < RESTART_WINDOW_S]
        if len(self._restarts) >= MAX_RESTARTS:
            self._gave_up = (
                f"the coordinator {how}, as it did {MAX_RESTARTS} times before without getting any further: "
                "see the log of this host"
            )
            return False
        self._restarts.append(now)
        LOG.warning("the coordinator %s and is started again", how)
        self._start()
        return True

    def _got_further(self) -> bool:
        """Whether anything was committed since it was started."""
        try:
            with self._journal.open("rb") as lines:
                lines.seek(self._written)
                return any(_COMMITTED in line for line in lines)
        except OSError:
            return False
