"""Where temporary folders are made: where the paths of sockets in them are short enough for the system."""

from __future__ import annotations

import contextlib
import os
import tempfile
from typing import Final

from framefleet.common.errors import UserError

# unix(7): 107 bytes for a socket's path; ours have up to 32 behind the folder's
MAX_FOLDER_BYTES: Final = 75
SHORT: Final = ("/tmp", "/var/tmp", "/dev/shm")


def use_short_folder() -> None:
    """Let this process make its temporary folders in ``TMPDIR``, or in a usual folder if that is no use.

    Raises:
        UserError: no folder can be written to.
    """
    with contextlib.suppress(FileNotFoundError):
        if len(os.fsencode(tempfile.gettempdir())) <= MAX_FOLDER_BYTES:
            return
    for short in SHORT:
        if os.access(short, os.W_OK | os.X_OK):
            tempfile.tempdir = short
            return
    raise UserError(
        f"there is no folder for sockets: {', '.join(SHORT)} cannot be written to, and TMPDIR is "
        f"{os.environ.get('TMPDIR', 'not set')!r}: set it to a folder that can be, with a path of at most "
        f"{MAX_FOLDER_BYTES} bytes, or mount one at /tmp (an emptyDir, a tmpfs)"
    )
