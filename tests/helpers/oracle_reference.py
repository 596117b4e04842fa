"""What an extraction must give, the slow and obvious way, apart from the product's code.

It decodes the whole file in order and applies the definition of sampling to the list of all pts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

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
    keyframe: bool = False


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
                frames.append(Decoded(frame.pts, frame.duration or 0, bgr_md5(image), frame.key_frame))
        assert stream.time_base is not None
        return frames, stream.time_base


def select(
    frames: list[tuple[int, int]],
    time_base: Fraction,
    rate: Fraction | None = None,
    *,
    every: int = 1,
    times: Sequence[Fraction] | None = None,
    keyframes: Sequence[bool] | None = None,
    start: Fraction = Fraction(0),
    end: Fraction | None = None,
    limit: int | None = None,
) -> list[tuple[int, int]]:
    """(sample, index of its frame) of frames given as (pts, duration), by the definition.

    One of ``rate``, ``times`` (any order), ``keyframes`` (which frames are), or every so many-th frame.
    """

    def is_within(offset: Fraction) -> bool:
        return start <= offset and (end is None or offset < end)

    offsets = [(pts - frames[0][0]) * time_base for pts, _ in frames]
    if rate is None and times is None:
        admitted = [
            index
            for index, offset in enumerate(offsets)
            if is_within(offset) and (keyframes is None or keyframes[index])
        ]
        return list(enumerate(admitted[::every]))[:limit]
    over = offsets[-1] + (frames[-1][1] or 1) * time_base
    if rate is not None:
        targets: list[Fraction] = []
        while (target := len(targets) / rate) < over:
            targets.append(target)
    else:
        targets = sorted(set(times or ()))
    chosen: list[tuple[int, int]] = []
    for k, target in enumerate(targets):
        if target < over:
            index = max(i for i, offset in enumerate(offsets) if offset <= target + time_base / 2)
            if not chosen or chosen[-1][1] != index:
                chosen.append((k, index))
    return [(k, index) for k, index in chosen if is_within(targets[k])][:limit]


def reference(
    path: Path,
    rate: Fraction | None = None,
    *,
    mirrored: bool = False,
    keyframes: bool = False,
    **others: Any,
) -> list[Expected]:
    """The frames that an extraction of the whole file must give, in order; ``others`` as for ``select``."""
    frames, time_base = decode_in_order(path, mirrored=mirrored)
    keys = [frame.keyframe for frame in frames] if keyframes else None
    chosen = select(
        [(frame.pts, frame.duration) for frame in frames], time_base, rate, keyframes=keys, **others
    )
    return [Expected(sample, frames[index].pts, frames[index].bgr_md5) for sample, index in chosen]
