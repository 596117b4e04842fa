"""What a job has left of its account, as far as it can be read: hosts and power cuts leave anything."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

import msgspec

from framefleet.common.decoding import NOT_DECODED
from framefleet.common.files.beneath import Below, read_file
from framefleet.common.status import Failure, Summary

MAX_SUMMARY_BYTES: Final = 2**26  # a host takes some 200
MAX_LINE_BYTES: Final = 2**20  # of a journal or of failures; ours have some hundred


def read_summary(path: Path) -> Summary | None:
    """A ``summary.json``, or None if there is none, or it is not whole or cannot be read."""
    try:
        return msgspec.json.decode(read_file(path, MAX_SUMMARY_BYTES), type=Summary)
    except (OSError, *NOT_DECODED):
        return None


def read_failures(path: Path, *, most: int | None = None) -> list[Failure]:
    """The first lines of a ``failures.jsonl``, ``most`` of them, without those that are not whole, as far as
    it can be read. How many there are is for the summary to tell."""
    failures: list[Failure] = []
    decoder = msgspec.json.Decoder(Failure)
    with (
        contextlib.suppress(OSError),
        Below(path.parent) as folder,
        folder.open(path.name) as lines,
    ):
        while len(line := lines.readline(MAX_LINE_BYTES)) not in (0, MAX_LINE_BYTES):
            with contextlib.suppress(*NOT_DECODED):
                failures.append(decoder.decode(line))
            if len(failures) == most:
                break
    return failures
