"""Files moved from a host's folder to the output, which may be another disk."""

from __future__ import annotations

import errno
import os
import shutil


def move(source: str, target: str) -> None:
    """Move a file; whoever looks at ``target`` sees it whole or as it was.

    Raises:
        OSError: ``source`` is not there (``FileNotFoundError``), or the disk refuses.
    """
    try:
        os.replace(source, target)  # noqa: PTH105 - a Path for each frame is slow
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        whole = f"{target}.part"
        shutil.copyfile(source, whole)
        os.replace(whole, target)  # noqa: PTH105
        os.unlink(source)  # noqa: PTH108
