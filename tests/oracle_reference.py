"""What an extraction must give, the slow and obvious way, apart from the product's code.

It decodes the whole file in order and applies the definition of sampling to the list of all pts.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Expected:
    sample: int
    pts: int
    bgr_md5: str


@dataclass(frozen=True)
class Decoded:
    pts: int
    duration: int
    bgr_md5: str


def bgr_md5(image: NDArray[np.uint8]) -> str:
    """MD5 of an image's pixels, BGR, row by row."""
    return hashlib.md5(np.ascontiguousarray(image).tobytes()).hexdigest()


def decode_in_order(path: Path, *, mirrored: bool = False) -> tuple[list[Decoded], Fraction]:
    """All frames whose pts grows, and the time base.

    They are turned as PyAV's own rotation says, or ``mirrored`` left to right, which it does not tell.
    """
    frames: list[Decoded] = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for packet in container.demux(stream):
            try:
                decoded = packet.decode()
            except av.FFmpegError:
                continue
            for frame in decoded:
                assert isinstance(frame, av.VideoFrame)
                assert frame.pts is not None
                if frames and frame.pts <= frames[-1].pts:
                    continue
                image = frame.to_ndarray(format="bgr24").astype(np.uint8)
                image = np.fliplr(image) if mirrored else np.rot90(image, frame.rotation // 90)
                frames.append(Decoded(frame.pts, frame.duration or 0, bgr_md5(image)))
        assert stream.time_base is not None
        return frames, stream.time_base


def select(
    frames: list[tuple[int, int]], time_base: Fraction, rate: Fraction | None
) -> list[tuple[int, int]]:
    """(sample, index of its frame) of frames given as (pts, duration), by the definition."""
    if rate is None:
        return [(index, index) for index in range(len(frames))]
    half = time_base / 2
    first = frames[0][0] * time_base
    last_pts, last_duration = frames[-1]
    end = (last_pts + (last_duration or 1)) * time_base
    chosen: list[tuple[int, int]] = []
    k = 0
    while (target := first + k / rate) < end:
        index = max(i for i, (pts, _) in enumerate(frames) if pts * time_base <= target + half)
        if not chosen or chosen[-1][1] != index:
            chosen.append((k, index))
        k += 1
    return chosen


def reference(path: Path, rate: Fraction | None, *, mirrored: bool = False) -> list[Expected]:
    """The frames that an extraction of the whole file must give, in order."""
    frames, time_base = decode_in_order(path, mirrored=mirrored)
    chosen = select([(frame.pts, frame.duration) for frame in frames], time_base, rate)
    return [Expected(sample, frames[index].pts, frames[index].bgr_md5) for sample, index in chosen]
