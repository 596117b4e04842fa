"""Image options: their syntax, and what is refused with which remedy."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

import cv2
import msgspec
import pytest

from framefleet.common.errors import UserError
from framefleet.common.job.image_options import (
    MAX_SIDE,
    Crop,
    ImageOptions,
    Pad,
    Resize,
    check_image_options,
    parse_crop,
    parse_pad,
    parse_resize,
)
from framefleet.worker.video.open_video import MAX_FRAME_PIXELS


def test_the_syntax_of_sizes() -> None:
    assert parse_resize("640x360") == Resize("exact", 640, 360)
    assert parse_resize("fit:640x360") == Resize("fit", 640, 360)
    assert parse_resize("short:256") == Resize("short", 256, 256)
    assert parse_resize("long:1") == Resize("long", 1, 1)
    assert parse_pad("640x360") == Pad(640, 360, (0, 0, 0))
    assert parse_pad("640x360:#0180fF") == Pad(640, 360, (0xFF, 0x80, 0x01))


def test_the_syntax_of_parts() -> None:
    assert parse_crop("0,8,640,360") == Crop(Fraction(640), Fraction(360), Fraction(0), Fraction(8))
    tenth = Fraction(1, 10)
    assert parse_crop("0.1,0,.5,1.0") == Crop(Fraction(1, 2), Fraction(1), tenth, Fraction(0), True)
    assert parse_crop("0,0,1,1") == Crop(Fraction(1), Fraction(1), Fraction(0), Fraction(0))
    assert parse_crop("center:640x360") == Crop(Fraction(640), Fraction(360))


MALFORMED = {
    "resize": [
        *["", "640", "640x", "0x5", "-1x5", "256s", "short:0", "short:6x4", "64x4\n", "FIT:6x4", "fit:6"],
        *["fit:6x4:5", "1.5x2", "\u0663x\u0663", f"1x{MAX_SIDE + 1}"],
    ],
    "crop": [
        *["1,2,3", "1,2,3,4,5", "-1,0,5,5", "a,b,c,d", "center:5", "5x5", "10%,0,5,5", "1,1,0,5", "0,0,1.,1"],
        *["0.5,0,0.0,1", "0.6,0,0.5,1", "0,0.5,1,0.6", "nan,0,1,1", f"center:{MAX_SIDE + 1}x1"],
    ],
    "pad": [
        *["640", "6x4:red", "6x4:#12345", "6x4:#1234567", "6x4#123456", "0x4", "fit:6x4"],
        f"1x{MAX_SIDE + 1}",
    ],
}


@pytest.mark.parametrize(
    ("option", "text"), [(option, text) for option, texts in MALFORMED.items() for text in texts]
)
def test_what_is_no_size_or_part_is_named(option: str, text: str) -> None:
    values: dict[str, Any] = {option: text}
    with pytest.raises(UserError, match=re.escape(f"--{option} {text}")):
        check_image_options(ImageOptions(**values))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"format": "png", "quality": 95}, "--quality 95 is for jpg, webp and avif only"),
        ({"format": "png", "subsampling": "4:2:0"}, "--subsampling 4:2:0 is for jpg only"),
        (
            {"format": "webp", "progressive": True},
            "--progressive is for jpg only: leave it out with --format webp",
        ),
        ({"png_level": 0}, "--png-level 0 is for png only"),
        ({"lossless": True}, "--lossless is for webp only"),
        ({"depth": 16}, "--depth 16 is for png only"),
        ({"format": "webp", "depth": 16}, "--depth 16 is for png only"),
        ({"format": "webp", "lossless": True, "quality": 5}, "--quality 5 does not go with --lossless"),
        ({"gray": True, "subsampling": "4:4:4"}, "--subsampling 4:4:4 does not go with --gray"),
        ({"enlarge": True}, "--enlarge says nothing without --resize"),
        (
            {"pad": "64x64", "resize": "64x65"},
            "--pad 64x64 is smaller than --resize 64x65: use --resize fit:64x64",
        ),
        ({"pad": "64x64", "resize": "fit:65x1"}, "use --resize fit:64x64"),
        ({"pad": "64x64:#808081", "gray": True}, "--pad 64x64:#808081 has a colour"),
    ],
)
def test_contradictions_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        check_image_options(ImageOptions(**values))


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"quality": 1, "subsampling": "4:4:4", "progressive": True},
        {"format": "png", "png_level": 9, "depth": 16, "gray": True},
        {"format": "webp", "lossless": True, "gray": True, "pad": "64x64:#808080"},
        {"pad": "64x64", "resize": "fit:64x64", "enlarge": True, "crop": "0.0,0,1,1", "rotate": "none"},
    ],
)
def test_good_options_pass_and_survive_the_job_specification(values: dict[str, Any]) -> None:
    options = ImageOptions(**values)
    check_image_options(options)
    assert msgspec.json.decode(msgspec.json.encode(options), type=ImageOptions) == options


@pytest.mark.parametrize(
    "values",
    [
        {"quality": 0},
        {"png_level": 10},
        {"depth": 12},
        {"rotate": "90"},
        {"resize": "big"},
        {"crop": "1,2"},
        {"pad": "1x1:red"},
        {"format": "gif"},
        {"subsampling": "4:1:1"},
        {"grey": True},
        {"gray": 1},
    ],
)
def test_a_specification_with_bad_values_is_not_read(values: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(values), type=ImageOptions)


def test_avif_is_refused_where_opencv_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "haveImageWriter", lambda name: not name.endswith(".avif"))
    check_image_options(ImageOptions(format="webp"))
    with pytest.raises(UserError, match=r"--format avif: OpenCV .* use webp or jpg"):
        check_image_options(ImageOptions(format="avif"))


def test_no_size_that_can_be_asked_for_is_above_the_limit_of_a_frame() -> None:
    assert MAX_SIDE**2 <= MAX_FRAME_PIXELS
