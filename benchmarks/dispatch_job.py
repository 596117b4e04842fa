"""One job of simulated hosts under a real coordinator, and what it cost."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.contestants import REPOSITORY
from benchmarks.dispatch_task import Fleet, Told
from framefleet.common.host.layout import ROOT_VARIABLE, Layout
from framefleet.common.job.spec import JobSpec, SamplingOptions, SchedulingOptions, write_spec
from framefleet.common.protocol.transport import make_keys

UNITS_PER_VIDEO: Final = 250
TIMEOUT_S: Final = 600.0


class JobError(Exception):
    """A job did not end as it should; the text tells how."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How many hosts with how many slots do how many units; each unit lasts ``hold_s``."""

    title: str
    hosts: int
    slots: int
    units: int
    hold_s: float = 0.0


def run_job(setting: Setting, folder: Path, *, profile: Path | None = None) -> Told:
    """Run a job of ``setting`` below ``folder``, which should be on a disk, as the journal is written there.

    ``profile``: where the coordinator's cProfile goes, if anywhere; it is then several times slower.

    Raises:
        JobError: the coordinator or the fleet failed.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix="dispatch-") as name:
        layout = Layout(Path(name))
        endpoint = f"tcp://127.0.0.1:{_free_port()}"
        videos = max(1, setting.units // UNITS_PER_VIDEO)
        _lay_out(layout, setting, videos)
        with contextlib.ExitStack() as stack:
            log = stack.enter_context(tempfile.TemporaryFile())
            profiler = ["-m", "cProfile", "-o", str(profile)] if profile is not None else []
            coordinator = subprocess.Popen(
                [sys.executable, *profiler, "-m", "framefleet.coordinator", "--bind", endpoint],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, cwd=REPOSITORY,
                env={**os.environ, ROOT_VARIABLE: name},
            )  # fmt: skip
            stack.callback(_end, coordinator)
            fleet = Fleet(
                endpoint=endpoint, spec=str(layout.job_spec), hosts=setting.hosts, slots=setting.slots,
                units=videos * UNITS_PER_VIDEO, units_per_video=UNITS_PER_VIDEO, hold_s=setting.hold_s,
                coordinator=coordinator.pid, parent=os.getpid(),
            )  # fmt: skip
            command = [sys.executable, "-m", "benchmarks.dispatch_fleet", msgspec.json.encode(fleet).decode()]
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, cwd=REPOSITORY
            )
            stack.callback(_end, process)
            try:
                said, _ = process.communicate(timeout=TIMEOUT_S)
                code = coordinator.wait(TIMEOUT_S)
            except subprocess.TimeoutExpired:
                raise JobError(f"no end after {TIMEOUT_S:.0f} s") from None
            if process.returncode or code:
                log.seek(0)
                last = log.read().decode(errors="replace").strip().splitlines()[-1:]
                with contextlib.suppress(OSError):
                    last += (layout.output / "job" / "failures.jsonl").read_text().splitlines()[:1]
                raise JobError(f"fleet {process.returncode}, coordinator {code}: {' '.join(last)}")
        _check(layout, fleet)
        return msgspec.json.decode(said, type=Told)


def _lay_out(layout: Layout, setting: Setting, videos: int) -> None:
    """The tree of a host: files that are never opened, the list of hosts, and the specification."""
    layout.videos.mkdir(parents=True)
    for number in range(videos):
        with (layout.videos / f"{number:05}.mp4").open("wb") as file:
            file.truncate(10**6 + number)
    hosts = [f"host-{number:05}" for number in range(setting.hosts)]
    layout.resource_config.parent.mkdir(parents=True)
    layout.resource_config.write_text(json.dumps({"hosts": hosts, "current_host": hosts[0]}))
    # units of one second of video each, whatever is learned: as many as in a real job, but at once
    scheduling = SchedulingOptions(unit_span_s=1.0)
    write_spec(
        layout.job_spec,
        JobSpec(
            job_id="dispatch",
            sampling=SamplingOptions(fps="5"),
            scheduling=scheduling,
            keys=make_keys(),
        ),
    )


def _check(layout: Layout, fleet: Fleet) -> None:
    """All units were committed, once."""
    summary = json.loads((layout.output / "job" / "summary.json").read_bytes())
    if (summary["outcome"], summary["units"]) != ("completed", fleet.units):
        raise JobError(f"{summary['outcome']} with {summary['units']} units of {fleet.units}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
        process.wait()
