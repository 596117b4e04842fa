"""Real files through real jobs: three hosts, short units cut anywhere, against the oracle of the design.

Runs where the folder of test videos lies beside the repository, as it does in CI.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import itertools
import json
import math
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import cv2
import pytest

from framefleet.common.job.spec import SchedulingOptions
from tests.helpers.jobs import REPOSITORY, check_output, failures, rows, run_job, summary, tree

SHARED = REPOSITORY.parent / "shared"
VIDEOS = SHARED / "videos"
pytestmark = pytest.mark.skipif(
    not VIDEOS.is_dir(), reason=f"the real test videos are not at {VIDEOS}; they are not shipped"
)

ABOUT_A_SECOND = SchedulingOptions(unit_span_s=1.0, cut="anywhere", host_wait_s=60.0)
# six minutes of 1080p: cut every second it would be decoded many times over, so it has a test of its own, of
# its first minutes
LONG, LONG_END_S = "androidx-media__long_1080p_lowbitrate.mp4", 120
# three of four packets are refused, and libav's Theora decoder fills what is missing with whatever its
# buffers held before: two decodes in one process differ already
UNREPEATABLE = {"iscc-samples__demo.ogv"}
# each frame of larger ones is looked at by test_clips_exact, unit by unit
MOST_BYTES = {"5": 450_000, "native": 120_000}
AT_KEYFRAMES = SchedulingOptions(unit_cap_s=1.0, host_wait_s=60.0)


def copied(folder: Path, videos: Iterable[Path]) -> Path:
    """An input folder of these videos."""
    folder.mkdir()
    for video in videos:
        shutil.copy(video, folder)
    return folder


@pytest.fixture(scope="module")
def oracle() -> ModuleType:
    spec = importlib.util.spec_from_file_location("oracle_frames", SHARED / "oracle" / "frames.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wanted(oracle: ModuleType, video: Path, fps: str, end_s: float = math.inf) -> dict[int, tuple[int, str]]:
    """Sample -> (pts, MD5 of the BGR pixels), as the oracle's command prints it, before ``end_s``."""
    printed = io.StringIO()
    decoded = oracle.decode_all

    def until_the_end(path: str) -> Iterator[Any]:
        return itertools.takewhile(lambda each: each[0].pts * each[1] < end_s + 5, decoded(path))

    with (
        contextlib.redirect_stdout(printed),
        mock.patch("sys.argv", ["frames.py", str(video), "--fps", fps]),
        mock.patch.object(oracle, "decode_all", until_the_end),
    ):
        oracle.main()
    frames = [json.loads(line) for line in printed.getvalue().splitlines()][:-1]
    return {
        frame["sample"]: (frame["pts"], frame["bgr_md5"])
        for frame in frames
        if Fraction(frame["target"]) < end_s
    }


def repeatable(output: Path) -> dict[str, str]:
    """Every frame's file and hash; of suspect frames of ``UNREPEATABLE`` the file alone."""
    found = tree(output)
    suspect = [row for row in rows(output) if row["status"] == "suspect"]
    for row in suspect:
        if row["video"] in UNREPEATABLE:
            found[row["file"].removeprefix("frames/")] = "suspect"
    return found


def delivered(output: Path) -> dict[str, dict[int, tuple[int, str]]]:
    found: dict[str, dict[int, tuple[int, str]]] = {}

    def look(row: dict[str, Any]) -> tuple[dict[str, Any], str]:
        picture = cv2.imread(str(output / row["file"]), cv2.IMREAD_COLOR)
        assert picture is not None, row["file"]
        return row, hashlib.md5(picture.tobytes()).hexdigest()

    with ThreadPoolExecutor(2) as pool:
        for row, digest in pool.map(look, rows(output)):
            found.setdefault(row["video"], {})[row["sample"]] = row["pts"], digest
    return found


def differing(
    oracle: ModuleType, source: Path, output: Path, fps: str, end_s: float = math.inf
) -> dict[str, tuple[int, int]]:
    """Videos of which not all is as the oracle has it: frames of the oracle, frames delivered."""
    found = delivered(output)
    expected = {video.name: wanted(oracle, video, fps, end_s) for video in sorted(source.iterdir())}
    return {
        name: (len(frames), len(found.get(name, {})))
        for name, frames in expected.items()
        if frames != found.get(name, {})
    }


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("fps", ["5", "native"])
def test_every_frame_of_every_clip_is_the_right_one(oracle: ModuleType, tmp_path: Path, fps: str) -> None:
    clips = [video for video in (VIDEOS / "clips").iterdir() if video.name != LONG]
    source = copied(tmp_path / "in", [clip for clip in clips if clip.stat().st_size <= MOST_BYTES[fps]])
    run_job(source, tmp_path / "out", instances=3, fps=fps, format="png", scheduling=ABOUT_A_SECOND)
    assert failures(tmp_path / "out") == {}
    assert differing(oracle, source, tmp_path / "out", fps) == {}


@pytest.mark.timeout(1200)
def test_every_frame_of_a_long_clip_is_the_right_one(oracle: ModuleType, tmp_path: Path) -> None:
    source = copied(tmp_path / "in", [VIDEOS / "clips" / LONG])
    part = {"fps": "1", "end": str(LONG_END_S)}
    run_job(source, tmp_path / "out", instances=3, sampling=part, format="png", scheduling=AT_KEYFRAMES)
    assert summary(tmp_path / "out").units > 10
    assert differing(oracle, source, tmp_path / "out", "1", LONG_END_S) == {}


@pytest.mark.timeout(1200)
def test_the_same_tree_from_one_host_and_from_eight_whatever_the_files_hold(tmp_path: Path) -> None:
    whole = SchedulingOptions(cut="never", host_wait_s=60.0)
    files = [path for path in VIDEOS.glob("*/*") if path.stat().st_size <= MOST_BYTES["5"]]
    source = copied(tmp_path / "in", files)
    run_job(source, tmp_path / "one", instances=1, slots=2, scheduling=whole)
    run_job(source, tmp_path / "eight", instances=8, scheduling=ABOUT_A_SECOND)
    run_job(source, tmp_path / "sharded", instances=8, mode="sharded", scheduling=whole)
    expected = repeatable(tmp_path / "one")
    assert repeatable(tmp_path / "eight") == expected
    assert repeatable(tmp_path / "sharded") == expected
    status = {(row["video"], row["sample"]): row["status"] for row in rows(tmp_path / "one")}
    for name in ("eight", "sharded"):
        assert {(row["video"], row["sample"]): row["status"] for row in rows(tmp_path / name)} == status
    assert {f.video: f.reason for f in failures(tmp_path / "eight").values()} == {
        f.video: f.reason for f in failures(tmp_path / "one").values()
    }


@pytest.mark.parametrize("folder", ["bad", "awkward"])
def test_broken_and_odd_files_end_as_a_user_would_hope(tmp_path: Path, folder: str) -> None:
    job = run_job(VIDEOS / folder, tmp_path / "out", instances=3, scheduling=ABOUT_A_SECOND)
    check_output(tmp_path / "out")
    done = summary(tmp_path / "out")
    assert not done.frames_lost
    assert done.videos_done + done.videos_failed == done.videos
    for video, failure in failures(tmp_path / "out").items():
        assert failure.kind == "input"
        assert len(failure.reason) > 10
        assert video in job.text
