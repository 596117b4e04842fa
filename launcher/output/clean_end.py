"""Whether the last job that changed an output came to an end of its own, with all that it wrote on the disk.

A mark lies in the output while a job changes it. Whoever finds it there knows that a launcher was killed or
that the machine lost its power, after which a file may have its size and none of its bytes.
"""

from __future__ import annotations

import os
from pathlib import Path

from framefleet.common.errors import UserError
from framefleet.common.files.durable import sync_filesystem, sync_path

MARK = ".framefleet-at-work"


def begin_changes(output: Path) -> bool:
    """Leave the mark in a locked output; whether an earlier job has left it there, and so the contents of
    files are to be looked at.

    Raises:
        UserError: the output cannot be written to.
    """
    mark = output / MARK
    was_there = os.path.lexists(mark)  # a link to nowhere is not made a file there
    try:
        if not was_there:
            mark.touch()
        sync_path(output)
    except OSError as error:
        raise UserError(f"cannot write to {output}: {error.strerror}") from error
    return was_there


def end_changes(output: Path, *, keep_mark: bool = False) -> None:
    """Bring all of the output to the disk, then take the mark away unless it is to stay.

    Raises:
        UserError: the disk does not take it.
    """
    try:
        sync_filesystem(output)
        if not keep_mark:
            (output / MARK).unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"the disk of {output} has not taken all that was written to it ({error.strerror}): look after "
            "the disk, then go on with --resume"
        ) from error
