"""A host whose slots have another PyAV, as they say: ``python -m tests.faults.other_libraries``."""

from __future__ import annotations

import ctypes
import functools
import sys
from multiprocessing.connection import Connection
from unittest import mock

import msgspec

from framefleet.common.host.layout import Layout
from framefleet.common.job.spec import JobSpec
from framefleet.worker import slot_limits as limits

VERSION = "0.1"


def enter(
    connection: Connection,
    layout: Layout,
    spec: JobSpec,
    slot_limits: limits.Limits,
    beats: ctypes.c_uint64,
) -> None:
    """A slot that has all that the real one has, but for its PyAV."""
    from framefleet.worker.loaded_libraries import libraries
    from framefleet.worker.slots.slot_main import run_slot

    other = msgspec.structs.replace(libraries(), pyav=VERSION)
    mock.patch("framefleet.worker.slots.slot_main.libraries", return_value=other).start()
    run_slot(connection, layout, spec, slot_limits, beats)


def main() -> int:
    import framefleet.worker.__main__
    from framefleet.worker.slots.slot_process import SlotProcess
    from tests.faults import other_libraries  # by the name under which a slot process can find it

    with mock.patch(
        "framefleet.worker.agent.SlotProcess", functools.partial(SlotProcess, entry=other_libraries.enter)
    ):
        return framefleet.worker.__main__.main()


if __name__ == "__main__":
    sys.exit(main())
