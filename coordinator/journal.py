"""The journal: one JSON line for each fact that changed what the core will do, in order.

A line is with the system before anybody hears of what it tells, and on the disk about a second later. So
a process that is killed has lost nothing (``replay.py`` makes of the lines the state that it had), and a
machine that loses its power has lost what is done again.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import msgspec

from framefleet.common.decoding import NOT_DECODED
from framefleet.common.errors import UserError
from framefleet.common.files.durable import sync_path

SYNC_S = 1.0  # HyperQueue too accepts that the last seconds are lost and recomputed
BLOCK_BYTES = 1 << 16
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Journal:
    """An append-only file of JSON lines, each stamped with the seconds ``t_s`` since the job began.

    ``elapsed_s``: how long ago that was when the journal was opened.
    """

    def __init__(self, path: Path, *, elapsed_s: float = 0.0) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)
        sync_path(path.parent)  # else a power cut may take the whole file, with all that was synced in it
        self._encoder = msgspec.json.Encoder()
        self._synced_at = time.monotonic()
        self._start = self._synced_at - elapsed_s

    def append(self, *entries: dict[str, Any]) -> None:
        """Write entries, all at once; an ``OSError`` (a full disk) is the caller's to handle."""
        now = time.monotonic()
        # Each line is an object, and no string in it holds a line's end as it is; so the time goes into the
        # text. Another dictionary for each entry would take half as long as all the rest of this.
        text = b"\n" + self._encoder.encode_lines(entries)
        stamp = b'\n{"t_s":%r,' % round(now - self._start, 4)
        lines = memoryview(text.replace(b"\n{", stamp))[1:]
        while lines:
            lines = lines[self._file.write(lines) :]
        if now - self._synced_at > SYNC_S:
            self.sync(now)

    def beat(self) -> None:
        """Show whoever can only see the file that it is still written to; to be called every few seconds."""
        with contextlib.suppress(OSError):
            os.utime(self._file.fileno())

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


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """The entries of a journal; none if there is no such file. A last line that was cut off is left out.

    Raises:
        UserError: another line is damaged, or the file cannot be read.
    """
    decoder = msgspec.json.Decoder(dict[str, Any])
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.endswith(b"\n"):
                    return
                try:
                    yield decoder.decode(line)
                except NOT_DECODED as error:
                    raise UserError(
                        f"line {number} of the journal {path} is damaged ({error}), so the job cannot go on "
                        "from it: start it again with --resume"
                    ) from error
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(f"cannot read the journal {path}: {error.strerror}") from error


def read_clock() -> tuple[str, float]:
    """A clock that nobody sets: the name of this machine's present life (empty if it is not told), and the
    seconds of that."""
    try:
        name = BOOT_ID.read_text().strip()
    except OSError:
        name = ""
    return name, time.monotonic()


def elapsed_since(first: dict[str, Any], path: Path) -> float:
    """Seconds since the job of a journal began, of which ``first`` is the first entry.

    Not by the wall clock, which is set now and then. On another machine, or after its start, the time in
    between is not known: then the job goes on at its last line.
    """
    (name, began), (now_name, now) = first.get("clock", ("", 0.0)), read_clock()
    last_s = _last_time(path)
    return max(last_s, now - began) if name and name == now_name else last_s


def _last_time(path: Path) -> float:
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END) - 1  # of the last line, which is whole
        start = _line_start(file, end)
        file.seek(start)
        with contextlib.suppress(ValueError, LookupError, TypeError):  # whoever reads it all tells of damage
            return float(msgspec.json.decode(file.read(end - start))["t_s"])
    return 0.0


def cut_torn_line(path: Path) -> None:
    """Remove a last line that is not whole, so that the next one is not written behind it."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        end = _line_start(file, size)
        if end < size:
            file.truncate(end)


def _line_start(file: BinaryIO, end: int) -> int:
    """Where the line begins that ends, or is cut off, at ``end``."""
    while end > 0:
        start = max(0, end - BLOCK_BYTES)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0
