"""The real image on what SageMaker Processing gives a container (docs/design.md, section 9)."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.helpers.jobs import check_output, summary, tree
from tests.helpers.platform_hosts import Ended, PlatformJob, engine

pytestmark = pytest.mark.timeout(600)

EXIT_MESSAGE_BYTES = 1024
KILLED, INTERRUPTED = 137, 130
APART_S = 20.0  # long enough for waits between tries to be as long as they get
NAMES = {
    1: ["localhost-7f"],
    2: ["node-b", "Node-A"],
    3: ["algo-1-tlntp", "algo-2-tlntp", "algo-3-tlntp"],
    12: sorted(f"algo-{number}" for number in range(1, 13)),
}


def check_message(ended: Ended) -> str:
    """What the platform shows; it is there, and short enough."""
    assert ended.message is not None, ended.log
    assert 0 < len(ended.message) <= EXIT_MESSAGE_BYTES
    return ended.message.decode()


@pytest.mark.parametrize("size", NAMES)
def test_any_number_of_hosts_of_any_name(
    size: int, source: Path, tmp_path: Path, expected: dict[str, str]
) -> None:
    names = NAMES[size]
    with PlatformJob(tmp_path, source, names, interface=None if size == 2 else "eth0") as job:
        for name in reversed(names):
            job.start(name)
        ended = {name: job.ended(name) for name in names}
    assert {name: each.code for name, each in ended.items()} == dict.fromkeys(names, 0), ended
    assert "completed" in check_message(ended[min(names)])
    assert [name for name in names if ended[name].message is not None] == [min(names)]
    assert [each.elsewhere for each in ended.values()] == [set()] * size
    job.upload(tmp_path / "out")
    check_output(tmp_path / "out")
    assert tree(tmp_path / "out") == expected


def test_hosts_that_start_apart(source: Path, tmp_path: Path, expected: dict[str, str]) -> None:
    names = NAMES[3]
    with PlatformJob(tmp_path, source, names, interface="eth0", held_after=1) as job:
        job.start(names[1])
        time.sleep(APART_S)
        job.start(names[0])
        job.until(lambda: list(job.committed()) and job.gate.holds(names[1]))
        job.start(names[2])
        job.until(lambda: all(map(job.gate.holds, names)))
        job.gate.open()
        ended = [job.ended(name) for name in names]
    assert [each.code for each in ended] == [0, 0, 0], ended
    job.upload(tmp_path / "out")
    assert tree(tmp_path / "out") == expected
    units = {host.host: host.units for host in summary(tmp_path / "out").hosts}
    assert set(units) == set(names)
    assert all(units.values()), "one waited for the first, and one came when others had begun"


def test_a_job_that_is_stopped_and_a_host_that_is_killed(
    source: Path, tmp_path: Path, expected: dict[str, str]
) -> None:
    names = NAMES[3]
    with PlatformJob(tmp_path, source, names, interface="eth0", held_after=1) as job:
        for name in names:
            job.start(name)
        job.until(lambda: list(job.committed()))
        engine("kill", job.container(names[2]))
        for name in (names[1], names[0]):  # a host that hears first that the job is over ends with 0
            engine("stop", "--time", "60", job.container(name))
        ended = [job.ended(name) for name in names]
    assert [each.code for each in ended] == [INTERRUPTED, INTERRUPTED, KILLED], ended
    assert "interrupted" in check_message(ended[0])
    assert ended[1].message is None
    job.upload(tmp_path / "out")  # what the manifest proves is whole, and the rest is not there
    made = tree(tmp_path / "out")
    assert made
    assert made.items() <= expected.items()


def test_a_host_that_fails_says_why(source: Path, tmp_path: Path) -> None:
    names = NAMES[2]
    with PlatformJob(tmp_path, source, names, interface="eth0") as job:
        job.start(names[0], config={"current_host": "somebody", "hosts": names})
        failed = job.ended(names[0])
    assert failed.code == 1
    assert "'current_host' is 'somebody'" in check_message(failed)
    assert failed.elsewhere == set()
