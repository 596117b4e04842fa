"""Faults in the middle of a job: it ends with exit code 0 and the same tree, or says why it cannot."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from framefleet.common.job.spec import SchedulingOptions
from framefleet.coordinator.journal import read_journal
from framefleet.launcher.demo import make_demo_set
from tests.helpers.jobs import Job, check_output, failures, run_job, summary, tree

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="processes of a host are found in /proc"
)

HOSTS = ("algo-1", "algo-2", "algo-3")
OF_LIST = "in the list that the primary host made"

SOON_LOST = SchedulingOptions(unit_span_s=0.5, cut="anywhere", heartbeat_s=0.5, lease_s=3.0, host_wait_s=60.0)


@pytest.fixture(scope="module")
def source(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two uneven videos, and small ones of other kinds: more than three held hosts can have begun."""
    folder = make_demo_set(tmp_path_factory.mktemp("faults") / "demo", lengths_s=(6, 2), loop_frames=25)
    for name in ("h264-open-mkv.mkv", "hevc-open-mp4.mp4", "vp9.webm"):
        shutil.copy(clips / name, folder)
    return folder


@pytest.fixture(scope="module")
def expected(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    output = tmp_path_factory.mktemp("expected") / "out"
    run_job(source, output, instances=2, fps="native")
    return tree(output)


def start(source: Path, tmp_path: Path) -> Job:
    """A job whose hosts are held when each slot has done a unit or two."""
    return Job(source, tmp_path / "out", held_after=2, instances=3, fps="native", scheduling=SOON_LOST)


def ends_well(job: Job, expected: dict[str, str]) -> None:
    job.gate.open()
    assert job.wait() == 0, job.text
    check_output(job.output)
    assert tree(job.output) == expected
    assert job.leftovers() == []


@pytest.mark.parametrize("host", ["algo-1", "algo-2"])
def test_a_slot_is_killed(source: Path, tmp_path: Path, expected: dict[str, str], host: str) -> None:
    job = start(source, tmp_path)
    job.until_held(host)
    (slot,) = job.until(lambda: job.pids(host, slots=True))
    os.kill(slot, signal.SIGKILL)
    ends_well(job, expected)


def test_slots_are_killed_again_and_again(source: Path, tmp_path: Path, expected: dict[str, str]) -> None:
    job = start(source, tmp_path)
    job.until_held(*HOSTS)  # a probe that is killed four times gives its video up
    chance = random.Random(1)
    for _ in range(6):
        host = chance.choice(HOSTS)
        pids = job.until(lambda host=host: job.pids(host, slots=True))  # type: ignore[misc]
        os.kill(chance.choice(pids), signal.SIGKILL)
        told = len(job.journal())
        job.until(lambda n=told: len(job.journal()) > n)  # type: ignore[misc]
    ends_well(job, expected)


def test_a_host_is_killed(source: Path, tmp_path: Path, expected: dict[str, str]) -> None:
    job = start(source, tmp_path)
    job.until_held("algo-2")
    job.kill_group("algo-2", signal.SIGKILL)
    ends_well(job, expected)
    assert [host.state for host in summary(job.output).hosts] == ["up", "lost", "up"]


def test_a_host_is_killed_before_it_does_anything(
    source: Path, tmp_path: Path, expected: dict[str, str]
) -> None:
    job = start(source, tmp_path)
    job.until(lambda: job.pids("algo-3", slots=False))
    job.kill_group("algo-3", signal.SIGKILL)
    ends_well(job, expected)


def test_a_host_stops_for_longer_than_its_lease_and_comes_back(
    source: Path, tmp_path: Path, expected: dict[str, str]
) -> None:
    job = start(source, tmp_path)
    job.until_held("algo-3")
    job.kill_group("algo-3", signal.SIGSTOP)
    job.until_told("host_lost", of="algo-3")
    job.kill_group("algo-3", signal.SIGCONT)
    job.until_back("algo-3")
    ends_well(job, expected)


def test_a_host_stops_for_ever(source: Path, tmp_path: Path, expected: dict[str, str]) -> None:
    job = start(source, tmp_path)
    job.until_held("algo-2")
    job.kill_group("algo-2", signal.SIGSTOP)
    ends_well(job, expected)


def test_the_agent_alone_is_killed(source: Path, tmp_path: Path, expected: dict[str, str]) -> None:
    job = start(source, tmp_path)
    job.until_held("algo-2")
    (agent,) = job.pids("algo-2", slots=False)
    os.kill(agent, signal.SIGKILL)
    ends_well(job, expected)


def test_a_file_vanishes(source: Path, tmp_path: Path, expected: dict[str, str]) -> None:
    private = tmp_path / "in"
    shutil.copytree(source, private)
    (long,) = (path.name for path in private.glob("bunny-006s*"))
    of_long = Path(long).stem + "/"
    job = Job(private, tmp_path / "out", held_after=1, instances=3, fps="native")
    job.until_held(*HOSTS)  # so that most of the long one has yet to be done
    (private / long).unlink()
    for host in HOSTS:  # a slot that has the file open may read on
        for slot in job.pids(host, slots=True):
            os.kill(slot, signal.SIGKILL)
    job.gate.open()
    assert job.wait() == 1, job.text
    check_output(job.output)
    (failure,) = failures(job.output).values()
    assert (failure.video, failure.kind) == (long, "lost")  # perhaps a folder that is mounted no longer
    assert "vanished" in failure.reason
    assert long in job.text
    # whatever was read before is right, and nothing else is lost
    found = tree(job.output)
    assert found.items() <= expected.items()
    assert {name for name in expected if not name.startswith(of_long)} <= found.keys()


def complaints(entries: Iterable[dict[str, Any]]) -> list[str]:
    """What hosts said of videos that they could not probe or extract."""
    entries = list(entries)
    told = [text for entry in entries if entry["event"] == "probed" for _, text in entry["refused"]]
    return told + [entry["reason"] for entry in entries if entry["event"] == "failed"]


def shortened(source: Path, target: Path) -> str:
    """Copies that lack their end: some still open, and would seem to end early."""
    shutil.copytree(source, target)
    for path in target.iterdir():
        os.truncate(path, path.stat().st_size * 3 // 4)
    return str(target)


@pytest.fixture(scope="module")
def half_readable(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos whose index lies at the front, and at the end; all are longer than ``READABLE_BYTES``."""
    folder = tmp_path_factory.mktemp("readable")
    for name in ("h264-closed.mp4", "h264-fragmented.mp4", "h264-open-mkv.mkv", "h264-no-cues.mkv"):
        shutil.copy(clips / name, folder)
        assert (folder / name).stat().st_size > READABLE_BYTES
    return folder


READABLE_BYTES = 12_000


@pytest.mark.parametrize("host", ["algo-1", "algo-2"])
@pytest.mark.parametrize("code", [errno.ESTALE, errno.EIO, 0], ids=["ESTALE", "EIO", "cut short"])
def test_what_one_host_may_not_read_another_does(
    half_readable: Path, tmp_path: Path, host: str, code: int
) -> None:
    run_job(half_readable, tmp_path / "right", instances=1)
    refused = {host: (code, READABLE_BYTES)}
    job = run_job(half_readable, tmp_path / "out", instances=2, refusing=refused)
    assert tree(job.output) == tree(tmp_path / "right")
    assert failures(job.output) == {}
    assert "cut short or damaged" not in job.text


@pytest.mark.parametrize("hosts", [1, 2])
def test_what_no_host_may_read_is_lost_and_says_why(half_readable: Path, tmp_path: Path, hosts: int) -> None:
    refused = {f"algo-{number}": (errno.ESTALE, READABLE_BYTES) for number in range(1, hosts + 1)}
    job = Job(half_readable, tmp_path / "out", instances=hosts, refusing=refused)
    assert job.wait() == 1, job.text
    check_output(job.output)
    found = failures(job.output)
    assert {failure.video for failure in found.values()} == {path.name for path in half_readable.iterdir()}
    for failure in found.values():
        assert failure.kind == "lost"
        assert os.strerror(errno.ESTALE) in failure.reason


def test_copies_that_lack_their_end(source: Path, tmp_path: Path, expected: dict[str, str]) -> None:
    copies = {"algo-2": shortened(source, tmp_path / "short")}
    job = Job(source, tmp_path / "out", held_after=0, instances=3, fps="native", copies=copies)
    job.until(lambda: any(OF_LIST in text for text in complaints(job.journal())))
    ends_well(job, expected)
    entries = list(read_journal(job.output / "job" / "journal.jsonl"))
    assert {entry["host"] for entry in entries if entry["event"] == "failed"} <= {"algo-2"}


def test_a_list_made_of_copies_that_lack_their_end(source: Path, tmp_path: Path) -> None:
    copies = {"algo-1": shortened(source, tmp_path / "short")}
    job = Job(source, tmp_path / "out", held_after=0, instances=3, fps="native", copies=copies)
    job.until(lambda: any(OF_LIST in text for text in complaints(job.journal())))
    job.gate.open()
    assert job.wait() == 0, job.text
    told = failures(job.output)
    long = next(path.name for path in source.iterdir() if path.name.startswith("bunny-006"))
    assert OF_LIST in told[long].reason
    assert job.leftovers() == []


def test_the_coordinator_is_killed(source: Path, tmp_path: Path) -> None:
    job = start(source, tmp_path)
    job.until_held("algo-2")
    job.kill_group("algo-1", signal.SIGKILL)
    assert job.wait() == 1
    assert "algo-1" in job.text
    assert job.leftovers() == []
    assert list(job.output.glob(".framefleet-*/")) == []


def test_ctrl_c_ends_everything_and_leaves_what_is_whole(
    source: Path, tmp_path: Path, expected: dict[str, str]
) -> None:
    job = start(source, tmp_path)
    job.until_told("committed")
    job.until_held(*HOSTS)
    pids = [pid for host in HOSTS for pid in job.pids(host, slots=True)]
    job.process.send_signal(signal.SIGINT)
    assert job.wait() == 130, job.text
    assert job.leftovers() == []
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    check_output(job.output)
    found = tree(job.output)
    assert found
    assert found.items() <= expected.items()
    assert summary(job.output).outcome == "interrupted"


def test_no_space_left(source: Path, tmp_path: Path, expected: dict[str, str]) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if os.system(f"mount -t tmpfs -o size=16m tmpfs '{small}' 2>/dev/null") != 0:
        pytest.skip("a small disk needs the right to mount a tmpfs")
    try:
        job = Job(source, small / "out", instances=3, fps="native", format="png")
        assert job.wait() == 1
        assert "No space left on device" in job.text
        assert job.leftovers() == []
    finally:
        os.system(f"umount '{small}'")
