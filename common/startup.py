"""What every process does first: names are UTF-8 whatever the locale, and what cannot be shown ends nothing.

Only what is run as a program calls it, never what is imported: it may start the process again.
"""

from __future__ import annotations

import io
import os
import select
import sys
from typing import Final

_shields: list[_Shield] = []


def set_up() -> None:
    """Use UTF-8 for all names and texts, and let no failure to print end the process.

    To be called before anything else is imported that opens files.
    """
    _use_utf8()
    _fill_closed()
    _shield("stdout", 1)
    _shield("stderr", 2)


def lost_output() -> OSError | None:
    """Why something that was printed did not get through, if so: a full disk, a terminal that is closed."""
    for shield in _shields:
        if shield.error is not None:
            return shield.error
    return None


def _use_utf8() -> None:
    """Python encodes names by the locale; the manifest has them in UTF-8, and so must the disk.

    The mode is decided when Python starts, so it is started again; processes of this one inherit it.
    """
    if sys.getfilesystemencoding().lower() == "utf-8" or sys.flags.utf8_mode:
        return
    os.environ["PYTHONUTF8"] = "1"
    os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def _fill_closed() -> None:
    """A file that is opened next would get the number of a closed standard stream, and be printed into."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _shield(name: str, number: int) -> None:
    stream = getattr(sys, name)
    shield = _Shield(number)
    _shields.append(shield)
    made = io.TextIOWrapper(
        io.BufferedWriter(shield),
        encoding="utf-8" if stream is None else stream.encoding,
        errors="backslashreplace",
        line_buffering=stream is None or stream.line_buffering,
        write_through=stream is not None and stream.write_through,
    )
    setattr(sys, name, made)


class _Shield(io.FileIO):
    """A standard stream that takes everything, and keeps why it could not write."""

    def __init__(self, number: int) -> None:
        super().__init__(number, "w", closefd=False)
        self.error: OSError | None = None

    def write(self, data: object, /) -> int:
        view: Final = memoryview(data).cast("B")  # type: ignore[arg-type]
        try:
            while (written := super().write(view)) is None:  # not blocking, and full
                select.select([], [self], [])
        except OSError as error:
            self.error = error
            return len(view)
        return written
