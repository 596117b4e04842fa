"""How a frame becomes an image file: the options, their syntax, and what does not go together.

``crop``, ``resize`` and ``pad`` are texts here and in the job specification, the same as on the command
line; ``parse_*`` give their meaning. docs/images.md tells users all of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import isfinite
from typing import Annotated, Final, Literal

import msgspec

from framefleet.common.errors import UserError
from framefleet.common.output.frame_names import MAX_TEMPLATE, FrameNames

DEFAULT_QUALITY = 95  # OpenCV's own for JPEG; WebP and AVIF then come within 1.5 dB of it (docs/images.md)
MAX_DISTANCE: Final = 63  # bits of 64
MAX_SIDE: Final = 16384  # pixels; the square of it is framefleet.worker.video.open_video.MAX_FRAME_PIXELS

ImageFormat = Literal["jpg", "png", "webp", "avif"]
Subsampling = Literal["4:2:0", "4:4:4"]
Depth = Literal[8, 16]
Rotate = Literal["auto", "none"]

Colour = tuple[int, int, int]  # blue, green, red; 0 to 255

_SIDE = "[1-9][0-9]{0,4}"
_NUMBER = r"(?:[0-9]{1,5}|[0-9]?\.[0-9]{1,9})"
RESIZE_PATTERN: Final = f"^(?:(?:fit:)?{_SIDE}x{_SIDE}|(?:short|long):{_SIDE})\\Z"
CROP_PATTERN: Final = f"^(?:{_NUMBER}(?:,{_NUMBER}){{3}}|center:{_SIDE}x{_SIDE})\\Z"
PAD_PATTERN: Final = f"^{_SIDE}x{_SIDE}(?::#[0-9a-fA-F]{{6}})?\\Z"


class ImageOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a frame becomes a file.

    ``quality`` (1 to 100; None: 95) is for jpg, webp and avif, ``subsampling`` (None: 4:2:0) and
    ``progressive`` for jpg, ``png_level`` (None: the fast setting of worker/picture/encoding.py) and
    ``depth`` for png, ``lossless`` for webp; ``name_template`` is of common/output/frame_names.py, ``dedup``
    (bits) and ``min_sharpness`` are of worker/picture/dedup_and_blur.py.
    ``check_image_options`` tells what else must hold.
    """

    format: ImageFormat = "jpg"
    quality: Annotated[int, msgspec.Meta(ge=1, le=100)] | None = None
    subsampling: Subsampling | None = None
    progressive: bool = False
    png_level: Annotated[int, msgspec.Meta(ge=0, le=9)] | None = None
    lossless: bool = False
    depth: Depth = 8
    rotate: Rotate = "auto"
    crop: Annotated[str, msgspec.Meta(pattern=CROP_PATTERN)] | None = None
    resize: Annotated[str, msgspec.Meta(pattern=RESIZE_PATTERN)] | None = None
    enlarge: bool = False
    pad: Annotated[str, msgspec.Meta(pattern=PAD_PATTERN)] | None = None
    gray: bool = False
    name_template: Annotated[str, msgspec.Meta(max_length=MAX_TEMPLATE)] | None = None
    dedup: Annotated[int, msgspec.Meta(ge=0, le=MAX_DISTANCE)] | None = None
    min_sharpness: Annotated[float, msgspec.Meta(gt=0)] | None = None

    @property
    def suffix(self) -> str:
        """The ending of a file's name, without the dot."""
        return self.format


@dataclass(frozen=True, slots=True)
class Resize:
    """``exact`` and ``fit`` mean ``width`` x ``height``; ``short``, ``long``: a side of ``width`` pixels."""

    kind: Literal["exact", "fit", "short", "long"]
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Crop:
    """A part of a picture, in pixels or, if ``relative``, as fractions of its sides.

    Without a corner (``x`` is None) it lies in the centre.
    """

    width: Fraction
    height: Fraction
    x: Fraction | None = None
    y: Fraction | None = None
    relative: bool = False


@dataclass(frozen=True, slots=True)
class Pad:
    """The size that every image gets, in pixels, and the colour of what is added."""

    width: int
    height: int
    colour: Colour


@cache
def parse_resize(text: str) -> Resize:
    """``640x360``, ``fit:640x360``, ``short:256`` or ``long:512``.

    Raises:
        UserError: it is none of these, or a side is above ``MAX_SIDE``.
    """
    if re.search(RESIZE_PATTERN, text) is None:
        raise UserError(f"--resize {text} is not a size: give 640x360, fit:640x360, short:256 or long:512")
    kind, _, size = text.rpartition(":")
    width, _, height = size.partition("x")
    sides = _sides("--resize", text, width, height or width)
    match kind:
        case "short" | "long" | "fit":
            return Resize(kind, *sides)
        case _:
            return Resize("exact", *sides)


@cache
def parse_crop(text: str) -> Crop:
    """``x,y,w,h``, where a decimal point makes all four fractions of the picture; or ``center:640x360``.

    Raises:
        UserError: it is neither, it is empty, or fractions lead out of the picture.
    """
    if re.search(CROP_PATTERN, text) is None:
        raise UserError(
            f"--crop {text} is not a part of a picture: give x,y,w,h in pixels (0,140,1920,800), "
            "as fractions (0.1,0.1,0.5,0.5), or center:640x360"
        )
    if text.startswith("center:"):
        width, _, height = text.removeprefix("center:").partition("x")
        w, h = _sides("--crop", text, width, height)
        return Crop(Fraction(w), Fraction(h))
    left, top, across, down = map(Fraction, text.split(","))
    if not across or not down:
        raise UserError(f"--crop {text} is empty: the third and fourth number are its width and height")
    relative = "." in text
    if relative and (left + across > 1 or top + down > 1):
        raise UserError(
            f"--crop {text} leads out of the picture: with a decimal point, its numbers are fractions, "
            "and x + w and y + h are at most 1"
        )
    return Crop(across, down, left, top, relative)


@cache
def parse_pad(text: str) -> Pad:
    """``640x640`` or ``640x640:#808080``; black if no colour is given.

    Raises:
        UserError: it is neither, or a side is above ``MAX_SIDE``.
    """
    if re.search(PAD_PATTERN, text) is None:
        raise UserError(f"--pad {text} is not a size with a colour: give 640x640 or 640x640:#808080")
    size, _, colour = text.partition(":")
    width, _, height = size.partition("x")
    red, green, blue = bytes.fromhex(colour.removeprefix("#") or "000000")
    return Pad(*_sides("--pad", text, width, height), (blue, green, red))


def check_image_options(options: ImageOptions) -> None:
    """Refuse what is not well formed, does not go together, or cannot be encoded by this OpenCV.

    Raises:
        UserError: the text names the value and the remedy.
    """
    form = options.format
    if options.name_template is not None:
        FrameNames(options.name_template)
    if options.min_sharpness is not None and not isfinite(options.min_sharpness):
        raise UserError(
            f"--min-sharpness {options.min_sharpness} is no variance that a frame can have: give a number"
        )
    _refuse(
        options.quality is not None and form == "png",
        f"--quality {options.quality}",
        "jpg, webp and avif",
        form,
    )
    _refuse(
        options.subsampling is not None and form != "jpg", f"--subsampling {options.subsampling}", "jpg", form
    )
    _refuse(options.progressive and form != "jpg", "--progressive", "jpg", form)
    _refuse(options.png_level is not None and form != "png", f"--png-level {options.png_level}", "png", form)
    _refuse(options.lossless and form != "webp", "--lossless", "webp", form)
    _refuse(options.depth == 16 and form != "png", "--depth 16", "png", form)
    if options.lossless and options.quality is not None:
        raise UserError(f"--quality {options.quality} does not go with --lossless: leave one of them out")
    if options.gray and options.subsampling is not None:
        raise UserError(
            f"--subsampling {options.subsampling} does not go with --gray, which has no colours: "
            "leave one of them out"
        )
    if options.crop is not None:
        parse_crop(options.crop)
    resize = parse_resize(options.resize) if options.resize is not None else None
    if resize is None and options.enlarge:
        raise UserError("--enlarge says nothing without --resize: add --resize, or leave it out")
    if options.pad is not None:
        _check_pad(options.pad, resize, gray=options.gray)
    if form == "avif":
        _check_avif()


def _check_pad(text: str, resize: Resize | None, *, gray: bool) -> None:
    pad = parse_pad(text)
    if (
        resize is not None
        and resize.kind in ("exact", "fit")
        and (resize.width > pad.width or resize.height > pad.height)
    ):
        raise UserError(
            f"--pad {text} is smaller than --resize {resize.width}x{resize.height}: "
            f"use --resize fit:{pad.width}x{pad.height}"
        )
    blue, green, red = pad.colour
    if gray and not blue == green == red:
        raise UserError(f"--pad {text} has a colour, which --gray has not: give a gray such as #808080")


def _check_avif() -> None:
    import cv2  # it takes 0.2 s, and no other format needs it here

    if not cv2.haveImageWriter("image.avif"):
        raise UserError(
            f"--format avif: OpenCV {cv2.__version__} was built without it here: use webp or jpg, "
            "or install the package opencv-python-headless"
        )


def _refuse(wrong: bool, what: str, formats: str, form: str) -> None:
    if wrong:
        raise UserError(f"{what} is for {formats} only: leave it out with --format {form}")


def _sides(option: str, text: str, *values: str) -> tuple[int, int]:
    width, height = map(int, values)
    if max(width, height) > MAX_SIDE:
        raise UserError(f"{option} {text}: a side has at most {MAX_SIDE} pixels")
    return width, height
