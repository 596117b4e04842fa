"""Export files written piece by piece, and whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

encode = msgspec.json.encode  # UTF-8, names as they are


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file that takes its name when all is written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)  # it may be a link, or a pipe
    with part.open("xb") as file:
        yield file
    part.replace(path)


def write_lines(path: Path, items: Iterable[Any]) -> None:
    """Write JSON lines."""
    with whole_file(path) as file:
        for item in items:
            file.write(encode(item) + b"\n")


def write_list(file: BinaryIO, items: Iterable[Any]) -> None:
    """Write a JSON list of any length, an item to a line."""
    file.write(b"[")
    for count, item in enumerate(items):
        file.write((b",\n" if count else b"\n") + encode(item))
    file.write(b"\n]")
