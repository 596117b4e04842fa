"""A host for tests of the local target: it keeps to the layout and extracts nothing.

``python tests/faults/fake_host.py BEHAVIOUR...``, started as the local target starts a host.
A behaviour may end in ``@HOST``; it is then that host's only.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Set
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from framefleet.common.host.cluster import Cluster, read_cluster
from framefleet.common.host.layout import Layout
from framefleet.common.job.spec import read_spec
from framefleet.common.status import STATUS_PREFIX

FRAMES_PER_HOST = 2


def main() -> int:
    layout = Layout.from_environment()
    cluster, spec = read_cluster(layout.resource_config), read_spec(layout.job_spec)
    behaviours = {
        name
        for name, _, host in (argument.partition("@") for argument in sys.argv[1:])
        if host in ("", cluster.current)
    }
    assert layout.videos.is_dir()
    assert (spec.endpoint is None) == (spec.mode == "sharded")
    if "hang" in behaviours:
        hang(layout)
    if "die" in behaviours:
        print("the disk is on fire", flush=True)
        (layout.root / "dying.tmp").write_text(str(os.getpid()))
        (layout.root / "dying.tmp").replace(layout.root / "dying")
        os.kill(os.getpid(), signal.SIGKILL)
    write_frames(layout, cluster.current, unit=cluster.rank)
    if "lose-a-frame" in behaviours:
        next((layout.output / "frames").rglob("*.jpg")).unlink()
    if "lose-the-rows" in behaviours:
        next((layout.output / "manifest").iterdir()).unlink()
    reporting = spec.mode == "sharded" or cluster.is_primary
    served = [cluster.current] if spec.mode == "sharded" else list(cluster.hosts)
    given_up = {argument.partition("@")[2] for argument in sys.argv if argument.startswith("leave-hanging@")}
    if reporting:
        print_status(served, lost=given_up if "lost" in behaviours else set())
    if "leave-hanging" in behaviours:
        hang(layout)
    (layout.root / "written").touch()
    if reporting:
        for host in served:
            if f"die@{host}" in sys.argv:
                wait_for_death(layout.root.parent / host / "dying")
            else:
                wait_for(layout.root.parent / host / "written")
        if "no-summary" in behaviours:
            print("cannot go on: \x1b[31mno reason\nnone at all", file=sys.stderr, flush=True)
            write_journal(layout, cluster, served)
            return 3
        write_journal(layout, cluster, [host for host in served if f"die@{host}" not in sys.argv])
        write_account(layout, spec.job_id, spec.mode, served)
    return 1 if "fail" in behaviours else 0


def hang(layout: Layout) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    (layout.root / "pids").write_text(f"{os.getpid()} {child.pid}")
    (layout.root / "written").touch()
    print_status(["whoever"])
    while True:
        signal.pause()


def wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(0.01)


def wait_for_death(pid_file: Path) -> None:
    """Until the launcher has noticed it: a process is there until its parent has asked for its end."""
    wait_for(pid_file)
    while Path("/proc", pid_file.read_text()).exists():
        time.sleep(0.01)


def write_frames(layout: Layout, host: str, *, unit: int) -> None:
    files = [f"frames/video-{unit}/{sample:08}.jpg" for sample in range(FRAMES_PER_HOST)]
    for file in files:
        path = layout.output / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{host} {file}")
    table = pa.table(
        {
            "video": [file.split("/")[1] for file in files],
            "sample": list(range(len(files))),
            "file": files,
            "unit": [unit] * len(files),
            "attempt": [1] * len(files),
            "host": [host] * len(files),
        }
    )
    (layout.output / "manifest").mkdir()
    pq.write_table(table, layout.output / "manifest" / f"{host}-0.parquet")


def print_status(hosts: list[str], *, lost: Set[str] = frozenset()) -> None:
    status = {
        "elapsed_s": 1.0, "frames": 2, "videos": 1, "videos_done": 0, "videos_failed": 0,
        "units_done": 1, "frames_per_s": 2.0, "fraction": 0.5, "left_s": 1.0,
        "hosts": [
            {"host": host, "state": "lost" if host in lost else "up", "slots": 1, "units": 1, "frames": 2,
             "busy_s": 1.0, "busy_share": 0.9}
            for host in hosts
        ],
    }  # fmt: skip
    print(STATUS_PREFIX + json.dumps(status).removeprefix("{"), flush=True)


def write_journal(layout: Layout, cluster: Cluster, hosts: list[str]) -> None:
    job = layout.output / "job"
    job.mkdir()
    with (job / "journal.jsonl").open("w") as journal:
        for host in hosts:
            entry = {"event": "committed", "unit": cluster.hosts.index(host), "attempt": 1, "host": host}
            journal.write(json.dumps({**entry, "frames": FRAMES_PER_HOST}) + "\n")


def write_account(layout: Layout, job_id: str, mode: str, hosts: list[str]) -> None:
    (layout.output / "job" / "failures.jsonl").write_text(
        json.dumps({"video": f"bad-{hosts[0]}.mp4", "kind": "input", "reason": "not a video"}) + "\n"
    )
    summary = {
        "job_id": job_id, "mode": mode, "outcome": "completed", "reason": "",
        "started_at": "2024-01-01T00:00:00+00:00", "videos": 2, "videos_done": 1, "videos_failed": 1,
        "frames": FRAMES_PER_HOST * len(hosts),
        "suspect_frames": 0, "bytes": 10, "units": len(hosts), "retries": 0, "failures": 1,
        "frames_lost": False, "makespan_s": 2.0, "work_s": 1.0, "speed": 1.0, "lower_bound_s": 1.0,
        "efficiency": 0.5, "notes": [], "options": {},
        "hosts": [
            {"host": host, "state": "left", "slots": 1, "units": 1, "frames": 2, "busy_s": 1.0,
             "idle_share": 0.5}
            for host in hosts
        ],
    }  # fmt: skip
    (layout.output / "job" / "summary.json").write_text(json.dumps(summary))


if __name__ == "__main__":
    sys.exit(main())
