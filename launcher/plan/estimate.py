"""From looks at some videos to what each video costs and gives; costs are those of this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Final

from framefleet.common.job.sampling import Sampling
from framefleet.common.media import VideoInfo
from framefleet.coordinator.scheduling.policy import (
    DEFAULT_BYTES_PER_VIDEO_S,
    DEFAULT_RATE,
    ENCODE_WEIGHT,
    frames_per_second,
)
from framefleet.launcher.plan.inspect_videos import Look

UNKNOWN_GOP_S: Final = 2.0  # between keyframes
UNKNOWN_BITS_PER_PIXEL: Final = 1.5  # of an image, where no video could be looked at
MIN_WORK_S: Final = 1e-3
# A frame of H.264 in which nothing changes takes some ten bytes, and its place in an index as many: what has
# less of them claims to be longer than it is
LEAST_BYTES_PER_FRAME: Final = 8
LEAST_FPS: Final = 1.0  # believed where a rate is to be held against a length: containers tell odd ones
HIGHEST_FPS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """One video: seconds of a core of its own, frames that come of it, their bytes, its longest piece, and
    how much of it is wanted."""

    work_s: float
    frames: float
    frame_bytes: float
    size_bytes: int
    gop_s: float
    duration_s: float


def estimate_all(
    sizes: Sequence[int], looks: dict[int, Look | None], sampling: Sampling, *, most_frames: int | None = None
) -> list[Estimate]:
    """An estimate for each video: those that were not looked at are like the others, by their bytes.

    So are those that claim to be longer than their size allows.

    Args:
        most_frames: of a video, that are written.
    """
    believed = {place: seen for place, seen in looks.items() if seen is not None and not is_too_long(seen)}
    bytes_per_s = median(
        [seen.size_bytes / seen.duration_s for seen in believed.values()] or [DEFAULT_BYTES_PER_VIDEO_S]
    )
    for place, seen in looks.items():
        if seen is not None and place not in believed:
            duration_s = seen.size_bytes / bytes_per_s
            believed[place] = replace(seen, duration_s=duration_s, gop_s=min(seen.gop_s, duration_s))
    whole = {place: _estimate(seen, sampling) for place, seen in believed.items()}
    if not whole:
        pixel_s = 1 / DEFAULT_RATE
        default = Look(
            codec="h264", width=1920, height=1080, duration_s=1.0, frame_rate=30.0, gop_s=2.0,
            size_bytes=round(DEFAULT_BYTES_PER_VIDEO_S),
            decode_s=1920 * 1080 * pixel_s, encode_s=1920 * 1080 * pixel_s * ENCODE_WEIGHT,
            frame_bytes=1920 * 1080 * UNKNOWN_BITS_PER_PIXEL / 8,
        )  # fmt: skip
        like = [_estimate(default, sampling)]
    else:
        like = list(whole.values())

    def per_byte(name: str) -> float:
        return float(median(getattr(each, name) / max(1, each.size_bytes) for each in like))

    work, frames, duration = per_byte("work_s"), per_byte("frames"), per_byte("duration_s")
    frame_bytes, gop_s = median(each.frame_bytes for each in like), median(each.gop_s for each in like)
    readable = 1.0 if not looks else max(0.0, sum(each is not None for each in looks.values()) / len(looks))
    found = []
    for place, size in enumerate(sizes):
        if place in whole:
            found.append(_limited(whole[place], sampling, most_frames))
        elif place in looks:
            found.append(Estimate(MIN_WORK_S, 0, 0, size, 0, 0))
        else:
            alike = Estimate(work * size, frames * size, frame_bytes, size, gop_s, duration * size)
            found.append(_part(_limited(alike, sampling, most_frames), readable or 1.0))
    return found


def is_too_long(seen: Look) -> bool:
    """Whether a file is too small for as many frames as its header claims."""
    rate = min(HIGHEST_FPS, max(LEAST_FPS, seen.frame_rate))
    return seen.duration_s * rate * LEAST_BYTES_PER_FRAME > seen.size_bytes


def _estimate(seen: Look, sampling: Sampling) -> Estimate:
    """The whole video, whatever its limits."""
    count = round(seen.duration_s / seen.gop_s) if seen.gop_s else 0
    info = VideoInfo(
        container="",
        codec=seen.codec,
        width=seen.width,
        height=seen.height,
        time_base_num=1,
        time_base_den=1000,
        first_pts=0,
        duration_s=min(seen.duration_s, 1e9),
        frame_rate=min(seen.frame_rate, 999.0),
        keyframes=[round(1000 * seen.gop_s * number) for number in range(min(count, 10_000))],
        seekable=True,
        size_bytes=seen.size_bytes,
        checksum="",
    )
    decoded, written = frames_per_second(info, sampling)
    if count > 10_000:  # more hints than a probe keeps: their density is what matters
        decoded = seen.frame_rate
    work_s = seen.duration_s * (seen.decode_s * decoded + seen.encode_s * written)
    return Estimate(
        work_s=max(MIN_WORK_S, work_s),
        frames=seen.duration_s * written,
        frame_bytes=seen.frame_bytes,
        size_bytes=seen.size_bytes,
        gop_s=seen.gop_s,
        duration_s=seen.duration_s,
    )


def _limited(whole: Estimate, sampling: Sampling, most_frames: int | None) -> Estimate:
    """What lies between the limits, and no more frames than are wanted.

    Decoding begins with the keyframe before the first limit, which is on average half a GOP away.
    """
    if not whole.duration_s:
        return whole
    start_s = min(float(sampling.start), whole.duration_s)
    end_s = whole.duration_s if sampling.end is None else min(float(sampling.end), whole.duration_s)
    wanted = _part(whole, max(0.0, end_s - start_s) / whole.duration_s)
    if most_frames is not None and wanted.frames > most_frames:
        wanted = _part(wanted, most_frames / wanted.frames)
    if not wanted.frames:
        return wanted
    gop_s = whole.gop_s or UNKNOWN_GOP_S
    rolled_s = start_s if start_s < gop_s else gop_s / 2
    return replace(wanted, work_s=wanted.work_s + whole.work_s * rolled_s / whole.duration_s)


def _part(video: Estimate, share: float) -> Estimate:
    return replace(
        video,
        work_s=max(MIN_WORK_S, video.work_s * share),
        frames=video.frames * share,
        duration_s=video.duration_s * share,
    )
