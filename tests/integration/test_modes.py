"""Every sampling mode through whole jobs: what the definition says, whoever does it and however it is cut."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from framefleet.common.job.spec import SchedulingOptions
from tests.helpers.jobs import failures, rows, run_job, summary, tree
from tests.helpers.oracle_reference import Expected, reference

WHOLE = SchedulingOptions(cut="never", host_wait_s=60.0)
CLIPS = {
    "h264-closed.mp4": "plain.mp4",
    "h264-open-mkv.mkv": "open.mkv",
    "h264-vfr-mp4.mp4": "a/vfr.mp4",
    "hevc-open-mp4.mp4": "a/hevc.mp4",
    "mpeg2-ts.ts": "stream.ts",
}
TIMES = [
    Fraction(0),
    Fraction(1, 3),
    Fraction(1, 2),
    Fraction(51, 100),
    Fraction(6, 5),
    Fraction(2),
    Fraction(99),
]
THIRD = Fraction(1, 3)


@pytest.fixture(scope="module")
def videos(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("modes")
    for name, target in CLIPS.items():
        (folder / target).parent.mkdir(exist_ok=True)
        shutil.copy(clips / name, folder / target)
    return folder


def pictures(output: Path, video: str) -> list[tuple[int, int, str]]:
    """(sample, pts, MD5 of the pixels) of a video's frames, which are PNG."""
    found = []
    for row in rows(output):
        if row["video"] == video:
            image = cv2.imread(str(output / row["file"]), cv2.IMREAD_COLOR)
            assert image is not None
            found.append(
                (row["sample"], row["pts"], hashlib.md5(np.ascontiguousarray(image).tobytes()).hexdigest())
            )
    return sorted(found)


def as_triples(expected: list[Expected]) -> list[tuple[int, int, str]]:
    return [(frame.sample, frame.pts, frame.bgr_md5) for frame in expected]


def check(
    videos: Path, tmp_path: Path, sampling: dict[str, Any], want: Callable[[Path], list[Expected]]
) -> None:
    """An uncut job on one host and a finely cut one on three give the same, and what is wanted."""
    run_job(videos, tmp_path / "whole", sampling=sampling, format="png", instances=1, scheduling=WHOLE)
    run_job(videos, tmp_path / "cut", sampling=sampling, format="png", instances=3)
    assert tree(tmp_path / "cut") == tree(tmp_path / "whole")
    total = 0
    for video in CLIPS.values():
        expected = as_triples(want(videos / video))
        assert pictures(tmp_path / "whole", video) == expected, video
        total += len(expected)
    assert summary(tmp_path / "cut").frames == summary(tmp_path / "whole").frames == total
    assert total > 0


@pytest.mark.parametrize(
    ("sampling", "wanted"),
    [
        ({"every": 7}, {"every": 7}),
        (
            {"every": 3, "start": "0.5", "end": "0:01.9"},
            {"every": 3, "start": Fraction(1, 2), "end": Fraction(19, 10)},
        ),
        ({"keyframes": True}, {"keyframes": True}),
        ({"fps": "7", "start": "1/3"}, {"rate": Fraction(7), "start": THIRD}),
        ({"fps": "native", "max_frames_per_video": 31}, {"limit": 31}),
        ({"every": 2, "max_frames_per_video": 9}, {"every": 2, "limit": 9}),
    ],
    ids=str,
)
def test_a_mode(videos: Path, tmp_path: Path, sampling: dict[str, Any], wanted: dict[str, Any]) -> None:
    check(videos, tmp_path, sampling, lambda path: reference(path, **wanted))


def test_times_for_every_video_and_ranges_of_some(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "times.txt").write_text("# any order\n2\n99\n0:00.5\n\n1/3\n0\n1.2\n0.51\n0.5\n")
    (tmp_path / "ranges.csv").write_text("video,start,end\nplain.mp4,0.4,\na/vfr.mp4,,1.2\n")
    ranges: dict[str, dict[str, Any]] = {
        "plain.mp4": {"start": Fraction(2, 5)},
        "vfr.mp4": {"end": Fraction(6, 5)},
    }
    sampling = {
        "timestamps": str(tmp_path / "times.txt"),
        "ranges": str(tmp_path / "ranges.csv"),
        "end": "90",
    }
    check(
        videos,
        tmp_path,
        sampling,
        lambda path: reference(path, times=TIMES, **ranges.get(path.name, {"end": Fraction(90)})),
    )


def test_only_videos_that_a_list_of_times_names(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "times.csv").write_text("video,seconds\na/vfr.mp4,0.7\na/vfr.mp4,99\nnone.mp4,1\n")
    job = run_job(videos, tmp_path / "out", sampling={"timestamps": str(tmp_path / "times.csv")})
    assert set(tree(tmp_path / "out")) == {"a/vfr/00000000.jpg"}
    done = summary(tmp_path / "out")
    assert (done.videos, done.videos_done, done.frames) == (1, 1, 1)
    assert "holds no such file" in failures(tmp_path / "out")["none.mp4"].reason
    assert "none.mp4" in job.text


def test_a_job_that_leaves_videos_without_frames_says_so(videos: Path, tmp_path: Path) -> None:
    run_job(videos, tmp_path / "out", sampling={"fps": "5", "start": "2.5"}, mode="sharded", instances=2)
    assert {Path(name).parent.name for name in tree(tmp_path / "out")} == {"vfr"}
    notes = " ".join(summary(tmp_path / "out").notes)
    assert all(video in notes for video in CLIPS.values() if "vfr" not in video)
