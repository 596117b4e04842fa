"""From a decoded frame to the bytes of an image file: as displayed, and the same every time."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import av
import cv2
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from common.spec import ImageOptions
from worker.media import MediaError, check_dimensions

PNG_COMPRESSION = 1  # zlib level; see encode

Image = NDArray[np.uint8]

cv2.setNumThreads(1)  # a fleet runs a process per core


def to_bgr(frame: VideoFrame) -> tuple[Image, int]:
    """The frame as it is to be shown: (height, width, 3) uint8 BGR, and by how much it was turned.

    The stream's colour matrix and range are honoured; deep and HDR pictures become 8 bits without tone
    mapping. The display matrix is applied, mirroring included; the angle is in degrees clockwise (0, 90,
    180 or 270), after a left-right mirroring if there is one.

    Raises:
        MediaError: the frame is too large, or of a pixel format that cannot be converted.
    """
    check_dimensions(frame.width, frame.height)
    try:
        image: Image = frame.to_ndarray(format="bgr24").astype(np.uint8, copy=False)
    except (av.FFmpegError, ValueError) as error:
        raise MediaError(f"cannot convert its pixel format {frame.format.name}: {error}") from error
    matrix = display_matrix(frame)
    if matrix is not None:
        image = turned(image, matrix)
    return np.ascontiguousarray(image), rotation_of(matrix)


def display_matrix(frame: VideoFrame) -> tuple[int, int, int, int] | None:
    """(a, b, c, d) of x' = a x + c y, y' = b x + d y; None if the frame is shown as it is stored."""
    try:
        # the stubs take the container of all side data for one item of it
        data = cast("Mapping[str, bytes]", frame.side_data).get("DISPLAYMATRIX")
    except ValueError:
        # the frame has side data of a kind that PyAV has no name for (stereo HEVC has): mirroring is
        # then out of reach, but the angle is not
        quarters = round(-frame.rotation / 90) % 4
        return [(1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0)][quarters] if quarters else None
    if data is None:
        return None
    a, b, _, c, d = (int(value) for value in np.frombuffer(bytes(data), "<i4")[:5])
    return a, b, c, d


def turned(image: Image, matrix: tuple[int, int, int, int]) -> Image:
    """A view of ``image`` with the quarter turns and mirrorings of a display matrix."""
    a, b, c, d = matrix
    if abs(b) > abs(a):
        image, right, down = image.transpose(1, 0, 2), c, b
    else:
        right, down = a, d
    return image[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1]


def rotation_of(matrix: tuple[int, int, int, int] | None) -> int:
    """Degrees clockwise that a display matrix turns a picture, to the nearest quarter."""
    if matrix is None:
        return 0
    a, b, c, d = matrix
    if a * d < b * c:  # mirrored
        a, b = -a, -b
    return round(math.degrees(math.atan2(b, a)) / 90) * 90 % 360


def encode(image: Image, options: ImageOptions) -> bytes:
    """A BGR image as the bytes of a JPEG or PNG file: a function of its arguments alone.

    PNG is compressed at level 1: on film, higher levels take several times as long for a few per cent.

    Raises:
        MediaError: the format cannot hold an image of this size.
    """
    if options.format == "png":
        parameters = [cv2.IMWRITE_PNG_COMPRESSION, PNG_COMPRESSION]
    else:
        parameters = [cv2.IMWRITE_JPEG_QUALITY, options.quality]
    try:
        done, data = cv2.imencode(f".{options.format}", image, parameters)
    except cv2.error as error:
        done, reason = False, f": {error.err}"
    else:
        reason = ""
    if not done:
        height, width = image.shape[:2]
        raise MediaError(
            f"its frames of {width} x {height} pixels do not fit a {options.format} file{reason}"
        )
    return data.tobytes()


def write(path: Path, data: bytes) -> str:
    """Write ``data`` to ``path``, replacing what is there; gives its SHA-256 in hexadecimal.

    Raises:
        OSError: the output cannot take it (a full disk, say); this is never about the video.
    """
    path.write_bytes(data)
    return hashlib.sha256(data).hexdigest()
