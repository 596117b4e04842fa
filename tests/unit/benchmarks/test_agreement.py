"""Contestants are compared only if they take the same frames, and that is found out."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.agreement import CHECKED, Reference, agreement, checked, differing, read_reference
from benchmarks.ours import run as ours
from benchmarks.peers import opencv_grab, opencv_read, opencv_seek, pyav
from benchmarks.task import Task, from_json
from tests.helpers.clips import FRAMES, GOP

SAMPLING = "5 fps"


@pytest.fixture
def task(clips: Path, tmp_path: Path) -> Task:
    folder = tmp_path / "images"
    folder.mkdir()
    return Task(video=str(clips / "h264-closed.mp4"), folder=str(folder), rate="5")


@pytest.fixture
def reference(task: Task) -> Reference:
    return read_reference(Path(task.video), {SAMPLING: task})


def test_a_task_survives_the_command_line(task: Task) -> None:
    assert from_json(task.to_json()) == task
    small = Task(video="a", folder="b", rate=None, short=256, size=(455, 256), lossless=True)
    assert from_json(small.to_json()) == small


@pytest.mark.parametrize("take", [ours, opencv_read, opencv_grab, opencv_seek, pyav])
def test_who_takes_the_wanted_frames_agrees(
    task: Task, reference: Reference, take: Callable[[Task], list[float]]
) -> None:
    found = agreement(reference, SAMPLING, task, {"taken_s": take(task)})
    assert found.objection == ""
    assert found.images == FRAMES // 5
    assert found.min_psnr_db > 30
    assert found.mean_bytes > 1000


@pytest.mark.parametrize("take", [ours, pyav])
def test_keyframes_agree_too(task: Task, take: Callable[[Task], list[float]]) -> None:
    keys = Task(video=task.video, folder=task.folder, rate=None)
    reference = read_reference(Path(task.video), {"keyframes": keys})
    assert reference.wanted["keyframes"] == list(range(0, FRAMES, GOP))
    assert agreement(reference, "keyframes", keys, {"taken_s": take(keys)}).objection == ""


def test_a_time_that_was_not_wanted_is_an_objection(task: Task, reference: Reference) -> None:
    taken = ours(task)
    taken[2] += 1 / 25
    assert agreement(reference, SAMPLING, task, {"taken_s": taken}).objection == "image 2 is frame 11, not 10"


def test_a_missing_image_is_an_objection(task: Task, reference: Reference) -> None:
    taken = ours(task)
    Path(task.image(3)).unlink()
    assert agreement(reference, SAMPLING, task, {"taken_s": taken}).objection == "11 frames, not 12"


def test_a_neighbour_of_the_wanted_frame_is_an_objection(
    task: Task, reference: Reference, clips: Path, tmp_path: Path
) -> None:
    ours(task)
    every = Task(video=task.video, folder=str(tmp_path / "every"), rate="25")
    Path(every.folder).mkdir()
    pyav(every)
    last = checked(FRAMES // 5)[-1]
    shutil.copy(every.image(5 * last + 1), task.image(last))
    found = agreement(reference, SAMPLING, task, {})
    assert found.objection == f"image {last} looks like frame {5 * last + 1}, not {5 * last}"


def test_our_pixels_are_compared_one_by_one(task: Task, reference: Reference) -> None:
    lossless = Task(video=task.video, folder=task.folder, rate=task.rate, lossless=True)
    ours(lossless)
    assert differing(reference, SAMPLING, lossless) == []
    shutil.copy(lossless.image(4), lossless.image(7))
    assert differing(reference, SAMPLING, lossless) == [7]


def test_the_first_and_the_last_image_are_looked_at() -> None:
    for count in (1, 2, CHECKED, 7, 300):
        places = checked(count)
        assert places[0] == 0
        assert places[-1] == count - 1
        assert len(places) == min(count, CHECKED)


@pytest.mark.parametrize("take", [ours, opencv_read, pyav])
def test_smaller_images_agree_too(task: Task, take: Callable[[Task], list[float]]) -> None:
    small = Task(video=task.video, folder=task.folder, rate="1", short=60, size=(80, 60))
    reference = read_reference(Path(task.video), {SAMPLING: small})
    assert agreement(reference, SAMPLING, small, {"taken_s": take(small)}).objection == ""
