"""Which of the frames that were sampled are worth an image: what ``--dedup`` and ``--min-sharpness`` ask.

Everything is reckoned in integers from the picture that would be written, so that hosts of any kind agree. A
decision takes a frame and the sample before it, nothing else: it is the same wherever a video is cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from framefleet.common.job.image_options import ImageOptions
from framefleet.common.media import FrameStatus
from framefleet.worker.picture.encoding import Picture

_SIDE: Final = 32  # pixels of the square that is transformed
_LOW: Final = 8  # lowest frequencies of it, each way: 64 bits
_SCALE: Final = 1 << 14
_ANGLES = np.outer(np.arange(_LOW), 2 * np.arange(_SIDE) + 1) * np.pi / (2 * _SIDE)
_BASIS: Final[NDArray[np.int64]] = np.rint(np.cos(_ANGLES) * _SCALE).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Measures:
    """What a decision goes by; None: nobody asked."""

    hash: int | None = None
    sharpness: float | None = None


def is_choosing(options: ImageOptions) -> bool:
    """Whether any frame may be left out."""
    return options.dedup is not None or options.min_sharpness is not None


def measure(picture: Picture, options: ImageOptions) -> Measures:
    """What the options need to know of a picture.

    It is (height, width, 3), blue first, or (height, width), of uint8, or uint16, whose upper byte counts.
    """
    if picture.dtype == np.uint16:
        picture = (picture >> 8).astype(np.uint8)
    gray = picture if picture.ndim == 2 else np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)
    return Measures(
        hash=None if options.dedup is None else perceptual_hash(gray),
        sharpness=None if options.min_sharpness is None else sharpness(gray),
    )


def verdict(mine: Measures, before: Measures | None, options: ImageOptions) -> tuple[FrameStatus, int | None]:
    """The status of a frame and its distance to the sample before, None where that was not looked at.

    A frame is no duplicate of one that is blurred: of the two only the other would be left.
    """
    distance = None
    if mine.hash is not None and before is not None and before.hash is not None:
        distance = (mine.hash ^ before.hash).bit_count()
    if _is_blurred(mine, options):
        return "blurred", distance
    if distance is not None and options.dedup is not None and distance <= options.dedup:
        assert before is not None
        return ("ok" if _is_blurred(before, options) else "duplicate"), distance
    return "ok", distance


def _is_blurred(measures: Measures, options: ImageOptions) -> bool:
    least = options.min_sharpness
    return least is not None and measures.sharpness is not None and measures.sharpness < least


def perceptual_hash(gray: Picture) -> int:
    """64 bits of an image (height, width), uint8, that stay when it is scaled, compressed or made brighter.

    They tell which of the 8 x 8 lowest frequencies of its discrete cosine transform, at 32 x 32 pixels, are
    above their median (Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010,
    3.2.1).
    """
    small = np.asarray(cv2.resize(gray, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA), np.int64)
    low = (_BASIS @ small @ _BASIS.T).ravel()
    order = np.sort(low)
    above = 2 * low > order[len(order) // 2 - 1] + order[len(order) // 2]
    return int.from_bytes(np.packbits(above).tobytes(), "big")


def sharpness(gray: Picture) -> float:
    """The variance of the Laplacian of an image (height, width), uint8 (Pech-Pacheco et al., "Diatom
    autofocusing in brightfield microscopy", 2000): 0 is flat, below some 100 is soft at full HD."""
    edges = np.asarray(cv2.Laplacian(gray, cv2.CV_16S), np.int16)
    mean, deviation = cv2.meanStdDev(edges)
    del mean
    return round(float(deviation[0, 0]) ** 2, 3)
