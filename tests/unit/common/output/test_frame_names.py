"""Names of frames' files by a template."""

from __future__ import annotations

from itertools import product

import pytest

from framefleet.common.errors import UserError
from framefleet.common.output.frame_names import DEFAULT_TEMPLATE, PRESETS, FrameNames


def named(template: str, folder: str = "day 1/Straße", **values: float) -> str:
    found = {"sample": 7, "pts": 3600, "time_s": 1.4004, **values}
    return FrameNames(template).name(
        folder, sample=int(found["sample"]), pts=int(found["pts"]), time_s=found["time_s"], suffix="jpg"
    )


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (DEFAULT_TEMPLATE, "day 1/Straße/00000007.jpg"),
        ("ffmpeg", "day 1/Straße/00000008.jpg"),
        ("epic-kitchens", "day 1/Straße/frame_0000000008.jpg"),
        ("mmaction2", "day 1/Straße/img_00008.jpg"),
        ("youtube-vis", "day 1/Straße/00007.jpg"),
        ("{video}/{stem}_{k}.{ext}", "day 1/Straße/Straße_7.jpg"),
        (
            "{video}/{stem} {ms:08} ms, {pts} ticks, {n}.{ext}",
            "day 1/Straße/Straße 00001400 ms, 3600 ticks, 8.jpg",
        ),
        ("{video}/{{{n:04d}}}.{ext}", "day 1/Straße/{0008}.jpg"),
    ],
)
def test_names(template: str, expected: str) -> None:
    assert named(template) == expected


def test_a_folder_with_braces_is_no_template() -> None:
    assert named("{video}/{stem}_{k}.{ext}", folder="{pts}/{0}") == "{pts}/{0}/{0}_7.jpg"


@pytest.mark.parametrize("template", [*PRESETS, "{video}/{ms}_{k}.{ext}", "{video}/{pts}_{ms}_{n}x.{ext}"])
def test_samples_have_names_of_their_own(template: str) -> None:
    numbers = (0, 1, 9, 10, 11, 99, 100, 99_999, 100_000, 10**8, 10**10)
    times = [(pts, ms / 1000) for pts, ms in product((-10, -1, 0, 1, 10), (-11.0, 0.0, 1.0, 10.0, 11.0))]
    names = [named(template, sample=k, pts=pts, time_s=time_s) for k in numbers for pts, time_s in times]
    by_sample = {k: set(names[at * len(times) : (at + 1) * len(times)]) for at, k in enumerate(numbers)}
    assert sum(map(len, by_sample.values())) == len(set().union(*by_sample.values()))


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("", "does not begin with {video}/"),
        ("frames.{ext}", "does not begin"),
        ("{stem}/{k}.{ext}", "does not begin"),
        ("../{video}/{k}.{ext}", "does not begin"),
        ("{video}/../{k}.{ext}", "not safe"),
        ("{video}/a/{k}.{ext}", "not safe"),
        ("{video}/{k}\\{n}.{ext}", "not safe"),
        ("{video}/{k}\n.{ext}", "not safe"),
        ("{video}/{k}:.{ext}", "not safe"),
        ("{video}/{k}%2F.{ext}", "not safe"),
        ("{video}/img.{ext}", "neither {k} nor {n}"),
        ("{video}/{ms}.{ext}", "neither {k} nor {n}"),
        ("{video}/{pts}.{ext}", "neither {k} nor {n}"),
        ("{video}/", "does not end"),
        ("{video}/{k}", "does not end"),
        ("{video}/{k}{ext}", "does not end"),
        ("{video}/{k}.{ext}.jpg", "does not end"),
        ("{video}/{k}.jpg", "does not end"),
        ("{video}/.{k}.{ext}", "hides"),
        ("{video}/{k}{n}.{ext}", "nothing between {k} and {n}"),
        ("{video}/{ms}-{k}.{ext}", "nothing between {ms} and {k}"),
        ("{video}/{ms}_1{k}.{ext}", "nothing between {ms} and {k}"),
        ("{video}/{video}{k}.{ext}", "{video} twice"),
        ("{video}/{frame}.{ext}", "{frame} in it"),
        ("{video}/{}.{ext}", "{} in it"),
        ("{video}/{0}.{ext}", "{0} in it"),
        ("{video}/{k.__class__}.{ext}", "{k.__class__} in it"),
        ("{video}/{k!r}.{ext}", "{k} in it"),
        ("{video}/{k:{n}}.{ext}", "only numbers have a width"),
        ("{video}/{k:x}.{ext}", "only numbers have a width"),
        ("{video}/{k:8d}.{ext}", "only numbers have a width"),
        ("{video}/{k:>8}.{ext}", "only numbers have a width"),
        ("{video}/{k:0999d}.{ext}", "only numbers have a width"),
        ("{video}/{k}_{stem:9}.{ext}", "only numbers have a width"),
        ("{video}/{k.{ext}", "cannot be read"),
        ("{video}/k}.{ext}", "cannot be read"),
        ("{video}/" + "x" * 200 + "{k}.{ext}", "more than 200"),
    ],
)
def test_what_will_not_do_is_refused(template: str, why: str) -> None:
    with pytest.raises(UserError) as caught:
        FrameNames(template)
    assert why in str(caught.value)
    assert "{video}/img_{n:05d}.{ext}" in str(caught.value)


def test_a_frame_may_not_have_the_name_of_another_videos_folder() -> None:
    names = FrameNames("mmaction2")
    names.check_folders(["a", "a/img_5", "a/img_00005.jpg.mp4", "b/img_00005.jpg"], "jpg")
    with pytest.raises(UserError, match=r"'a' the name of the folder 'a/img_00005\.jpg'"):
        names.check_folders(["a", "a/img_00005.jpg/b"], "jpg")
    names.check_folders(["a", "a/img_00005.jpg"], "png")


def test_paths_of_frames_are_known_by_the_template() -> None:
    paths = FrameNames("{video}/{stem}_{ms}_{k:08d}.{ext}").paths("jpg")
    assert paths.fullmatch("frames/a/b c/b c_-40_00000007.jpg")
    for other in (
        "frames/b_40_00000007.jpg",
        "frames/a/7.jpg",
        "x/a/a_40_00000007.jpg",
        "frames/a/a_4_7.png",
    ):
        assert not paths.fullmatch(other)


def test_names_are_no_longer_than_a_disk_allows() -> None:
    names = FrameNames("{video}/{stem}_{ms}_{k:08d}.{ext}")
    names.check_folders(["x/" + "é" * 104], "jpg")
    with pytest.raises(UserError, match=r"leave \{stem\} out"):
        names.check_folders(["x/" + "é" * 106], "jpg")
