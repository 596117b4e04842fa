"""Hosts with the job's keys and without, as real processes."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import msgspec

from framefleet.common.job.spec import JobSpec, SchedulingOptions
from framefleet.common.protocol.keys import JobKeys
from framefleet.launcher.targets.local_host import WORKER_COMMAND, LocalHost
from tests.helpers.jobs import PATIENCE_S
from tests.helpers.keys import KEYS, stranger_keys


def test_a_host_with_other_keys_says_so_and_the_job_is_done_without_it(clips: Path, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    shutil.copy(clips / "h264-closed.mp4", videos)
    hosts = []
    for name, keys in (("algo-1", KEYS), ("algo-2", stranger_keys())):
        hosts.append(LocalHost(name=name, root=tmp_path / name))
        hosts[-1].prepare(hosts=["algo-1", "algo-2"], videos=videos, spec=spec(tmp_path, keys))
    try:
        for host in hosts:
            host.start(WORKER_COMMAND)
        deadline = time.monotonic() + PATIENCE_S
        while any(host.running for host in hosts):
            for host in hosts:
                host.poll()
            assert time.monotonic() < deadline, [host.log_tail() for host in hosts]
            time.sleep(0.01)
    finally:
        for host in hosts:
            host.close()
    assert [host.returncode for host in hosts] == [0, 1]
    line = hosts[1].log_tail()[-1]  # a slow machine's host may say before that it waits
    assert "refused this host's key" in line
    assert "job specification" in line
    assert list((hosts[0].layout.output / "frames").rglob("*.jpg"))
    assert not [path for path in files_with_keys(tmp_path) if path.name != "job.json"]


def spec(folder: Path, keys: JobKeys) -> JobSpec:
    return JobSpec(
        job_id="keys",
        slots_per_host=1,
        endpoint=f"ipc://{folder}/coordinator",
        scheduling=SchedulingOptions(heartbeat_s=0.5, host_wait_s=15.0),
        keys=keys,
    )


def files_with_keys(folder: Path) -> list[Path]:
    keys = [key.encode() for keys in (KEYS, stranger_keys()) for key in msgspec.structs.astuple(keys)]
    paths = [path for path in folder.rglob("*") if path.is_file()]
    found = [path for path in paths if any(key in path.read_bytes() for key in keys)]
    assert found, "the specifications themselves"
    return found
