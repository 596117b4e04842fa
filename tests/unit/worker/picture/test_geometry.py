"""Sizes and places: rounding, limits, and where a part of a turned picture is stored."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framefleet.common.job.image_options import MAX_SIDE, ImageOptions, parse_crop, parse_resize
from framefleet.worker.picture.geometry import (
    Box,
    Orientation,
    Plan,
    crop_box,
    orientation_of,
    plan,
    resized,
    rotation_of,
)
from framefleet.worker.video.open_video import MediaError

sides = st.integers(1, 5000)
targets = st.integers(1, 5000)


@pytest.mark.parametrize(
    ("text", "size", "kept", "enlarged"),
    [
        ("640x360", (1920, 1080), (640, 360), (640, 360)),
        ("640x360", (320, 1080), (320, 360), (640, 360)),
        ("short:256", (1920, 1080), (455, 256), (455, 256)),  # 455.11
        ("short:256", (1080, 1920), (256, 455), (256, 455)),
        ("short:256", (200, 100), (200, 100), (512, 256)),
        ("short:256", (256, 1000), (256, 1000), (256, 1000)),
        ("long:512", (1920, 1080), (512, 288), (512, 288)),
        ("long:512", (300, 200), (300, 200), (512, 341)),  # 341.33
        ("long:5", (10, 5), (5, 3), (5, 3)),  # 2.5: halves upwards
        ("long:4", (1920, 2), (4, 1), (4, 1)),  # one pixel at least
        ("fit:640x640", (1920, 1080), (640, 360), (640, 360)),
        ("fit:640x640", (1080, 1920), (360, 640), (360, 640)),
        ("fit:640x300", (1920, 1080), (533, 300), (533, 300)),
        ("fit:640x640", (320, 100), (320, 100), (640, 200)),
    ],
)
def test_sizes(text: str, size: tuple[int, int], kept: tuple[int, int], enlarged: tuple[int, int]) -> None:
    assert resized(parse_resize(text), *size, enlarge=False) == kept
    assert resized(parse_resize(text), *size, enlarge=True) == enlarged


@given(kind=st.sampled_from(["", "fit:"]), box=st.tuples(targets, targets), size=st.tuples(sides, sides))
def test_nothing_grows_and_nothing_exceeds_the_box(
    kind: str, box: tuple[int, int], size: tuple[int, int]
) -> None:
    resize = parse_resize(f"{kind}{box[0]}x{box[1]}")
    width, height = resized(resize, *size, enlarge=False)
    assert 1 <= width <= min(size[0], box[0])
    assert 1 <= height <= min(size[1], box[1])
    width, height = resized(resize, *size, enlarge=True)
    assert width == box[0] or height == box[1]


@given(target=targets, size=st.tuples(sides, sides))
def test_the_aspect_ratio_is_kept_to_half_a_pixel(target: int, size: tuple[int, int]) -> None:
    width, height = resized(parse_resize(f"short:{target}"), *size, enlarge=True)
    assert min(width, height) == target
    assert abs(max(width, height) * min(size) - target * max(size)) <= min(size) / 2


def test_fractions_of_a_picture_are_exact_and_meet() -> None:
    assert crop_box(parse_crop("0.1,0.1,0.5,0.5"), 1920, 1080) == Box(192, 108, 960, 540)
    thirds = [
        crop_box(parse_crop(f"{x},0,{w},1"), 100, 7)
        for x, w in (("0", ".333"), (".333", ".334"), (".667", ".333"))
    ]
    assert [box.x for box in thirds] == [0, 33, 67]
    assert all(box.x + box.width == following.x for box, following in pairwise(thirds))
    assert thirds[-1].x + thirds[-1].width == 100
    assert crop_box(parse_crop("0.5,0.5,0.1,0.1"), 3, 3) == Box(2, 2, 1, 1)  # edges 1.5 and 1.8


@given(
    edges=st.lists(st.integers(0, 1000), min_size=4, max_size=4).filter(
        lambda e: e[0] != e[1] and e[2] != e[3]
    ),
    size=st.tuples(st.integers(1, 50), st.integers(1, 50)),
)
def test_a_fraction_of_any_picture_lies_in_it_and_has_a_pixel(
    edges: list[int], size: tuple[int, int]
) -> None:
    (left, right), (top, bottom) = sorted(edges[:2]), sorted(edges[2:])
    numbers = (left, top, right - left, bottom - top)
    box = crop_box(parse_crop(",".join(f"{number / 1000:.3f}" for number in numbers)), *size)
    assert 0 <= box.x < box.x + box.width <= size[0]
    assert 0 <= box.y < box.y + box.height <= size[1]


def test_parts_in_pixels() -> None:
    assert crop_box(parse_crop("3,2,97,98"), 100, 100) == Box(3, 2, 97, 98)
    assert crop_box(parse_crop("center:50x51"), 101, 100) == Box(25, 24, 50, 51)


@pytest.mark.parametrize("text", ["4,2,97,98", "3,3,97,98", "center:101x5", "center:5x101"])
def test_a_part_outside_is_an_error_of_this_video_with_both_sizes(text: str) -> None:
    with pytest.raises(MediaError, match=r"100 x 100 do not hold the --crop of \d+ x \d+"):
        plan(ImageOptions(crop=text), 100, 100)


def test_the_steps_follow_one_another() -> None:
    options = ImageOptions(crop="0,0,0.5,1", resize="long:64", pad="64x64")
    assert plan(options, 200, 200) == Plan(Box(0, 0, 100, 200), (32, 64), (64, 64, Box(16, 0, 32, 64)))
    assert plan(options, 60, 61) == Plan(Box(0, 0, 30, 61), None, (64, 64, Box(17, 1, 30, 61)))


def test_steps_that_change_nothing_are_left_out() -> None:
    options = ImageOptions(crop="0.0,0,1,1", resize="short:100", pad="100x100")
    assert plan(options, 100, 100) == Plan(None, None, None)


def test_a_picture_that_is_larger_than_its_padding_is_an_error_of_this_video() -> None:
    for size in ((65, 64), (64, 65)):
        with pytest.raises(
            MediaError, match=f"{size[0]} x {size[1]} do not fit into --pad 64x64: add --resize fit:"
        ):
            plan(ImageOptions(pad="64x64"), *size)


def test_enlarging_has_a_limit() -> None:
    options = ImageOptions(resize=f"short:{MAX_SIDE}", enlarge=True)
    plan(options, 100, 100)
    with pytest.raises(MediaError, match="100 x 101 would become 16384 x 16548"):
        plan(options, 100, 101)


ORIENTATIONS = [
    Orientation(transposed, flip_x, flip_y)
    for transposed in (False, True)
    for flip_x in (False, True)
    for flip_y in (False, True)
]


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_part_of_the_displayed_picture_is_found_in_the_stored_one(orientation: Orientation) -> None:
    stored = np.arange(5 * 7).reshape(5, 7)
    displayed = stored.T if orientation.transposed else stored
    displayed = displayed[:: -1 if orientation.flip_y else 1, :: -1 if orientation.flip_x else 1]
    height, width = displayed.shape
    assert orientation.size(7, 5) == (width, height)
    box = Box(1, 2, 3, 2)
    found = orientation.stored(box, width, height)
    part = stored[found.y : found.y + found.height, found.x : found.x + found.width]
    assert sorted(part.flat) == sorted(displayed[2:4, 1:4].flat)


def test_no_matrix_is_no_turn() -> None:
    assert orientation_of(None) == Orientation(False, False, False)
    assert rotation_of(None) == 0
