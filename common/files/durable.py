"""Files that are there whole or not at all, also after a power cut; and the one that the platform shows.

A rename is atomic for whoever looks, but a machine that loses its power may keep the new name and lose the
bytes. So a file is synced before it takes the place of another, and the folder after it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final

EXIT_MESSAGE_BYTES: Final = (
    1024  # SageMaker keeps the first kilobyte, and fails a job whose text is not UTF-8
)


def write_whole(path: Path, data: bytes, *, mode: int = 0o666) -> None:
    """Write a file so that it is there whole or not at all, with the permissions ``mode`` less the umask.

    Raises:
        OSError: the disk refuses. ``path`` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(
        missing_ok=True
    )  # left by a kill, it may be open to others: a mode is for new files only
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(data)
        replace_durably(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def replace_durably(temporary: Path, path: Path) -> None:
    """Give a complete file its name: after a power cut ``path`` is as it was, or the whole new one.

    Raises:
        OSError: the disk refuses.
    """
    sync_path(temporary)
    temporary.replace(path)
    sync_path(path.parent)


def sync_path(path: Path) -> None:
    """Bring a file's bytes, or a folder's entries, to the disk.

    Raises:
        OSError: it is not there, or the disk refuses.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # network and FUSE file systems may have no such call for folders
        if error.errno not in (errno.EINVAL, errno.ENOTSUP) or not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise
    finally:
        os.close(descriptor)


def sync_filesystem(folder: Path) -> None:
    """Bring all that was written to the file system of ``folder`` to its disk, whoever wrote it.

    One call for any number of files: an fsync for each frame would cost a commit of the file system's own
    journal each, which takes milliseconds.

    Raises:
        OSError: the folder is not there, or the disk has refused something that was written to it.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        syncfs = _syncfs()
        if syncfs is None:
            os.sync()
        elif syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(descriptor)


@cache
def _syncfs() -> Callable[[int], int] | None:
    """syncfs(2), of which Python has no function; None where the system has none either (macOS)."""
    return getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)


def write_exit_message(path: Path, text: str) -> None:
    """Leave a sentence for the platform to show, cut to what it keeps; a disk that refuses is no error.

    SageMaker joins the messages of all hosts and then cuts: only the primary writes one, or who fails.
    """
    told = text.encode("utf-8", "replace")[:EXIT_MESSAGE_BYTES].decode("utf-8", "ignore")
    with contextlib.suppress(OSError):
        write_whole(path, told.encode())
