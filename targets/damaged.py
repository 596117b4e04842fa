"""Manifest parts that are damaged: kept for whoever wants to look, where no reader takes them for rows."""

from __future__ import annotations

import os
from pathlib import Path

from common.part_file import PartError

FOLDER = "job/damaged"  # below the output


def set_aside(error: PartError, output: Path) -> str:
    """Move a damaged part out of its manifest into ``FOLDER`` of ``output``; a sentence that says so.

    Whatever lies there in place of a part, a link or a pipe, is moved itself.

    Raises:
        OSError: the disk refuses.
    """
    folder = output / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    target, number = folder / error.path.name, 0
    while os.path.lexists(target):
        number += 1
        target = folder / f"{error.path.stem}-{number}{error.path.suffix}"
    os.rename(error.path, target)  # noqa: PTH104 - a folder is not moved into another
    return f"{error.path.name} is damaged ({error.reason}) and set aside as {FOLDER}/{target.name}"
