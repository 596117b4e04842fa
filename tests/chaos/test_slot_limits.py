"""Slots that eat memory, hang or die in a job of two hosts: only their videos are lost, and it says why."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from framefleet.common.job.spec import JobSpec, LimitOptions, SchedulingOptions
from framefleet.common.status import Failure
from framefleet.launcher.targets.local_host import LocalHost
from tests.helpers.jobs import PATIENCE_S
from tests.helpers.keys import KEYS

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="memory is read in /proc, and bounded by RLIMIT_DATA"
)

COMMAND = (sys.executable, "-m", "tests.faults.fake_slot")
LIMIT = "the limit for a slot is 0.29 GiB"
STALLED = "(the limit is 3 s) while"
REASONS = {
    "eats": f"of memory ({LIMIT}) while extracting [0, end)",
    "hangs-with-lock": f"{STALLED} extracting [0, end)",
    "asks-for-too-much": f"ran out of memory ({LIMIT}) while extracting [0, end)",
    "crashes": "was killed by SIGSEGV while extracting [0, end)",
    "probe-eats": f"of memory ({LIMIT}) while probing",
    "probe-hangs-without-lock": f"{STALLED} probing",
}
WHOLE = 3


@pytest.fixture
def hosts(tmp_path: Path, clips: Path) -> Iterator[list[LocalHost]]:
    """Two hosts of a job on good videos and on one for each fault."""
    videos = tmp_path / "videos"
    videos.mkdir()
    for number in range(WHOLE):
        shutil.copy(clips / "h264-closed.mp4", videos / f"whole-{number}.mp4")
    for name in REASONS:
        shutil.copy(clips / "h264-closed.mp4", videos / f"{name}.mp4")
    spec = JobSpec(
        job_id="limits",
        slots_per_host=1,
        endpoint=f"ipc://{tmp_path}/coordinator",
        limits=LimitOptions(memory_mib=300, no_progress_s=3.0),
        scheduling=SchedulingOptions(cut="never", heartbeat_s=0.5, host_wait_s=60.0),
        keys=KEYS,
    )
    found = [LocalHost(name=name, root=tmp_path / name) for name in ("algo-1", "algo-2")]
    for host in found:
        host.prepare(hosts=["algo-1", "algo-2"], videos=videos, spec=spec)
    yield found
    for host in found:
        host.close()


def test_the_host_goes_on_and_the_other_videos_are_done(hosts: list[LocalHost]) -> None:
    for host in hosts:
        host.start(COMMAND)
    deadline = time.monotonic() + PATIENCE_S
    while any(host.running for host in hosts):
        for host in hosts:
            host.poll()
        assert time.monotonic() < deadline, [host.log_tail() for host in hosts]
        time.sleep(0.01)
    # frames were lost, which the primary says for the whole job
    assert [host.returncode for host in hosts] == [1, 0], [host.log_tail() for host in hosts]
    lines = (hosts[0].layout.output / "job" / "failures.jsonl").read_bytes().splitlines()
    reasons = {
        failure.video: failure for failure in (msgspec.json.decode(line, type=Failure) for line in lines)
    }
    assert len(reasons) == len(lines)
    for name, reason in REASONS.items():
        failure = reasons.pop(f"{name}.mp4")
        assert failure.reason.startswith("the slot process "), failure
        assert failure.reason.endswith(reason), failure
        assert failure.attempts >= 3, failure
    assert reasons == {}
    done = {path.name for host in hosts for path in (host.layout.output / "frames").glob("*")}
    assert done == {f"whole-{number}" for number in range(WHOLE)}
    assert not any(host.layout.staging.exists() for host in hosts)
