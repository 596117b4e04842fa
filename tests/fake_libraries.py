"""``python -m tests.fake_libraries``: a host like any other, but its slots have another PyAV, as they say."""

from __future__ import annotations

import ctypes
import functools
import sys
from multiprocessing.connection import Connection
from unittest import mock

import msgspec

from framefleet.common.host.layout import Layout
from framefleet.common.job.spec import JobSpec
from worker import limits

VERSION = "0.1"


def enter(
    connection: Connection,
    layout: Layout,
    spec: JobSpec,
    slot_limits: limits.Limits,
    beats: ctypes.c_uint64,
) -> None:
    """A slot that has all that the real one has, but for its PyAV."""
    from worker.libraries import libraries
    from worker.slot import run_slot

    other = msgspec.structs.replace(libraries(), pyav=VERSION)
    mock.patch("worker.slot.libraries", return_value=other).start()
    run_slot(connection, layout, spec, slot_limits, beats)


def main() -> int:
    import worker.__main__
    from tests import fake_libraries  # by the name under which a slot process can find it
    from worker.slots import SlotProcess

    with mock.patch("worker.agent.SlotProcess", functools.partial(SlotProcess, entry=fake_libraries.enter)):
        return worker.__main__.main()


if __name__ == "__main__":
    sys.exit(main())
