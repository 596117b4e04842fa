"""From a picture to the bytes of an image file: a function of its arguments, without metadata."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from framefleet.common.job.image_options import DEFAULT_QUALITY, ImageOptions
from framefleet.worker.video.open_video import MediaError

Picture = NDArray[np.uint8 | np.uint16]
"""(height, width, 3), blue first, or (height, width) of gray."""

# On film, run lengths after the Paeth filter take 0.6 to 0.75 of the time of zlib's level 1 after libpng's
# choice of filters, and 0.87 to 0.94 of its bytes (docs/images.md).
FAST_PNG = [
    cv2.IMWRITE_PNG_COMPRESSION,
    1,
    cv2.IMWRITE_PNG_STRATEGY,
    cv2.IMWRITE_PNG_STRATEGY_RLE,
    cv2.IMWRITE_PNG_FILTER,
    cv2.IMWRITE_PNG_FILTER_PAETH,
]
LOSSLESS_WEBP = 101  # any quality above 100
AVIF_SPEED = 9  # 8 takes three times as long for 0 to 11 % fewer bytes

cv2.setNumThreads(1)  # a fleet runs a process per core


def encode(image: Picture, options: ImageOptions) -> bytes:
    """The bytes of an image file of ``options.format``.

    ``image`` need not be contiguous: rows may be apart, and its pixels are not copied then. uint16 makes a
    16-bit PNG; no other format takes it. WebP has no gray files, and stores three equal colours.

    Raises:
        MediaError: the format cannot hold an image of this size.
        MemoryError: there is too little; that says nothing about the video.
    """
    try:
        done, data = cv2.imencode(f".{options.suffix}", image, parameters(options))
    except cv2.error as error:
        check_opencv_memory(error)
        done, reason = False, f": {error.err}"
    else:
        reason = ""
    if not done:
        height, width = image.shape[:2]
        raise MediaError(
            f"its frames of {width} x {height} pixels do not fit a {options.format} file{reason}"
        )
    return data.tobytes()


def check_opencv_memory(error: cv2.error) -> None:
    """To be called when OpenCV has refused something: pass on a lack of memory.

    Raises:
        MemoryError: it was one.
    """
    if error.code == cv2.Error.StsNoMem:
        raise MemoryError("OpenCV has no memory for a picture") from error


@lru_cache(4)
def parameters(options: ImageOptions) -> list[int]:
    """What OpenCV's encoder is to be told."""
    quality = options.quality or DEFAULT_QUALITY
    match options.format:
        case "jpg":
            sampling = (
                cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
                if options.subsampling == "4:4:4"
                else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420
            )
            return [
                cv2.IMWRITE_JPEG_QUALITY,
                quality,
                cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
                sampling,
                cv2.IMWRITE_JPEG_PROGRESSIVE,
                int(options.progressive),
            ]
        case "png":
            if options.png_level is None:
                return FAST_PNG
            return [cv2.IMWRITE_PNG_COMPRESSION, options.png_level]
        case "webp":
            return [cv2.IMWRITE_WEBP_QUALITY, LOSSLESS_WEBP if options.lossless else quality]
        case "avif":
            return [cv2.IMWRITE_AVIF_QUALITY, quality, cv2.IMWRITE_AVIF_SPEED, AVIF_SPEED]
