"""Faults of real containers in the middle of a job: it ends well, with the frames of the undisturbed run.

They need a container engine, and root's right to use it; ``docker/start-engine.sh`` starts one where it may.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common.errors import UserError
from common.spec import SchedulingOptions
from targets.demo import make_demo_set
from targets.engine import find_engine
from targets.image import ensure_image
from tests.faulty_containers import ContainerJob, docker
from tests.jobs import REPOSITORY, check_output, run_job, summary, tree

SCHEDULING = SchedulingOptions(
    unit_span_s=0.5, cut="anywhere", heartbeat_s=0.5, lease_s=5.0, host_wait_s=90.0
)


@pytest.fixture(scope="session", autouse=True)
def engine() -> None:
    """An engine that answers, and the hosts' image."""
    try:
        find_engine()
    except UserError as error:
        pytest.skip(f"containers cannot be tried here: {error}")
    ensure_image()


@pytest.fixture(scope="module")
def source(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough work for some seconds on three small hosts."""
    folder = make_demo_set(tmp_path_factory.mktemp("faults") / "demo", lengths_s=(8, 3))
    shutil.copy(clips / "hevc-open-mp4.mp4", folder)
    return folder


@pytest.fixture(scope="module")
def expected(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The tree that the local target makes."""
    output = tmp_path_factory.mktemp("expected") / "out"
    run_job(source, output, instances=2, fps="native")
    return tree(output)


def start(source: Path, tmp_path: Path, **options: Any) -> ContainerJob:
    return ContainerJob(
        source, tmp_path / "out", **{"instances": 3, "fps": "native", "scheduling": SCHEDULING, **options}
    )


def ends_well(job: ContainerJob, expected: dict[str, str]) -> None:
    assert job.wait() == 0, job.text
    check_output(job.output)
    assert tree(job.output) == expected
    assert job.leftovers() == []


def test_undisturbed_and_beside_another_job(source: Path, tmp_path: Path, expected: dict[str, str]) -> None:
    jobs = [start(source, tmp_path / name, slots=None) for name in ("one", "other")]
    for job in jobs:
        job.until_extracting("algo-1")
    for job in jobs:
        ends_well(job, expected)
        assert [host.slots for host in summary(job.output).hosts] == [1, 1, 1], "by the CPU time of each"


def test_a_host_is_killed(source: Path, tmp_path: Path, expected: dict[str, str]) -> None:
    job = start(source, tmp_path)
    job.until_extracting("algo-3")
    docker("kill", job.container("algo-3"))
    ends_well(job, expected)
    assert [host.state for host in summary(job.output).hosts] == ["up", "up", "lost"]
    assert "algo-3 was killed by SIGKILL: its work goes to the others" in job.text


def test_a_host_is_paused_beyond_its_lease_and_goes_on(
    source: Path, tmp_path: Path, expected: dict[str, str]
) -> None:
    job = start(source, tmp_path)
    job.until_extracting("algo-2")
    docker("pause", job.container("algo-2"))
    job.until(lambda: job.lost("algo-2"))
    docker("unpause", job.container("algo-2"))
    ends_well(job, expected)


def test_a_host_loses_the_network_and_finds_it_again(
    source: Path, tmp_path: Path, expected: dict[str, str]
) -> None:
    job = start(source, tmp_path)
    job.until_extracting("algo-3")
    docker("network", "disconnect", job.network(), job.container("algo-3"))
    job.until(lambda: job.lost("algo-3"))
    docker("network", "connect", "--alias", "algo-3", job.network(), job.container("algo-3"))
    ends_well(job, expected)


def test_the_coordinator_is_killed(source: Path, tmp_path: Path, expected: dict[str, str]) -> None:
    job = start(source, tmp_path)
    job.until_extracting("algo-2")
    find = "import os; [os.kill(int(p), 9) for p in os.listdir('/proc') if p.isdigit() and "
    find += "b'-m\\0coordinator\\0' in open(f'/proc/{p}/cmdline', 'rb').read()]"
    docker("exec", job.container("algo-1"), "python", "-c", find)
    job.until(lambda: any(e["event"] == "restarted" for e in job.journal()))
    ends_well(job, expected)


@contextlib.contextmanager
def slow_link(job: ContainerJob, host: str) -> Iterator[None]:
    """200 ms of delay and 5 % of loss on what a host sends."""
    pid = str(job.first_process(host))
    netem = ["tc", "qdisc", "add", "dev", "eth0", "root", "netem", "delay", "200ms", "loss", "5%"]
    with contextlib.suppress(FileNotFoundError):
        if subprocess.run(["nsenter", "-t", pid, "-n", *netem], capture_output=True).returncode == 0:
            yield
            return
    command = [sys.executable, "-m", "tests.slow_link", pid, "0.2", "0.05"]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"the link is slow\n"
            yield
        finally:
            process.kill()


@pytest.mark.skipif(os.getuid() != 0, reason="a slow link needs root's rights on the network")
def test_links_are_slow_and_lossy(source: Path, tmp_path: Path, expected: dict[str, str]) -> None:
    job = start(source, tmp_path)
    job.until_extracting("algo-2")
    with slow_link(job, "algo-2"), slow_link(job, "algo-3"):
        ends_well(job, expected)


def test_hosts_come_in_any_order_and_one_never(
    source: Path, tmp_path: Path, expected: dict[str, str]
) -> None:
    # until the primary is there, its name is not to be found; the others wait for it
    scheduling = SchedulingOptions(
        unit_span_s=0.5, cut="anywhere", heartbeat_s=0.5, lease_s=5.0, host_wait_s=30.0
    )
    late = {"algo-1": 6.0, "algo-2": 9.0, "algo-4": -1.0}
    job = start(source, tmp_path, instances=4, late=late, scheduling=scheduling)
    job.until_extracting("algo-1")
    ends_well(job, expected)
    assert {host.host for host in summary(job.output).hosts if host.units} >= {"algo-1", "algo-3"}


@pytest.mark.skipif(os.getuid() != 0, reason="a small disk needs the right to mount a tmpfs")
def test_a_disk_is_full(source: Path, tmp_path: Path, expected: dict[str, str]) -> None:
    job = start(source, tmp_path, disk={"algo-2": 300_000})
    job.until_extracting("algo-1")
    ends_well(job, expected)


def test_all_are_stopped_and_the_job_is_resumed(
    source: Path, tmp_path: Path, expected: dict[str, str]
) -> None:
    job = start(source, tmp_path)
    job.until_extracting("algo-2")
    job.until_extracting("algo-3")
    docker("stop", *(job.container(f"algo-{number}") for number in (1, 2, 3)))
    assert job.wait() != 0
    kept = tree(job.output)
    assert kept
    assert kept.items() <= expected.items()
    again = start(source, tmp_path, instances=2, resume=True)
    again.until_extracting("algo-1")
    ends_well(again, expected)
    assert summary(again.output).taken_over > 0
