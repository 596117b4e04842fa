"""What is damaged in an output: kept for whoever wants to look, where no reader takes it for rows."""

from __future__ import annotations

import os
from pathlib import Path

from framefleet.common.output.part_file import PartError

FOLDER = "job/damaged"  # below the output


def set_aside(error: PartError, output: Path) -> str:
    """Move a damaged part out of its manifest into ``FOLDER`` of ``output``; a sentence that says so.

    Whatever lies there in place of a part, a link or a pipe, is moved itself.

    Raises:
        OSError: the disk refuses.
    """
    kept = move_aside(error.path, output, name=error.path.name)
    return f"{error.path.name} is damaged ({error.reason}) and set aside as {kept}"


def move_aside(path: Path, output: Path, *, name: str) -> str:
    """Move a file or a folder into ``FOLDER`` of ``output``, where it gets ``name`` or, if that is taken, one
    with a number; its path below ``output``.

    Raises:
        OSError: the disk refuses.
    """
    folder = output / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    target, number = folder / name, 0
    while os.path.lexists(target):
        number += 1
        target = (folder / name).with_stem(f"{Path(name).stem}-{number}")
    os.rename(path, target)  # noqa: PTH104 - a folder is not moved into another
    return f"{FOLDER}/{target.name}"
