"""Hostile frames by the thousand at the coordinator of a running job, which ends as if nobody had been there.

``FRAMEFLEET_FUZZ_FRAMES`` is how many (a million for a full run), ``FRAMEFLEET_FUZZ_SEED`` which ones.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from framefleet.common.job.spec import SchedulingOptions
from framefleet.launcher.demo import make_demo_set
from tests.campaigns.wire_fuzzing import Attack, Target
from tests.helpers.jobs import Job, check_output, failures, rows, run_job, summary, tree

FRAMES = int(os.environ.get("FRAMEFLEET_FUZZ_FRAMES", "20000"))
SEED = int(os.environ.get("FRAMEFLEET_FUZZ_SEED", "1"))
FRAMES_PER_JOB = 200_000
MEMORY_MIB = 300  # of the coordinator: about 70 of its own, and what libzmq holds of the last frames
HOSTS = ("algo-1", "algo-2", "algo-3")
# a host that is late because of the noise is not lost, and its name is not free
CALM = SchedulingOptions(unit_span_s=0.5, cut="anywhere", heartbeat_s=0.5, lease_s=60.0, host_wait_s=60.0)

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the coordinator is found in /proc"
)


@pytest.fixture(scope="module")
def source(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_demo_set(tmp_path_factory.mktemp("fuzz") / "demo", lengths_s=(4, 2), loop_frames=25)
    for name in ("h264-open-mkv.mkv", "vp9.webm"):
        shutil.copy(clips / name, folder)
    (folder / "broken.mp4").write_bytes(b"no video")
    return folder


def manifest(output: Path) -> list[dict[str, Any]]:
    """The rows without what differs from run to run: who did them, and how they were cut for idle hosts."""
    own = ("unit", "attempt", "host", "video_bytes")
    found = [
        {name: value for name, value in row.items() if name not in own and not name.startswith("unit_")}
        for row in rows(output)
    ]
    return sorted(found, key=lambda row: (row["video"], row["sample"]))


def coordinator_pid(job: Job) -> int | None:
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                command = (folder / "cmdline").read_bytes().split(b"\0")
                environment = (folder / "environ").read_bytes()
            except OSError:
                continue
            if command[1:3] == [b"-m", b"framefleet.coordinator"] and str(job.output).encode() in environment:
                return int(folder.name)
    return None


def peak_mib(pid: int) -> int:
    """The most memory that a process has had so far."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) // 1024
    raise AssertionError(f"{pid} has no memory")


def test_the_job_is_done_as_if_nobody_had_been_there(source: Path, tmp_path: Path) -> None:
    run_job(source, tmp_path / "expected", instances=2, fps="native")
    expected, expected_rows = tree(tmp_path / "expected"), manifest(tmp_path / "expected")
    thrown, round_number = 0, 0
    while thrown < FRAMES:
        output = tmp_path / f"out-{round_number}"
        job = Job(source, output, held_after=2, instances=3, fps="native", scheduling=CALM)
        job.until_held(*HOSTS)
        (root,) = job.output.glob(".framefleet-*/algo-1")
        pid = coordinator_pid(job)
        assert pid is not None
        peak = 0
        logs = [(root.parent / host / "host.log").open() for host in HOSTS]
        with Attack(Target(root), seed=SEED + round_number) as attack:
            wanted = min(FRAMES - thrown, FRAMES_PER_JOB)
            while attack.thrown.total() < wanted and attack.throw(1000):
                try:
                    peak = max(peak, peak_mib(pid))
                except (OSError, AssertionError):
                    break
            thrown += attack.thrown.total()
            job.gate.open()
            print(f"seed {SEED + round_number}: {dict(attack.thrown)}; the coordinator's peak {peak} MiB")
            assert job.wait() == 0, job.text
        check_output(job.output)
        assert tree(job.output) == expected
        assert manifest(job.output) == expected_rows
        assert list(failures(job.output)) == ["broken.mp4"]
        said = "".join(line for log in logs for line in log if not line.startswith("framefleet-status "))
        for log in logs:
            log.close()
        assert "Traceback" not in said
        assert peak < MEMORY_MIB
        print(f"{summary(job.output).notes}, {summary(job.output).makespan_s:.1f} s")
        assert any("messages that are none" in note for note in summary(job.output).notes)
        round_number += 1
