"""How the job ended, by the primary's account on a shared file system.

A host that comes late, or back, may find no coordinator any more. Where nothing is shared, the coordinator
waits for it instead (``coordinator/core/shutdown.py``).
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from framefleet.common.decoding import NOT_DECODED
from framefleet.common.protocol.messages import End
from framefleet.common.status import Summary

SUMMARY, JOURNAL = "summary.json", "journal.jsonl"


class Account:
    """The primary's folder ``job``, as another host sees it."""

    def __init__(self, folder: Path, job_id: str) -> None:
        self._folder = folder
        self._job_id = job_id
        self._journal: tuple[int, int] | None = None
        self._before = self._mark()  # an earlier run's, if that was stopped: this one goes on with it

    def end(self) -> End | None:
        """What the coordinator would say; None: the job has not ended."""
        try:
            if SUMMARY not in os.listdir(self._folder):  # noqa: PTH208 - NFS remembers what was not there
                return None
            found = msgspec.json.decode((self._folder / SUMMARY).read_bytes(), type=Summary)
        except (OSError, *NOT_DECODED):
            return None
        if found.job_id != self._job_id or (found.outcome == "interrupted" and self._mark() == self._before):
            return None
        return End(failed=None if found.outcome == "completed" else found.reason or found.outcome)

    def _mark(self) -> tuple[int, int] | None:
        try:
            found = (self._folder / SUMMARY).stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns

    def has_moved(self) -> bool:
        """Whether the journal was touched since the last look: the coordinator is at work, though it is not
        heard."""
        try:
            with (self._folder / JOURNAL).open("rb") as file:  # NFS looks anew when a file is opened
                found = os.fstat(file.fileno())
        except OSError:
            return False
        before, self._journal = self._journal, (found.st_size, found.st_mtime_ns)
        return before is not None and before != self._journal
