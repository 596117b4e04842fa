"""The journal: one JSON line for each thing that the core decided or learned, in order.

Lines are flushed to the system at once and to the disk about every second: what a crash loses is done
again, never done wrong.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

SYNC_S = 1.0  # HyperQueue too accepts that the last seconds are lost and recomputed


class Journal:
    """An append-only file of JSON lines, each stamped with seconds since the journal was opened."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)
        self._encoder = msgspec.json.Encoder()
        self._start = self._synced_at = time.monotonic()

    def append(self, *entries: dict[str, Any]) -> None:
        """Write entries, all at once; an ``OSError`` (a full disk) is the caller's to handle."""
        now = time.monotonic()
        t_s = round(now - self._start, 4)
        lines = memoryview(self._encoder.encode_lines([{"t_s": t_s, **entry} for entry in entries]))
        while lines:
            lines = lines[self._file.write(lines) :]
        if now - self._synced_at > SYNC_S:
            self.sync(now)

    def sync(self, now: float) -> None:
        """Bring everything written so far to the disk."""
        os.fsync(self._file.fileno())
        self._synced_at = now

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
