"""Hosts that tell wrong what videos are: their slots' probes are changed, and nothing else.

``python -m tests.faults.lying_hosts`` runs such a host. The variable holds, for each host that lies, the
members of ``VideoInfo`` that it changes: by how much, or (a text) to what. Honest hosts tell nothing before
one has lied.
"""

from __future__ import annotations

import ctypes
import functools
import json
import os
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import msgspec

from framefleet.common.host.layout import Layout
from framefleet.common.job.spec import JobSpec
from framefleet.common.media import VideoInfo
from framefleet.worker import slot_limits as limits

if TYPE_CHECKING:
    from framefleet.worker.video.open_video import OpenVideo

VARIABLE, PLACE = "FRAMEFLEET_TEST_LIES", "FRAMEFLEET_TEST_LIES_AT"
COMMAND = (sys.executable, "-m", "tests.faults.lying_hosts")


def enter(
    connection: Connection, layout: Layout, spec: JobSpec, slot_limits: limits.Limits, beats: ctypes.c_uint64
) -> None:
    """A real slot, but for what it tells of the videos that it probes."""
    from framefleet.worker.slots.slot_main import run_slot
    from framefleet.worker.video.probe import probe_video

    host = json.loads(layout.resource_config.read_bytes())["current_host"]
    lies: dict[str, int | str] = json.loads(os.environ[VARIABLE]).get(host, {})

    has_lied = Path(os.environ[PLACE]) / "lied"

    def probe(video: OpenVideo) -> VideoInfo:
        info = probe_video(video)
        if lies:
            has_lied.touch()
        while not has_lied.exists():
            limits.beat()
            time.sleep(0.005)
        told = {
            name: lie if isinstance(lie, str) else getattr(info, name) + lie for name, lie in lies.items()
        }
        return msgspec.structs.replace(info, **told)

    mock.patch("framefleet.worker.slots.slot_main.probe_video", probe).start()
    run_slot(connection, layout, spec, slot_limits, beats)


def main() -> int:
    """A host like any other, but for its slots."""
    import framefleet.worker.__main__
    from framefleet.worker.slots.slot_process import SlotProcess
    from tests.faults import lying_hosts  # by the name under which a slot process can find it

    with mock.patch(
        "framefleet.worker.agent.SlotProcess", functools.partial(SlotProcess, entry=lying_hosts.enter)
    ):
        return framefleet.worker.__main__.main()


if __name__ == "__main__":
    sys.exit(main())
