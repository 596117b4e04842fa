"""How the job ended, by the primary's account on a shared file system.

A host that comes late, or back, may find no coordinator any more. Where nothing is shared, the coordinator
waits for it instead (``coordinator/ending.py``).
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from common.messages import End
from common.report import Summary

SUMMARY = "summary.json"


def read_end(folder: Path, job_id: str) -> End | None:
    """What the coordinator would say, by its account in ``folder``; None: the job has not ended."""
    try:
        if SUMMARY not in os.listdir(folder):  # noqa: PTH208 - NFS remembers that a name was not there
            return None
        found = msgspec.json.decode((folder / SUMMARY).read_bytes(), type=Summary)
    except (OSError, msgspec.DecodeError):
        return None
    if found.job_id != job_id:
        return None
    return End(failed=None if found.outcome == "completed" else found.reason or found.outcome)
