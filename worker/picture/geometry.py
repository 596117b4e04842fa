"""Sizes and places of pictures: what crop, resize and pad mean for one size of picture, in integers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from framefleet.common.job.image_options import (
    Crop,
    ImageOptions,
    Resize,
    parse_crop,
    parse_pad,
    parse_resize,
)
from framefleet.worker.video.open_video import MAX_FRAME_PIXELS, MediaError

Matrix = tuple[int, int, int, int]  # (a, b, c, d) of x' = a x + c y, y' = b x + d y

_SIZES_REMEMBERED = 64  # a video has one or two


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of pixels; (x, y) is its upper left corner."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Orientation:
    """How a stored picture becomes the displayed one: transposed, then mirrored along x and y."""

    transposed: bool
    flip_x: bool
    flip_y: bool

    def size(self, width: int, height: int) -> tuple[int, int]:
        """The size when displayed of a stored size, and the other way round."""
        return (height, width) if self.transposed else (width, height)

    def stored(self, box: Box, width: int, height: int) -> Box:
        """Where ``box`` of the displayed picture, of ``width`` x ``height``, lies in the stored one."""
        x = width - box.x - box.width if self.flip_x else box.x
        y = height - box.y - box.height if self.flip_y else box.y
        return Box(y, x, box.height, box.width) if self.transposed else Box(x, y, box.width, box.height)


UPRIGHT = Orientation(transposed=False, flip_x=False, flip_y=False)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with a picture of one size; all in pixels of the picture as displayed.

    Attributes:
        crop: the part to take; None: all of it.
        size: width and height after resizing; None: it is not resized.
        canvas: the size of the whole image, and where in it the picture lies; None: it is not padded.
    """

    crop: Box | None
    size: tuple[int, int] | None
    canvas: tuple[int, int, Box] | None


def orientation_of(matrix: Matrix | None) -> Orientation:
    """The quarter turns and mirrorings of a display matrix."""
    if matrix is None:
        return UPRIGHT
    a, b, c, d = matrix
    if abs(b) > abs(a):
        return Orientation(True, c < 0, b < 0)
    return Orientation(False, a < 0, d < 0)


def rotation_of(matrix: Matrix | None) -> int:
    """Degrees clockwise that a display matrix turns a picture, to the nearest quarter."""
    if matrix is None:
        return 0
    a, b, c, d = matrix
    if a * d < b * c:  # mirrored
        a, b = -a, -b
    return round(math.degrees(math.atan2(b, a)) / 90) * 90 % 360


@lru_cache(_SIZES_REMEMBERED)
def plan(options: ImageOptions, width: int, height: int) -> Plan:
    """What ``options`` do with a picture of ``width`` x ``height``, as displayed.

    Raises:
        MediaError: a part lies outside the picture, or the picture does not fit the padded size.
    """
    crop = None
    if options.crop is not None:
        crop = crop_box(parse_crop(options.crop), width, height)
        if (crop.width, crop.height) == (width, height):
            crop = None
        else:
            width, height = crop.width, crop.height
    size = None
    if options.resize is not None:
        size = resized(parse_resize(options.resize), width, height, enlarge=options.enlarge)
        if size[0] * size[1] > MAX_FRAME_PIXELS:
            raise MediaError(
                f"its pictures of {width} x {height} would become {size[0]} x {size[1]} with "
                f"--resize {options.resize}: more than {MAX_FRAME_PIXELS} pixels"
            )
        if size == (width, height):
            size = None
        else:
            width, height = size
    canvas = None
    if options.pad is not None:
        pad = parse_pad(options.pad)
        if width > pad.width or height > pad.height:
            raise MediaError(
                f"its pictures of {width} x {height} do not fit into --pad {pad.width}x{pad.height}: "
                f"add --resize fit:{pad.width}x{pad.height}"
            )
        if (width, height) != (pad.width, pad.height):
            place = Box((pad.width - width) // 2, (pad.height - height) // 2, width, height)
            canvas = (pad.width, pad.height, place)
    return Plan(crop, size, canvas)


def crop_box(crop: Crop, width: int, height: int) -> Box:
    """The pixels of a picture of ``width`` x ``height`` that ``crop`` means.

    The edges of fractions go to the nearest pixel boundary, halves upwards, so that parts which meet
    neither overlap nor leave a gap; an empty part grows to one pixel. In the centre, an odd pixel of what
    is cut off goes right and below.

    Raises:
        MediaError: it does not lie inside the picture.
    """
    if crop.relative:
        assert crop.x is not None
        assert crop.y is not None
        left, right = _edges(crop.x, crop.width, width)
        top, bottom = _edges(crop.y, crop.height, height)
        return Box(left, top, right - left, bottom - top)
    w, h = int(crop.width), int(crop.height)
    x = (width - w) // 2 if crop.x is None else int(crop.x)
    y = (height - h) // 2 if crop.y is None else int(crop.y)
    if x < 0 or y < 0 or x + w > width or y + h > height:
        where = "in the centre" if crop.x is None else f"at {x},{y}"
        raise MediaError(
            f"its pictures of {width} x {height} do not hold the --crop of {w} x {h} {where}: "
            "use a smaller one, or fractions"
        )
    return Box(x, y, w, h)


def resized(resize: Resize, width: int, height: int, *, enlarge: bool) -> tuple[int, int]:
    """The width and height that a picture of ``width`` x ``height`` gets.

    Where the aspect ratio is kept, the other side is rounded to the nearest pixel, halves upwards, and is
    1 at least. Without ``enlarge`` no side grows.
    """
    if resize.kind == "exact":
        if enlarge:
            return resize.width, resize.height
        return min(resize.width, width), min(resize.height, height)
    across, down = Fraction(resize.width, width), Fraction(resize.height, height)
    factor = max(across, down) if resize.kind == "short" else min(across, down)
    if factor >= 1 and not enlarge:
        return width, height
    return max(1, _nearest(width * factor)), max(1, _nearest(height * factor))


def _edges(start: Fraction, length: Fraction, pixels: int) -> tuple[int, int]:
    first, last = _nearest(start * pixels), _nearest((start + length) * pixels)
    if first == last:
        first = min(first, pixels - 1)
        last = first + 1
    return first, last


def _nearest(value: Fraction) -> int:
    return math.floor(value + Fraction(1, 2))
