"""Whether a file is still the one that this host opened first.

Its inode and the time it was last written to (ns) tell. They hold on one host alone: copies have their own. A
moved time is a change of unknown extent, whatever the file's beginning and end say.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

MOUNTS: Final = Path("/proc/self/mountinfo")
CHANGED: Final = (
    "changed while the job ran: it was written to, or another file took its place, after a host had opened "
    "it; nothing that was made of it is kept"
)


class ChangedError(Exception):
    """The file is not as it was when it was opened."""

    def __init__(self) -> None:
        super().__init__(CHANGED)


class Stamp(msgspec.Struct, frozen=True, array_like=True):
    """What changes with a file on its host; ``inode`` is 0 where it may change without the file."""

    inode: int
    mtime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Stamp:
        return cls(status.st_ino if has_stable_inodes(status.st_dev) else 0, status.st_mtime_ns)


@cache
def has_stable_inodes(device: int, mounts: Path = MOUNTS) -> bool:
    """Whether a file has the same inode each time it is opened: not on FUSE, as S3 is mounted by, which
    numbers its files anew when the system has forgotten them."""
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = mounts.read_text(errors="replace").splitlines()
    except OSError:  # no Linux
        return True
    kinds = [line.partition(" - ")[2].split()[0] for line in lines if line.split()[2:3] == [number]]
    return not any(kind == "fuse" or kind.startswith("fuse.") for kind in kinds)
