"""Videos that are not what one host told, and files that change while a job reads them."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from framefleet.common.job.spec import SchedulingOptions
from framefleet.coordinator.journal import read_journal
from framefleet.launcher.demo import make_demo_set
from tests.helpers.jobs import Job, check_output, failures, run_job, tree

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="processes of a host are found in /proc"
)
# no host is taken for lost, however slow the machine
PATIENT = SchedulingOptions(
    unit_span_s=0.5, cut="anywhere", heartbeat_s=0.5, lease_s=300.0, host_wait_s=300.0
)
HOSTS = ("algo-1", "algo-2", "algo-3")


@pytest.fixture(scope="module")
def source(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video that all hosts work on, a film of fewer bytes, and another that is left alone."""
    folder = make_demo_set(tmp_path_factory.mktemp("identity") / "demo", lengths_s=(8, 3), loop_frames=25)
    shutil.copy(clips / "h264-open-mkv.mkv", folder)
    return folder


@pytest.fixture(scope="module")
def expected(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    output = tmp_path_factory.mktemp("expected") / "out"
    run_job(source, output, instances=2)
    return tree(output)


def events(job: Job, event: str) -> list[dict[str, object]]:
    return [entry for entry in read_journal(job.output / "job" / "journal.jsonl") if entry["event"] == event]


@pytest.mark.parametrize("instances", [2, 3])
@pytest.mark.parametrize(
    "lie", [{"first_pts": 4000}, {"time_base_den": 1}, {"width": 2}, {"checksum": "0"}], ids=str
)
def test_what_a_host_tells_wrong_changes_no_frame(
    source: Path, tmp_path: Path, expected: dict[str, str], lie: dict[str, int | str], instances: int
) -> None:
    job = Job(source, tmp_path / "out", instances=instances, lies={"algo-2": lie}, scheduling=PATIENT)
    assert job.wait() == 0, job.text
    check_output(job.output)
    assert tree(job.output) == expected
    assert events(job, "voided"), "nobody was told wrong"


def longest(folder: Path) -> Path:
    return max(folder.iterdir(), key=lambda path: path.stat().st_size)


def held(source: Path, tmp_path: Path) -> tuple[Job, Path]:
    """A job whose hosts each have done a unit, and are in the middle of another; the long video is at work,
    and a part of it is published."""
    private = Path(shutil.copytree(source, tmp_path / "in"))
    long = longest(private)
    job = Job(private, tmp_path / "out", instances=3, held_after=2, scheduling=PATIENT)

    def is_halfway() -> bool:
        entries = job.journal()
        published = [e for e in entries if e["event"] == "committed" and e["video"] == long.name]
        return bool(published) and all(map(job.gate.holds, HOSTS))

    job.until(is_halfway)
    return job, long


def is_lost(job: Job, long: Path, expected: dict[str, str]) -> None:
    if job.process.returncode is None:
        job.wait()
    assert job.process.returncode == 1, job.text
    check_output(job.output)
    failure = failures(job.output)[long.name]
    assert (failure.kind, failure.start_s) == ("lost", None)
    assert "changed while the job ran" in failure.reason
    assert long.name in job.text
    found = tree(job.output)
    assert found == {name: told for name, told in expected.items() if not name.startswith(f"{long.stem}/")}


def test_a_file_is_overwritten_by_another_film_of_its_size(
    clips: Path, source: Path, tmp_path: Path, expected: dict[str, str]
) -> None:
    job, long = held(source, tmp_path)
    other = (clips / "h264-closed.mp4").read_bytes()
    padding = long.stat().st_size - len(other)
    with long.open("r+b") as file:  # the same file, as rsync --inplace leaves it
        file.write(other + padding.to_bytes(4, "big") + b"free" + bytes(padding - 8))
    job.gate.open()
    is_lost(job, long, expected)


def test_a_file_is_replaced_by_a_copy_of_another_time(
    source: Path, tmp_path: Path, expected: dict[str, str]
) -> None:
    job, long = held(source, tmp_path)
    fresh = long.with_name(".fresh")
    shutil.copyfile(long, fresh)
    fresh.replace(long)
    for host in HOSTS:  # a slot that has the file open reads on in the old one
        for slot in job.pids(host, slots=True):
            os.kill(slot, signal.SIGKILL)
    job.gate.open()
    is_lost(job, long, expected)


def test_a_file_is_replaced_where_all_slots_have_the_old_one_open(
    source: Path, tmp_path: Path, expected: dict[str, str]
) -> None:
    job, long = held(source, tmp_path)
    fresh = long.with_name(".fresh")
    fresh.write_bytes(b"no film")
    fresh.replace(long)
    job.gate.open()
    if job.wait():  # a slot had left the file for another, and came back
        is_lost(job, long, expected)
    else:
        check_output(job.output)
        assert tree(job.output) == expected
