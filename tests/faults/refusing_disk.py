"""A disk that refuses to give what lies behind some byte of a file, for tests.

``python -m tests.faults.refusing_disk`` runs a host whose slots have such a disk, if ``VARIABLE`` says so of
it; the rest is the real one.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from unittest import mock

from framefleet.common.host.layout import Layout
from framefleet.common.job.spec import JobSpec
from framefleet.worker import slot_limits as limits

VARIABLE = "FRAMEFLEET_TEST_REFUSING"  # of each host: errno, and the byte; only this module reads it
COMMAND = (sys.executable, "-m", "tests.faults.refusing_disk")

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

    with mock.patch("framefleet.worker.video.input_file.os.pread", pread):
        yield


def enter(
    connection: Connection,
    layout: Layout,
    spec: JobSpec,
    slot_limits: limits.Limits,
    beats: ctypes.c_uint64,
) -> None:
    """A real slot, but for its disk."""
    from framefleet.worker.slots.slot_main import run_slot

    host = json.loads(layout.resource_config.read_bytes())["current_host"]
    code, after = json.loads(os.environ[VARIABLE]).get(host, (0, sys.maxsize))
    with refusing(code, after=after):
        run_slot(connection, layout, spec, slot_limits, beats)


def main() -> int:
    """A host like any other, but for its slots."""
    import framefleet.worker.__main__
    from framefleet.worker.slots.slot_process import SlotProcess
    from tests.faults import refusing_disk  # by the name under which a slot process can find it

    with mock.patch(
        "framefleet.worker.agent.SlotProcess", functools.partial(SlotProcess, entry=refusing_disk.enter)
    ):
        return framefleet.worker.__main__.main()


if __name__ == "__main__":
    sys.exit(main())
