"""The command line of images: every option arrives, and ``--help`` imports nothing but click."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, get_args

import click
import msgspec
import pytest
from click.testing import CliRunner

from framefleet.common.errors import UserError
from framefleet.common.job.image_options import Depth, ImageFormat, ImageOptions, Rotate, Subsampling
from framefleet.launcher.options.image import (
    DEPTHS,
    FORMATS,
    ROTATIONS,
    SUBSAMPLINGS,
    image_options,
    make_image_options,
)


def parsed(*arguments: str) -> ImageOptions:
    """What a command with a further option makes of ``arguments``."""
    made: list[ImageOptions] = []

    @click.command()
    @click.option("--other")
    @image_options
    def command(**options: Any) -> None:
        made.append(make_image_options(options))

    result = CliRunner().invoke(command, arguments, catch_exceptions=False, standalone_mode=False)
    assert result.exception is None
    return made[0]


def test_nothing_given_is_the_default() -> None:
    assert parsed() == ImageOptions()


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (
            "--quality 7 --subsampling 4:4:4 --progressive",
            {"quality": 7, "subsampling": "4:4:4", "progressive": True},
        ),
        ("--format png --png-level 0 --depth 16", {"format": "png", "png_level": 0, "depth": 16}),
        ("--format webp --lossless", {"format": "webp", "lossless": True}),
        ("--rotate none --crop 1,2,3,4", {"rotate": "none", "crop": "1,2,3,4"}),
        ("--resize short:256 --enlarge", {"resize": "short:256", "enlarge": True}),
        ("--pad 640x640:#ffffff --gray", {"pad": "640x640:#ffffff", "gray": True}),
    ],
)
def test_every_option_arrives(arguments: str, options: dict[str, Any]) -> None:
    made = parsed(*arguments.split())
    assert made == ImageOptions(**options)
    assert msgspec.json.decode(msgspec.json.encode(made), type=ImageOptions) == made


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "--format png --quality 95",
            "--quality 95 is for jpg, webp and avif only: leave it out with --format png",
        ),
        ("--resize 256", "--resize 256 is not a size"),
        ("--depth 16", "--depth 16 is for png only"),
    ],
)
def test_mistakes_are_told(arguments: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parsed(*arguments.split())


@pytest.mark.parametrize(
    "arguments", ["--quality 0", "--quality 101", "--png-level 10", "--depth 12", "--format gif"]
)
def test_values_out_of_range_are_told_by_click(arguments: str) -> None:
    with pytest.raises(click.BadParameter):
        parsed(*arguments.split())


def test_choices_are_those_of_the_specification() -> None:
    assert list(get_args(ImageFormat)) == FORMATS
    assert list(get_args(Subsampling)) == SUBSAMPLINGS
    assert list(get_args(Depth)) == [int(depth) for depth in DEPTHS]
    assert list(get_args(Rotate)) == ROTATIONS


def test_the_module_imports_only_click() -> None:
    program = (
        "import pathlib, sys, click; before = set(sys.modules); "
        "import framefleet.launcher.options.image; print(*set(sys.modules) - before)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {
        "framefleet",
        "framefleet.launcher",
        "framefleet.launcher.options",
        "framefleet.launcher.options.image",
    }
