"""From a decoded frame to the picture that becomes a file: as displayed, and the same every time.

The order that users are told is turn, crop, resize, pad, gray (docs/images.md). The work is done in an
order that gives the same and costs less: crop, resize and gray as the frame is stored, then turn, then pad.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import av
import cv2
import numpy as np
from av.sidedata.sidedata import SideDataContainer
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from framefleet.common.job.image_options import ImageOptions, parse_pad
from framefleet.worker.picture.conversion import convert
from framefleet.worker.picture.encoding import Picture as Picture
from framefleet.worker.picture.encoding import check_opencv_memory
from framefleet.worker.picture.encoding import encode as encode
from framefleet.worker.picture.geometry import Box, Matrix, Orientation, orientation_of, plan, rotation_of
from framefleet.worker.slot_limits import check_memory
from framefleet.worker.video.open_video import MediaError, check_dimensions

Image = NDArray[np.uint8]

_AS_DISPLAYED = ImageOptions()


def render(frame: VideoFrame, options: ImageOptions) -> tuple[Picture, int]:
    """The picture as it will be encoded, and the clockwise angle (0, 90, 180, 270) by which it was turned.

    Returns:
        uint8 (height, width, 3), blue first, or (height, width) with ``options.gray``; uint16 with
        ``depth=16`` if the frame has more than 8 bits. The display matrix is applied unless ``rotate`` is
        ``none``; the angle comes after a left-right mirroring if there is one. Rows may be apart, and the
        memory may be the frame's.

    The stream's colour matrix and range are honoured; deep and HDR pictures become 8 bits without tone
    mapping. ``framefleet.worker.picture.conversion`` says what the pixels are.

    Raises:
        MediaError: the frame is too large, of a pixel format that cannot be converted, or does not fit
            the options.
        MemoryError: there is too little; that says nothing about the video.
    """
    check_dimensions(frame.width, frame.height)
    matrix = display_matrix(frame) if options.rotate == "auto" else None
    orientation = orientation_of(matrix)
    shown_size = orientation.size(frame.width, frame.height)
    todo = plan(options, *shown_size)
    try:
        picture = convert(
            frame,
            crop=orientation.stored(todo.crop, *shown_size) if todo.crop is not None else None,
            size=orientation.size(*todo.size) if todo.size is not None else None,
            gray=options.gray,
            depth=options.depth,
        )
        picture = turned(picture, orientation)
        if options.pad is not None and todo.canvas is not None:
            picture = padded(picture, *todo.canvas, parse_pad(options.pad).colour)
    except cv2.error as error:
        check_opencv_memory(error)
        raise
    except (av.FFmpegError, ValueError) as error:
        check_memory(error)
        raise MediaError(f"cannot convert its pixel format {frame.format.name}: {error}") from error
    return picture, rotation_of(matrix)


def to_bgr(frame: VideoFrame) -> tuple[Image, int]:
    """The whole frame as it is to be shown: (height, width, 3) uint8 BGR, and its angle; see ``render``."""
    picture, rotation = render(frame, _AS_DISPLAYED)
    return np.ascontiguousarray(picture, np.uint8), rotation


def display_matrix(frame: VideoFrame) -> Matrix | None:
    """(a, b, c, d) of x' = a x + c y, y' = b x + d y; None if the frame is shown as it is stored."""
    try:
        # not frame.side_data, which makes a cycle: the decoder's buffer would stay until Python collects it
        side_data = SideDataContainer(frame)  # type: ignore[call-arg]
        data = cast("Mapping[str, bytes]", side_data).get("DISPLAYMATRIX")
    except ValueError:
        # the frame has side data of a kind that PyAV has no name for (stereo HEVC has): mirroring is
        # then out of reach, but the angle is not
        quarters = round(-frame.rotation / 90) % 4
        return [(1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0)][quarters] if quarters else None
    if data is None:
        return None
    a, b, _, c, d = (int(value) for value in np.frombuffer(bytes(data), "<i4")[:5])
    return a, b, c, d


def turned(picture: Picture, orientation: Orientation) -> Picture:
    """A stored picture as it is displayed. OpenCV's moves take a third to a tenth of the time of numpy's."""
    if orientation.transposed:
        picture = cast("Picture", cv2.transpose(picture))
    if orientation.flip_x or orientation.flip_y:
        code = -1 if orientation.flip_x and orientation.flip_y else int(orientation.flip_x)
        target = picture if orientation.transposed else None  # what transposing made is ours to overwrite
        picture = cast("Picture", cv2.flip(picture, code, target))
    return picture


def padded(picture: Picture, width: int, height: int, place: Box, colour: tuple[int, int, int]) -> Picture:
    """``picture`` at ``place`` of an image of ``width`` x ``height``; the rest in ``colour`` (8-bit BGR)."""
    scale = int(np.iinfo(picture.dtype).max) // 255
    height_below = height - place.y - place.height
    width_right = width - place.x - place.width
    value = [channel * scale for channel in colour]
    return cast(
        "Picture",
        cv2.copyMakeBorder(
            picture, place.y, height_below, place.x, width_right, cv2.BORDER_CONSTANT, value=value
        ),
    )


def write(path: Path, data: bytes) -> str:
    """Write ``data`` to ``path``, replacing what is there; gives its SHA-256 in hexadecimal.

    Raises:
        OSError: the output cannot take it (a full disk, say); this is never about the video.
    """
    path.write_bytes(data)
    return hashlib.sha256(data).hexdigest()
