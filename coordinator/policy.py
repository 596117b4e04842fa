"""Scheduling decisions as pure functions: how big the next unit is, where to cut, what work costs.

Work is counted in *pixels*: those of the frames to decode, and, weighted, those of the frames to
encode. A rate in pixels per second turns work into seconds; rates are learned for each codec and
resolution class, then for each video, and a factor for each host.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from fractions import Fraction

from common.media import VideoInfo
from common.sampling import Sampling
from common.spec import CutRule

DISPATCH_COST_S = 100e-6  # coordinator CPU for one unit, taken from poll loops in other schedulers
DISPATCH_LOAD = 0.3  # share of one core that handing out may take, so u_min grows with the slots
UNITS_AHEAD = 4  # size R/(4P): safer than factoring's R/(2P), as estimates err alike within a video
ENCODE_WEIGHT = 2.0  # JPEG at quality 95 costs about twice a decoded H.264 frame of that size
DEFAULT_RATE = 150e6  # pixels/s of one core, ordinary H.264: the order of magnitude until measured
EWMA_WEIGHT = 0.3  # of the newest observation
UNKNOWN_GOP_S = 2.0  # seconds between keyframes where no index tells
MIN_OBSERVED_S = 0.02  # shorter units measure start-up, not speed
SPEED_BOUNDS = (0.1, 4.0)
DEFAULT_FRAME_RATE = 30.0
DEFAULT_BYTES_PER_VIDEO_S = 250e3  # 2 Mbit/s, for a file that does not tell its duration
DEFAULT_BYTES_PER_WORK_S = 2e6  # of a file not yet probed: megabytes that make a second of work

RateClass = tuple[str, int]


def next_size_s(remaining_s: float, *, speed: float, unit_min_s: float, unit_cap_s: float) -> float:
    """Seconds of work of the next unit: ``clamp(R/(4P), u_min, u_cap)``, P the total speed in slots.

    The minimum grows with the slots, so that handing out never takes more than ``DISPATCH_LOAD`` of the
    coordinator's core.
    """
    minimum = max(unit_min_s, speed * DISPATCH_COST_S / DISPATCH_LOAD)
    return max(minimum, min(unit_cap_s, remaining_s / (UNITS_AHEAD * max(speed, 1e-9))))


def rate_class(info: VideoInfo) -> RateClass:
    """Codec and resolution class: halvings of the area below 2^24 pixels share what they cost a pixel."""
    return info.codec, round(math.log2(info.width * info.height))


def work_per_second(info: VideoInfo, sampling: Sampling) -> float:
    """Work, in pixels, in one second of a video of which no list of times is wanted.

    Where samples are rarer than keyframes, about half a GOP is decoded for each.
    """
    source_fps = info.frame_rate or DEFAULT_FRAME_RATE
    keyframe_fps = len(info.keyframes) / info.duration_s if info.keyframes and info.duration_s else None
    decoded = source_fps
    if sampling.keyframes_only:
        decoded = written = min(source_fps, keyframe_fps or 1 / UNKNOWN_GOP_S)
    elif sampling.rate is None:
        written = source_fps / sampling.every
    else:
        written = min(float(sampling.rate), source_fps)
        if keyframe_fps is not None and written < keyframe_fps:
            decoded = source_fps * written / keyframe_fps / 2
    return info.width * info.height * (decoded + ENCODE_WEIGHT * written)


def work_per_time(info: VideoInfo, times: int) -> float:
    """Work, in pixels, for each of so many times of a list: half a GOP, but all at most the whole video."""
    source_fps = info.frame_rate or DEFAULT_FRAME_RATE
    gop_s = info.duration_s / len(info.keyframes) if info.keyframes else UNKNOWN_GOP_S
    decoded = min(source_fps * gop_s / 2 + 1, max(1.0, source_fps * info.duration_s / max(1, times)))
    return info.width * info.height * (decoded + ENCODE_WEIGHT)


def observed_px(info: VideoInfo, *, decoded: int, written: int) -> float:
    """The work that a unit turned out to be, in pixels."""
    return info.width * info.height * (decoded + ENCODE_WEIGHT * written)


def ewma(old: float | None, new: float) -> float:
    """Exponentially weighted mean; the first observation counts whole."""
    return new if old is None else old + EWMA_WEIGHT * (new - old)


def cut_position(
    info: VideoInfo, sampling: Sampling, *, start: int, span_s: float, rule: CutRule, end: int | None = None
) -> int | None:
    """Where a unit that begins at ``start`` and should last ``span_s`` seconds of video ends.

    None means at the end, which is position ``end`` or (None) the video's: it cannot be cut, or what would
    remain is less than half a unit. A position may be wrong only in cost, never in the frames given.
    """
    if rule == "never" or not info.seekable or info.duration_s <= 0:
        return None
    time_base = info.time_base
    begin_s = float(sampling.offset_of(start, time_base))
    end_s = info.duration_s
    if end is not None:
        end_s = min(end_s, float(sampling.offset_of(end, time_base)))
    if begin_s + 1.5 * span_s >= end_s:
        return None
    target_s = begin_s + span_s
    if rule == "anywhere":
        stop = max(sampling.position_at(Fraction(target_s), time_base), start + 1)
        return stop if end is None or stop < end else None
    keyframes = info.keyframes
    target = info.first_pts + int(target_s / time_base)
    after = bisect_left(keyframes, target)
    nearest = after
    if after > 0 and (after == len(keyframes) or target - keyframes[after - 1] < keyframes[after] - target):
        nearest = after - 1
    # the nearest keyframe may be the one that this unit begins with: then the next is the first choice
    for keyframe in keyframes[nearest : nearest + 2]:
        offset = (keyframe - info.first_pts) * time_base
        stop = sampling.position_at(offset, time_base)
        if stop > start and float(offset) < end_s:
            return stop if end is None or stop < end else None
    return None
