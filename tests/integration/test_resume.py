"""A job that was stopped is continued with --resume: the tree and the manifest of one that was not."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from framefleet.launcher.demo import make_demo_set
from tests.helpers.jobs import REPOSITORY, Job, check_output, rows, run_job, summary, tree

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="processes of a host are found in /proc"
)

COLUMNS = ("video", "sample", "pts", "time_base", "target_s", "file", "sha256", "status")
MODES: dict[str, dict[str, Any]] = {
    "5 fps": {"sampling": {"fps": "5"}},
    "native, some dropped": {"sampling": {"fps": "native"}, "image": {"dedup": 0, "min_sharpness": 60.0}},
    "every 7th, 15 frames, other names": {
        "sampling": {"every": 7, "max_frames_per_video": 15},
        "image": {"name_template": "epic-kitchens"},
    },
}


@pytest.fixture(scope="module")
def source(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_demo_set(tmp_path_factory.mktemp("resume") / "demo", lengths_s=(6, 2), loop_frames=25)
    for name in ("h264-open-mkv.mkv", "vp9.webm"):
        shutil.copy(clips / name, folder)
    (folder / "broken.mp4").write_bytes(b"no video at all" * 100)
    return folder


def manifest(output: Path) -> list[tuple[object, ...]]:
    return sorted(tuple(row[name] for name in COLUMNS) for row in rows(output))


def in_a_row(output: Path) -> set[str]:
    """The files of units that follow each other from a video's first position on."""
    found: set[str] = set()
    position: dict[str, int | None] = {}
    for row in sorted(rows(output), key=lambda row: (row["video"], row["unit_start"], row["sample"])):
        if position.get(row["video"], 0) in (row["unit_start"], row["unit_stop"]):
            position[row["video"]] = row["unit_stop"]
            found |= {row["file"].removeprefix("frames/")} if row["file"] else set()
    return found


def interrupted(source: Path, output: Path, options: Mapping[str, Any]) -> Job:
    """A job that is stopped when each host has done some units, and is in the middle of another."""
    job = Job(source, output, held_after=3, instances=3, **options)
    job.until_held("algo-1", "algo-2", "algo-3")
    job.until_told("committed", times=3)  # what lies behind a unit that is held may have to wait for it
    job.process.send_signal(signal.SIGINT)
    assert job.wait() == 130, job.text
    check_output(output)
    return job


@pytest.mark.parametrize("mode", MODES)
def test_an_interrupted_job_goes_on(source: Path, tmp_path: Path, mode: str) -> None:
    options = MODES[mode]
    run_job(source, tmp_path / "whole", instances=2, **options)
    expected = tree(tmp_path / "whole")
    output = tmp_path / "out"
    interrupted(source, output, options)
    first = tree(output)
    assert 0 < len(first) < len(expected)
    # where frames are numbered in order, what lies behind a gap proves nothing
    proved = {*first} if mode == "5 fps" else in_a_row(output)
    times = {name: (output / "frames" / name).stat().st_mtime_ns for name in first}
    job = run_job(source, output, instances=2, slots=2, **options, resume=True)
    assert tree(output) == expected
    assert manifest(output) == manifest(tmp_path / "whole")
    done = summary(output)
    assert 0 < done.taken_over <= done.frames
    assert done.frames - done.dropped_frames == len(expected)
    assert sum(host.frames for host in done.hosts) == done.frames - done.taken_over
    assert (done.dropped_frames > 0) == ("dropped" in mode)
    assert f"{done.taken_over:,} taken over" in job.text
    assert proved
    assert proved == {name for name in first if (output / "frames" / name).stat().st_mtime_ns == times[name]}
    again = run_job(source, output, instances=1, **options, resume=True)
    assert tree(output) == expected
    assert manifest(output) == manifest(tmp_path / "whole")
    assert summary(output).taken_over > 0.9 * done.frames, again.text


def test_what_is_damaged_or_has_changed_is_done_again(source: Path, tmp_path: Path) -> None:
    private, output = tmp_path / "in", tmp_path / "out"
    shutil.copytree(source, private)
    sampling = {"fps": "5"}
    run_job(private, output, instances=2, sampling=sampling)
    expected = tree(output)
    frames = sorted(expected)
    (output / "frames" / frames[3]).unlink()
    (output / "frames" / frames[40]).write_bytes(b"short")
    shutil.copy(private / "vp9.webm", private / "h264-open-mkv.mkv")
    run_job(private, tmp_path / "whole", instances=1, sampling=sampling)
    run_job(private, output, instances=2, sampling=sampling, resume=True)
    assert tree(output) == tree(tmp_path / "whole") != expected
    assert 0 < summary(output).taken_over < len(expected) - 2
    assert manifest(output) == manifest(tmp_path / "whole")


def test_what_a_killed_launcher_left_is_taken_over(source: Path, tmp_path: Path) -> None:
    sampling = {"fps": "native"}
    run_job(source, tmp_path / "whole", instances=2, sampling=sampling)
    output = tmp_path / "out"
    job = Job(source, output, held_after=4, instances=2, sampling=sampling)
    job.until_held("algo-1", "algo-2")
    job.until_told("committed", times=4)
    os.killpg(job.process.pid, signal.SIGKILL)
    job.wait()
    while job.leftovers():
        os.sched_yield()
    run_job(source, output, instances=3, sampling=sampling, resume=True)
    assert tree(output) == tree(tmp_path / "whole")
    assert manifest(output) == manifest(tmp_path / "whole")
    assert summary(output).taken_over > 0


def test_sharded_jobs_go_on_too(source: Path, tmp_path: Path) -> None:
    sampling = {"fps": "5"}
    run_job(source, tmp_path / "whole", instances=2, sampling=sampling)
    output = tmp_path / "out"
    interrupted(source, output, {"sampling": sampling})
    run_job(source, output, instances=2, sampling=sampling, mode="sharded", resume=True)
    assert tree(output) == tree(tmp_path / "whole")
    assert manifest(output) == manifest(tmp_path / "whole")
    assert summary(output).taken_over > 0


def launch(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "launch.py", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)


def test_other_options_are_refused(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    folders = ["--input", str(source), "--output", str(output)]
    assert launch(*folders, "--fps", "2").returncode == 0
    before = tree(output)
    for changed, words in [
        (["--fps", "1"], "--fps 2, and now it is 1"),
        (["--fps", "2", "--resize", "long:64"], "--resize left out, and now it is long:64"),
        (["--fps", "2", "--format", "png"], "--format jpg, and now it is png"),
        (["--every", "3"], "--every left out, and now it is 3"),
    ]:
        refused = launch(*folders, *changed, "--resume")
        assert refused.returncode == 2, refused.stderr
        assert words in refused.stderr
    assert launch(*folders, "--fps", "2").returncode == 2, "without --resume it is another job"
    again = launch(*folders, "--fps", "4/2", "--quality", "95", "--instances", "2", "--resume")
    assert again.returncode == 0, again.stderr
    assert tree(output) == before
