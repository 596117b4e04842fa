"""Faults of real containers in the middle of a job: it ends well, with the frames of the undisturbed run.

They need a container engine, and root's right to use it; ``docker/start-engine.sh`` starts one where it may.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from framefleet.common.job.spec import SchedulingOptions
from tests.faults.faulty_containers import ContainerJob, docker, pause
from tests.helpers.jobs import REPOSITORY, check_output, run_job, summary, tree

Start = Callable[..., ContainerJob]

# the first test waits for the image, which may have to be built; a loaded machine takes its time
pytestmark = pytest.mark.timeout(600)

SCHEDULING = SchedulingOptions(
    unit_span_s=0.5, cut="anywhere", heartbeat_s=0.5, lease_s=5.0, host_wait_s=90.0
)


@pytest.fixture
def start(source: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts a job; what a failed test has left running is interrupted."""
    jobs: list[ContainerJob] = []

    def start_job(name: str = "out", **options: Any) -> ContainerJob:
        options = {
            "instances": 3,
            "fps": "native",
            "scheduling": SCHEDULING,
            "held_after": 2,
            **options,
        }
        jobs.append(ContainerJob(source, tmp_path / name, **options))
        return jobs[-1]

    yield start_job
    for job in jobs:
        if job.process.poll() is None:
            job.process.send_signal(signal.SIGINT)
            job.process.communicate(timeout=120)


def ends_well(job: ContainerJob, expected: dict[str, str]) -> None:
    job.gate.open()
    assert job.wait() == 0, job.text
    check_output(job.output)
    assert tree(job.output) == expected
    assert job.leftovers() == []


def ended_journal(job: ContainerJob) -> list[dict[str, Any]]:
    """What the coordinator wrote of a job that is over."""
    return [json.loads(line) for line in (job.output / "job" / "journal.jsonl").read_bytes().splitlines()]


def test_undisturbed_and_beside_another_job(start: Start, expected: dict[str, str]) -> None:
    jobs = [start(name, slots=None) for name in ("one", "other")]
    for job in jobs:
        job.until_held("algo-1")
    for job in jobs:
        ends_well(job, expected)
        assert [host.slots for host in summary(job.output).hosts] == [1, 1, 1], "by the CPU time of each"


def test_a_host_is_killed_and_another_paused_beyond_its_lease(start: Start, expected: dict[str, str]) -> None:
    job = start(instances=4)
    job.until_held("algo-2", "algo-3")
    docker("kill", job.container("algo-3"))
    pause(job.container("algo-2"))
    job.until_told("host_lost", of="algo-2")
    docker("unpause", job.container("algo-2"))
    job.until_back("algo-2")
    ends_well(job, expected)
    assert {host.host: host.state for host in summary(job.output).hosts}["algo-3"] == "lost"
    assert "algo-3 was killed by SIGKILL: its work goes to the others" in job.text


def test_a_host_loses_the_network_and_finds_it_again(start: Start, expected: dict[str, str]) -> None:
    job = start(scheduling=msgspec.structs.replace(SCHEDULING, lease_s=2.0))
    job.until_held("algo-3")
    docker("network", "disconnect", job.network(), job.container("algo-3"))
    job.until_told("host_lost", of="algo-3")
    docker("network", "connect", "--alias", "algo-3", job.network(), job.container("algo-3"))
    job.until_back("algo-3")
    ends_well(job, expected)


def test_the_coordinator_is_killed(start: Start, expected: dict[str, str]) -> None:
    job = start()
    job.until_held("algo-2")
    find = "import os; [os.kill(int(p), 9) for p in os.listdir('/proc') if p.isdigit() and "
    find += "b'-m\\0framefleet.coordinator\\0' in open(f'/proc/{p}/cmdline', 'rb').read()]"
    docker("exec", job.container("algo-1"), "python", "-c", find)
    job.until_told("restarted")
    ends_well(job, expected)


def test_the_first_host_is_lost_and_the_job_is_resumed(start: Start, source: Path, tmp_path: Path) -> None:
    # at a rate: of frames that are numbered in order, those behind the lost host's would prove nothing
    run_job(source, tmp_path / "whole", instances=2, fps="5")
    expected = tree(tmp_path / "whole")
    job = start(fps="5")
    job.until_told("committed", of="algo-2")
    docker("kill", job.container("algo-1"))
    assert job.wait() == 1, job.text
    assert "algo-1 was killed by SIGKILL: it was the coordinator's host" in job.text
    kept = tree(job.output)
    assert kept.items() <= expected.items()
    assert kept, "what others had committed"
    again = start(fps="5", instances=2, resume=True, held_after=0)
    again.until_held("algo-1")
    ends_well(again, expected)
    assert summary(job.output).taken_over > 0


@contextlib.contextmanager
def slow_link(job: ContainerJob, host: str) -> Iterator[None]:
    """200 ms of delay and 5 % of loss on what a host sends."""
    pid = str(job.first_process(host))
    netem = ["tc", "qdisc", "add", "dev", "eth0", "root", "netem", "delay", "200ms", "loss", "5%"]
    try:
        has_netem = subprocess.run(["nsenter", "-t", pid, "-n", *netem], capture_output=True).returncode == 0
    except FileNotFoundError:
        has_netem = False
    if has_netem:
        yield
        return
    command = [sys.executable, "-m", "tests.faults.slow_link", pid, "0.2", "0.05"]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"the link is slow\n"
            yield
        finally:
            process.kill()


@pytest.mark.skipif(os.getuid() != 0, reason="a slow link needs root's rights on the network")
def test_links_are_slow_and_lossy(start: Start, expected: dict[str, str]) -> None:
    job = start()
    job.until_held("algo-2", "algo-3")
    with slow_link(job, "algo-2"), slow_link(job, "algo-3"):
        ends_well(job, expected)


def test_hosts_come_in_any_order_and_one_never(start: Start, expected: dict[str, str]) -> None:
    # until the primary is there, its name is not to be found; the others wait for it
    scheduling = SchedulingOptions(
        unit_span_s=0.5, cut="anywhere", heartbeat_s=0.5, lease_s=5.0, host_wait_s=30.0
    )
    late = {"algo-1": 6.0, "algo-2": 9.0, "algo-4": -1.0}
    job = start(instances=4, late=late, scheduling=scheduling)
    job.until_held("algo-1", "algo-2", "algo-3")
    ends_well(job, expected)
    assert {host.host for host in summary(job.output).hosts if host.units} == {"algo-1", "algo-2", "algo-3"}


@pytest.mark.skipif(os.getuid() != 0, reason="a small disk needs the right to mount a tmpfs")
def test_a_disk_is_full(start: Start, expected: dict[str, str]) -> None:
    job = start(disk={"algo-2": 300_000}, held_after=3)
    job.until_told("failed", of="algo-2")
    ends_well(job, expected)
    failed = [entry for entry in ended_journal(job) if entry["event"] == "failed"]
    assert {(entry["host"], entry["kind"]) for entry in failed} == {("algo-2", "output")}
    assert all(os.strerror(errno.ENOSPC) in entry["reason"] for entry in failed), failed


def test_all_are_stopped_and_the_job_is_resumed(start: Start, expected: dict[str, str]) -> None:
    job = start()
    job.until_held("algo-2", "algo-3")
    job.until_told("committed")
    docker("stop", *(job.container(f"algo-{number}") for number in (1, 2, 3)))
    assert job.wait() != 0
    kept = tree(job.output)
    assert kept
    assert kept.items() <= expected.items()
    again = start(instances=2, resume=True, held_after=0)
    again.until_held("algo-1")
    ends_well(again, expected)
    assert summary(again.output).taken_over > 0
