"""Whole jobs on a local cluster: the same tree, whoever does the work and however it is cut."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from framefleet.common.job.spec import Mode, SchedulingOptions
from framefleet.common.status import nothing_made
from framefleet.launcher.demo import make_demo_set
from tests.helpers.jobs import Job, check_output, failures, rows, run_job, summary, tree


@pytest.fixture(scope="module")
def few(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some clips in folders, two of which differ by suffix alone."""
    folder = tmp_path_factory.mktemp("few")
    for name, target in [
        ("h264-closed.mp4", "a.mp4"),
        ("h264-open-mkv.mkv", "a.mkv"),
        ("hevc-open-mp4.mp4", "day 1/cam.mp4"),
        ("h264-vfr-mp4.mp4", "day 2/cam.mp4"),
        ("rotated-90.mp4", "Ünï視.mp4"),
        ("mpeg2-ts.ts", "b.ts"),
    ]:
        (folder / target).parent.mkdir(exist_ok=True)
        shutil.copy(clips / name, folder / target)
    return folder


@pytest.mark.parametrize("fps", ["5", "native"])
def test_the_same_tree_from_any_cluster(few: Path, tmp_path: Path, fps: str) -> None:
    whole = SchedulingOptions(cut="never", host_wait_s=60.0)
    run_job(few, tmp_path / "one", instances=1, fps=fps, scheduling=whole)
    expected = tree(tmp_path / "one")
    assert expected
    run_job(few, tmp_path / "many", instances=8, fps=fps)
    assert tree(tmp_path / "many") == expected
    assert summary(tmp_path / "many").units > 3 * summary(tmp_path / "one").units, "it was cut"
    run_job(few, tmp_path / "sharded", instances=3, slots=2, fps=fps, mode="sharded")
    assert tree(tmp_path / "sharded") == expected
    keys = (
        "video",
        "sample",
        "pts",
        "time_base",
        "target_s",
        "file",
        "sha256",
        "status",
        "rotation",
        "width",
    )
    manifests = [
        sorted(tuple(row[key] for key in keys) for row in rows(tmp_path / name))
        for name in ("one", "many", "sharded")
    ]
    assert manifests[0] == manifests[1] == manifests[2]


def test_frames_lie_where_the_design_says(few: Path, tmp_path: Path) -> None:
    run_job(few, tmp_path / "out", instances=2, slots=2)
    folders = {str(Path(name).parent) for name in tree(tmp_path / "out")}
    assert folders == {"a.mp4", "a.mkv", "day 1/cam", "day 2/cam", "Ünï視", "b"}
    done = summary(tmp_path / "out")
    assert (done.outcome, done.videos, done.videos_done, done.failures) == ("completed", 6, 6, 0)
    assert done.frames == len(tree(tmp_path / "out"))
    assert 0 < done.efficiency <= 1
    assert sum(host.frames for host in done.hosts) == done.frames
    assert (tmp_path / "out" / "job" / "journal.jsonl").is_file()


def test_more_than_nine_hosts(few: Path, tmp_path: Path) -> None:
    run_job(few, tmp_path / "out", instances=11)
    journal = [
        json.loads(line) for line in (tmp_path / "out" / "job" / "journal.jsonl").read_bytes().splitlines()
    ]
    # on a busy machine one may join twice
    joined = [entry["host"] for entry in journal if entry["event"] == "host_up"]
    assert set(joined) == {f"algo-{number}" for number in range(1, 12)}


def test_what_runs_is_split_for_an_idle_host(tmp_path: Path) -> None:
    source = make_demo_set(tmp_path / "in", lengths_s=(8,), loop_frames=25)
    run_job(source, tmp_path / "one", instances=1, fps="native", scheduling=SchedulingOptions(cut="never"))
    whole = SchedulingOptions(unit_span_s=1e4, unit_min_s=0.2, heartbeat_s=0.5)
    job = Job(source, tmp_path / "two", held_after=0, instances=2, fps="native", scheduling=whole)
    job.until_held("algo-1", "algo-2")
    job.gate.open()
    assert job.wait() == 0, job.text
    check_output(job.output)
    journal = (tmp_path / "two" / "job" / "journal.jsonl").read_text()
    assert '"event":"split"' in journal
    assert tree(tmp_path / "two") == tree(tmp_path / "one")
    assert {row["host"] for row in rows(tmp_path / "two")} == {"algo-1", "algo-2"}


@pytest.mark.parametrize("mode", ["coordinated", "sharded"])
def test_an_input_without_videos_is_no_success(tmp_path: Path, mode: Mode) -> None:
    (tmp_path / "in").mkdir()
    job = Job(tmp_path / "in", tmp_path / "empty", instances=2, mode=mode)
    assert job.wait() == 1, job.text
    assert nothing_made(0, 0) in job.text
    assert "efficiency" not in job.text
    assert summary(tmp_path / "empty").videos == 0
    (tmp_path / "in" / "notes.txt").write_text("no video\n" * 100)
    (tmp_path / "in" / "zero.mp4").touch()
    job = Job(tmp_path / "in", tmp_path / "none", instances=2, mode=mode)
    assert job.wait() == 1, job.text
    assert nothing_made(2, 2) in job.text
    assert "no work" in job.text
    found = failures(tmp_path / "none")
    assert set(found) == {"notes.txt", "zero.mp4"}
    assert "not a video" in found["notes.txt"].reason
    assert "empty" in found["zero.mp4"].reason


def test_options_that_fit_no_video_are_no_success(few: Path, tmp_path: Path) -> None:
    job = Job(few, tmp_path / "out", instances=2, sampling={"fps": "5", "start": "1:00:00"})
    assert job.wait() == 1, job.text
    assert nothing_made(6, 0) in job.text


def test_ten_thousand_empty_files_are_reported_and_the_video_among_them_is_done(
    clips: Path, tmp_path: Path
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for number in range(10_000):
        (source / f"{number}.mp4").touch()
    shutil.copy(clips / "h264-closed.mp4", source / "real.mp4")
    job = run_job(source, tmp_path / "out", instances=2, slots=2)
    assert len(failures(tmp_path / "out")) == 10_000
    assert {Path(name).parent.name for name in tree(tmp_path / "out")} == {"real"}
    assert "more" in job.text


NAMES = [
    b"sp ace.mp4",
    b"quo'te\".mp4",
    b"new\nline.mp4",
    "视频 é.mp4".encode(),
    b"\xff\xfe raw.mp4",
    b"[red]x.mp4",
]


def test_any_name_will_do(clips: Path, tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for name in NAMES:
        target = Path(os.fsdecode(bytes(source) + b"/" + name))
        shutil.copy(clips / "h264-closed.mp4", target)
        shutil.copy(__file__, f"{target}.broken.mp4")
    (source / "loop").symlink_to(source)
    run_job(source, tmp_path / "out", instances=2)
    done = summary(tmp_path / "out")
    assert (done.videos_done, done.failures) == (len(NAMES), len(NAMES))
    folders = {Path(name).parent.name for name in tree(tmp_path / "out")}
    assert folders == {"sp ace", "quo'te%22", "new%0Aline", "视频 é", "%FF%FE raw", "[red]x"}


def test_on_error_fail_changes_the_exit_code_and_nothing_else(clips: Path, tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    shutil.copy(clips / "h264-closed.mp4", source / "good.mp4")
    (source / "bad.mp4").write_bytes(b"\0" * 1000)
    run_job(source, tmp_path / "report", instances=2)
    strict = Job(source, tmp_path / "fail", instances=2, on_error="fail")
    assert strict.wait() == 1
    check_output(tmp_path / "fail")
    assert tree(tmp_path / "fail") == tree(tmp_path / "report")
    assert "bad.mp4" in strict.text
