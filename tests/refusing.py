"""A disk that refuses to give what lies behind some byte of a file, for tests."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

# What a read may come to: a broken disk, a stale handle, a daemon that died, a soft mount that timed out.
ERRNOS = (errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EREMOTEIO, errno.EACCES)

_pread = os.pread


@contextmanager
def refusing(code: int, *, after: int) -> Iterator[None]:
    """All reads of inputs from byte ``after`` on fail with ``code`` in this process; with 0, the file has
    come to end there."""

    def pread(descriptor: int, size: int, offset: int) -> bytes:
        if offset < after:
            return _pread(descriptor, min(size, after - offset), offset)
        if code == 0:
            return b""
        raise OSError(code, os.strerror(code))

    with mock.patch("worker.input_file.os.pread", pread):
        yield
