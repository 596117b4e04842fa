"""The coordinator is killed in the middle of a job: it comes back from its journal, and nothing shows it."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
from pathlib import Path

import msgspec
import pytest

from framefleet.launcher.demo import make_demo_set
from tests.helpers.jobs import Job, check_output, failures, rows, run_job, summary, tree

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="processes of a host are found in /proc"
)

# what an undisturbed run and a disturbed one must agree on
COLUMNS = ("video", "sample", "pts", "time_base", "target_s", "file", "sha256", "status")
MODES = {"native": {"fps": "native"}, "every 7th": {"every": 7}}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_demo_set(tmp_path_factory.mktemp("restart") / "demo", lengths_s=(6, 2), loop_frames=25)


def manifest(output: Path) -> list[tuple[object, ...]]:
    return sorted(tuple(row[name] for name in COLUMNS) for row in rows(output))


@pytest.mark.parametrize("mode", MODES)
def test_the_coordinator_is_killed_again_and_again(source: Path, tmp_path: Path, mode: str) -> None:
    run_job(source, tmp_path / "whole", instances=2, sampling=MODES[mode])
    chance = random.Random(mode)
    job = Job(source, tmp_path / "out", held_after=1, instances=2, sampling=MODES[mode])
    for kills in range(5):
        told = len(job.journal()) + chance.randrange(2, 14)
        # the job goes on by a unit of each host, and no further
        job.until(lambda told=told: job.is_held("algo-1", "algo-2") or len(job.journal()) >= told)  # type: ignore[misc]
        (pid,) = job.until(job.coordinators)
        os.kill(pid, signal.SIGKILL)
        job.gate.let(kills + 2)
        job.until(lambda old=pid: job.coordinators() not in ([], [old]))  # type: ignore[misc]
    job.gate.open()
    assert job.wait() == 0, job.text
    check_output(job.output)
    assert tree(job.output) == tree(tmp_path / "whole")
    assert manifest(job.output) == manifest(tmp_path / "whole")
    done = summary(job.output)
    assert done.restarts == 5
    assert "started again" in job.text
    assert done.frames == len(tree(job.output)) == sum(host.frames for host in done.hosts)
    assert job.leftovers() == []


def test_what_runs_is_not_interrupted_and_what_is_committed_is_not_done_again(
    source: Path, tmp_path: Path
) -> None:
    job = Job(source, tmp_path / "out", held_after=2, instances=2, fps="native")
    job.until_held("algo-1", "algo-2")
    (pid,) = job.coordinators()
    os.kill(pid, signal.SIGKILL)
    journal = job.until(lambda: [e["event"] for e in job.journal()].count("restarted") and job.journal())
    slots = [pid for host in ("algo-1", "algo-2") for pid in job.pids(host, slots=True)]
    assert slots, "they live on"
    job.gate.open()
    assert job.wait() == 0, job.text
    lines = (job.output / "job" / "journal.jsonl").read_bytes().splitlines()
    entries = [msgspec.json.decode(line) for line in lines]
    assert entries[: len(journal)] == journal
    committed = [(e["video"], e["start"]) for e in entries if e["event"] == "committed"]
    assert len(set(committed)) == len(committed), "published twice"
    leased = {(e["unit"], e["attempt"]) for e in entries if e["event"] == "leased"}
    assert len(leased) == sum(e["event"] == "leased" for e in entries)
    at = [e["event"] for e in entries].index("restarted")
    held = {e["unit"]: e for e in entries[:at] if e["event"] == "leased" and not e["probe"]}
    for entry in entries[:at]:
        if entry["event"] in ("staged", "failed", "released"):
            held.pop(entry["unit"], None)
    assert held, "something ran"
    again = [e["unit"] for e in entries[at:] if e["event"] == "leased" and e["unit"] in held]
    assert len(again) <= 1, "only one whose assignment was on its way may have to be told again"


def test_the_list_of_the_first_start_counts_whatever_becomes_of_the_input(
    source: Path, tmp_path: Path
) -> None:
    run_job(source, tmp_path / "whole", instances=2, fps="5")
    changed = tmp_path / "changed"
    shutil.copytree(source, changed)
    grown, *others = sorted(changed.iterdir(), key=lambda path: path.stat().st_size)
    job = Job(changed, tmp_path / "out", instances=2, fps="5")
    job.until(job.journal)
    (pid,) = job.coordinators()
    os.kill(pid, signal.SIGSTOP)  # nothing ends before it is killed
    shutil.copy(others[0], changed / "later.mp4")
    with grown.open("ab") as file:
        file.write(bytes(5000))
    os.kill(pid, signal.SIGKILL)
    assert job.wait() == 0, job.text
    assert summary(job.output).restarts == 1
    assert set(failures(job.output)) <= {grown.name}

    def of_others(output: Path) -> dict[str, str]:
        return {name: digest for name, digest in tree(output).items() if not name.startswith(grown.stem)}

    assert of_others(job.output) == of_others(tmp_path / "whole")
    check_output(job.output)


def test_a_crash_loop_ends_with_a_reason(source: Path, tmp_path: Path) -> None:
    job = Job(source, tmp_path / "out", held_after=2, instances=2, fps="native")
    job.until_held("algo-1", "algo-2")
    (path,) = job.output.glob(".framefleet-*/algo-1/processing/output/job/journal.jsonl")
    (pid,) = job.coordinators()
    os.kill(pid, signal.SIGSTOP)
    path.write_bytes(path.read_bytes() + b"no entry\n")
    os.kill(pid, signal.SIGKILL)
    assert job.wait() == 1
    assert "of the journal" in job.text
    assert "--resume" in job.text
    assert job.leftovers() == []
