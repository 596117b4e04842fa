"""Files that are there whole or not at all, and the one that the platform shows its user."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

EXIT_MESSAGE_BYTES: Final = (
    1024  # SageMaker keeps the first kilobyte, and fails a job whose text is not UTF-8
)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_exit_message(path: Path, text: str) -> None:
    """Leave a sentence for the platform to show, cut to what it keeps; a disk that refuses is no error.

    SageMaker joins the messages of all hosts and then cuts: only the primary writes one, or who fails.
    """
    told = text.encode("utf-8", "replace")[:EXIT_MESSAGE_BYTES].decode("utf-8", "ignore")
    with contextlib.suppress(OSError):
        write_whole(path, told.encode())
