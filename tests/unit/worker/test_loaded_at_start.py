"""What a host loads, and when: at a quarter of a CPU a library is a second."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from unittest import mock

from framefleet.common.host.layout import Layout
from framefleet.common.job.spec import JobSpec
from framefleet.common.protocol import messages as m
from framefleet.worker.agent import Agent
from framefleet.worker.slots.slot_messages import Running

ROOT = Path(__file__).resolve().parents[3]


def loaded_by(module: str) -> set[str]:
    """The packages that are loaded with a module, in a process of its own."""
    code = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_an_agent_loads_no_media_libraries_no_asyncio_and_no_arrow() -> None:
    assert not loaded_by("framefleet.worker.host") & {"av", "cv2", "numpy", "asyncio", "ssl", "pyarrow"}


def test_a_coordinator_loads_no_media_libraries_no_asyncio_and_no_exporter() -> None:
    loaded = loaded_by("framefleet.coordinator.__main__")
    assert not loaded & {"av", "cv2", "numpy", "asyncio", "ssl", "http", "prometheus_client"}


def test_next_to_nothing_is_loaded_before_the_libraries_begin_to() -> None:
    loaded = loaded_by("framefleet.worker.__main__")
    assert not loaded & {"zmq", "msgspec", "dataclasses", "typing_extensions", "inspect"}


def test_what_a_flush_needs_is_loaded_once_and_not_before_there_are_frames(tmp_path: Path) -> None:
    with mock.patch("framefleet.worker.agent.SlotProcess"):
        agent = Agent(
            host="a",
            incarnation="1",
            layout=Layout(tmp_path),
            spec=JobSpec(job_id="j"),
            slots=1,
            link=mock.Mock(),
            should_stop=lambda: None,
        )
    told = Running(m.UnitProgress(unit=1, attempt=1, done_to=5, frames=2, busy_s=0.5))
    with mock.patch("framefleet.worker.agent.threading.Thread") as thread:
        agent._on_slot_message(agent._slots[0], m.Shrunk(lease=m.Lease(1, 1), stop=9))
        assert not thread.called
        agent._on_slot_message(agent._slots[0], told)
        agent._on_slot_message(agent._slots[0], told)
    assert thread.call_count == 1
