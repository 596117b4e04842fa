"""From a decoded frame to BGR or gray pixels: cropped, scaled and converted by swscale, as stored."""

from __future__ import annotations

import threading
from functools import cache
from typing import Final, cast

import cv2
import numpy as np
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from framefleet.worker.picture.encoding import Picture
from framefleet.worker.picture.geometry import Box

# With these, swscale gives every pixel its own chroma, rounds correctly, and gives the same bytes on
# processors with and without vector instructions.
_EXACT: Final = Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
_SHRINKING: Final = int(Interpolation.AREA | _EXACT)  # an average: no halos, half the time of BICUBIC
_GROWING: Final = int(Interpolation.BICUBIC | _EXACT)


class _Reformatters(threading.local):
    """swscale's contexts, kept from frame to frame: one for each step, as another size sets one up anew."""

    def __init__(self) -> None:
        self.cut = VideoReformatter()
        self.final = VideoReformatter()


_reformatters = _Reformatters()


def convert(
    frame: VideoFrame, *, crop: Box | None, size: tuple[int, int] | None, gray: bool, depth: int
) -> Picture:
    """The pixels of ``crop`` (None: all) of a frame, scaled to ``size`` (width, height; None: not scaled).

    Returns:
        uint8, or uint16 with white at 65535 if ``depth`` is 16 and the frame has more than 8 bits: (height,
        width, 3), blue first, or (height, width) of ``gray``. Colours of 8 bits that are not scaled are what
        ``frame.to_ndarray(format="bgr24")`` gives. Gray is the luma over the full range (of an RGB frame,
        with the weights of BT.601). The array may be a view of the frame's memory, with gaps between rows.

    Raises:
        av.FFmpegError, ValueError: swscale cannot.
    """
    bits = _bits(frame)
    deep = depth == 16 and bits > 8
    if size is None:
        image = _pixels(frame, None, gray=gray, deep=deep)
        if crop is not None:
            image = image[crop.y : crop.y + crop.height, crop.x : crop.x + crop.width]
    else:
        if crop is not None:
            frame = _cut(frame, crop, gray=gray)
        image = _pixels(frame, size, gray=gray, deep=deep)
    if deep:
        image = _to_full_scale(image, _white_bits(frame, bits, gray=gray, scaled=size is not None))
    return image


def _pixels(frame: VideoFrame, size: tuple[int, int] | None, *, gray: bool, deep: bool) -> Picture:
    width, height = size or (frame.width, frame.height)
    shrinks = size is not None and width <= frame.width and height <= frame.height
    flags = _SHRINKING if shrinks else _GROWING
    reformat = _reformatters.final.reformat
    if gray:
        # Luma needs no matrix; told that gray has another one than the frame, swscale would go by way of RGB.
        converted = reformat(
            frame,
            width,
            height,
            "gray16le" if deep else "gray",
            Colorspace.ITU601,
            Colorspace.ITU601,
            flags,
            dst_color_range=ColorRange.JPEG,
            threads=1,
        )
    elif deep or size is not None:
        converted = reformat(
            frame, width, height, "bgr48le" if deep else "bgr24", interpolation=flags, threads=1
        )
    else:
        converted = reformat(frame, format="bgr24", threads=1)
    return cast("Picture", converted.to_ndarray())


def _cut(frame: VideoFrame, crop: Box, *, gray: bool) -> VideoFrame:
    """A part of a frame, at any pixel, for scaling: its chroma first gets the resolution of its luma.

    By way of BGR it would be a little faster, but 45 instead of 53 dB from the ideal (docs/images.md).
    """
    deep = _bits(frame) > 8
    if gray:
        name = "gray16le" if deep else "gray"
        matrix: Colorspace | None = Colorspace.ITU601
        levels: ColorRange | None = ColorRange.JPEG
    else:
        name = ("gbrp" if frame.format.is_rgb else "yuv444p") + ("16le" if deep else "")
        matrix = levels = None
    whole = _reformatters.cut.reformat(
        frame,
        None,
        None,
        name,
        matrix,
        matrix,
        _GROWING,
        dst_color_range=levels,
        threads=1,
    )
    part = VideoFrame(crop.width, crop.height, name)
    part.colorspace, part.color_range = whole.colorspace, whole.color_range
    for source, target in zip(whole.planes, part.planes, strict=True):
        rows = slice(crop.y, crop.y + crop.height)
        _samples(target, deep)[:, : crop.width] = _samples(source, deep)[rows, crop.x : crop.x + crop.width]
    return part


def _samples(plane: VideoPlane, deep: bool) -> Picture:
    """A view of a plane with its padding: (height, samples per line)."""
    samples = np.frombuffer(memoryview(plane), np.uint16 if deep else np.uint8)
    return cast("Picture", samples.reshape(plane.height, -1))


def _white_bits(frame: VideoFrame, bits: int, *, gray: bool, scaled: bool) -> int:
    """How many of the 16 bits are set, from the top, in what swscale gives for white.

    ``bits`` are those of the video. That is how swscale 9 does it; tests compare white with 65535.
    """
    is_full = _is_full_range(frame)
    if gray:
        return _bits(frame) if is_full and scaled else 16
    if frame.format.is_rgb and not scaled:
        return 16
    return bits if is_full else 8


def _to_full_scale(image: Picture, white_bits: int) -> Picture:
    """``image`` of uint16, whose white has its ``white_bits`` upper bits set, with white at 65535."""
    return cast("Picture", cv2.add(image, image >> white_bits)) if white_bits < 16 else image


def _is_full_range(frame: VideoFrame) -> bool:
    form = frame.format
    return (
        frame.color_range == ColorRange.JPEG
        or form.is_rgb
        or len(form.components) < 3  # gray
        or form.name.startswith("yuvj")
    )


def _bits(frame: VideoFrame) -> int:
    return _bits_of(frame.format.name)


@cache
def _bits_of(pix_fmt: str) -> int:
    return max(component.bits for component in VideoFormat(pix_fmt).components)
