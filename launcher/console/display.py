"""How things are put on the terminal: names that are data, numbers, and bars for slow steps.

File names may hold line breaks, control sequences, rich's own markup, or bytes that are no text; the
terminal may know ASCII only. Nothing of that may break a line or end the launcher.
"""

from __future__ import annotations

import io
import sys
import time
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

SLOW_S = 2.0  # a step that takes longer shows how far it is


def make_console(stream: TextIO | None = None) -> Console:
    """A console on ``stream`` (standard output) that neither guesses colours nor fails to encode."""
    stream = sys.stdout if stream is None else stream
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return Console(file=stream, highlight=False, markup=False, emoji=False)


def percent(share: float) -> str:
    """A share of 0 to 1 as whole percents, five columns wide at most."""
    return f"{min(max(share, 0.0), 1.0) * 100:.0f} %"


class SlowStep:
    """A bar for a step of known length; it shows only ``SLOW_S`` seconds after the first update."""

    def __init__(self, console: Console, label: str) -> None:
        self._console = console
        self._label = label
        self._started: float | None = None
        self._progress: Progress | None = None
        self._task = TaskID(0)

    def __enter__(self) -> SlowStep:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def update(self, done: int, total: int) -> None:
        """``done`` of ``total`` parts are done."""
        if self._started is None:
            self._started = time.monotonic()
        if self._progress is None:
            if time.monotonic() - self._started < SLOW_S:
                return
            if not self._console.is_terminal:
                self._console.print(f"{self._label} ...")
            self._progress = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=30),
                MofNCompleteColumn(),
                console=self._console,
                transient=True,
                disable=not self._console.is_terminal,
            )
            self._task = self._progress.add_task(self._label, total=total)
            self._progress.start()
        self._progress.update(self._task, completed=done, total=total)
