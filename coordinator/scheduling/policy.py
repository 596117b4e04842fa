"""Scheduling decisions as pure functions: how big the next unit is, where to cut, what work costs.

Work is counted in *pixels*: those of the frames to decode, and, weighted, those of the frames to
encode. A rate in pixels per second turns work into seconds; rates are learned for each codec and
resolution class, then for each video, and a factor for each host.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

from framefleet.common.job.sampling import Sampling
from framefleet.common.job.spec import CutRule
from framefleet.common.media import MAX_HINTS, MAX_TICK, VideoInfo

DISPATCH_COST_S = 100e-6  # coordinator CPU for one unit, taken from poll loops in other schedulers
DISPATCH_LOAD = 0.3  # share of one core that handing out may take, so u_min grows with the slots
UNITS_AHEAD = 4  # size R/(4P): safer than factoring's R/(2P), as estimates err alike within a video
ENCODE_WEIGHT = 2.0  # JPEG at quality 95 costs about twice a decoded H.264 frame of that size
DEFAULT_RATE = 150e6  # pixels/s of one core, ordinary H.264: the order of magnitude until measured
MIN_RATE = 1.0  # a pixel per second: below it, whoever told was wrong
UNKNOWN_GOP_S = 2.0  # seconds between keyframes where no index tells
MIN_OBSERVED_S = 0.02  # shorter units measure start-up, not speed
PRIOR_S = 2.0  # a unit's own progress outweighs what was expected of it after so many seconds
OVERDUE_SHARE = 0.25  # a unit beyond its estimate is expected to last this share of its time so far
SPLIT_COST_S = 0.2  # from one Shrink to the first frame of the rest elsewhere: messages, opening, seeking
LEAST_GAIN = 0.1  # of a unit's remaining time, below which it is not worth being split
HEDGE_FACTOR, HEDGE_MIN_S = 3.0, 30.0  # a copy for what lasts longer than this times its estimate
OVERRUN_SHARE = (
    0.25  # of what was seen, that a video which outlasts its claimed duration is expected to go on
)
CLAIM_MARGIN_S = (
    1.0  # claimed durations are those of the longest stream, often a little longer than the pictures
)
DEFAULT_FRAME_RATE = 30.0
DEFAULT_BYTES_PER_VIDEO_S = 250e3  # 2 Mbit/s, for a file that does not tell its duration
DEFAULT_BYTES_PER_WORK_S = 2e6  # of a file not yet probed: megabytes that make a second of work

CLASSES_REMEMBERED = 1024

RateClass = tuple[str, int]


def next_size_s(remaining_s: float, *, speed: float, unit_min_s: float, unit_cap_s: float) -> float:
    """Seconds of work of the next unit: ``clamp(R/(4P), u_min, u_cap)``, P the total speed in slots.

    The minimum grows with the slots, so that handing out never takes more than ``DISPATCH_LOAD`` of the
    coordinator's core.
    """
    minimum = max(unit_min_s, speed * DISPATCH_COST_S / DISPATCH_LOAD)
    return max(minimum, min(unit_cap_s, remaining_s / (UNITS_AHEAD * max(speed, 1e-9))))


def piece_for_slow_s(remaining_s: float, *, speed: float, slowness: float) -> float:
    """Seconds, on the fastest host, of the largest piece that a host ``slowness`` times as slow is given.

    It would be finished there when the fastest could have done everything else and this: the slow one needs
    ``slowness`` times as long, the others until then ``remaining_s`` shared out among them (``speed``).
    """
    return (remaining_s / max(speed, 1e-9)) / (slowness - 1)


def rate_class(info: VideoInfo) -> RateClass:
    """Codec and resolution class: halvings of the area below 2^24 pixels share what they cost a pixel."""
    return _rate_class(info.codec, info.width * info.height)


@lru_cache(maxsize=CLASSES_REMEMBERED)
def _rate_class(codec: str, area: int) -> RateClass:
    return codec, round(math.log2(area))


def work_per_second(info: VideoInfo, sampling: Sampling) -> float:
    """Work, in pixels, in one second of a video of which no list of times is wanted."""
    decoded, written = frames_per_second(info, sampling)
    return info.width * info.height * (decoded + ENCODE_WEIGHT * written)


def decoding_share(info: VideoInfo, sampling: Sampling) -> float:
    """The share of the work that is decoding, and so is spent on roll-in too."""
    if sampling.times is not None:
        return 1.0
    decoded, written = frames_per_second(info, sampling)
    return decoded / (decoded + ENCODE_WEIGHT * written)


def frames_per_second(info: VideoInfo, sampling: Sampling) -> tuple[float, float]:
    """How many frames are expected to be decoded, and written, in a second of a video.

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
    return decoded, written


def work_per_time(info: VideoInfo, times: int) -> float:
    """Work, in pixels, for each of so many times of a list: half a GOP, but all at most the whole video."""
    source_fps = info.frame_rate or DEFAULT_FRAME_RATE
    gop_s = info.duration_s / len(info.keyframes) if info.keyframes else UNKNOWN_GOP_S
    decoded = min(source_fps * gop_s / 2 + 1, max(1.0, source_fps * info.duration_s / max(1, times)))
    return info.width * info.height * (decoded + ENCODE_WEIGHT)


def piece_s(info: VideoInfo) -> float:
    """Seconds of video in the largest piece that no cut can divide: the longest GOP; infinity for what cannot
    be entered in the middle."""
    if not info.seekable or not info.keyframes or not info.duration_s:
        return math.inf
    gaps = [float((after - before) * info.time_base) for before, after in pairwise(info.keyframes)]
    last_s = info.duration_s - float((info.keyframes[-1] - info.first_pts) * info.time_base)
    # a file of one GOP may be longer than its container claims
    return max(0.0, last_s, *gaps) if gaps else max(0.0, last_s) + CLAIM_MARGIN_S


def observed_px(info: VideoInfo, *, decoded: int, written: int) -> float:
    """The work that a unit turned out to be, in pixels."""
    return info.width * info.height * (decoded + ENCODE_WEIGHT * written)


def remaining_s(
    work_px: float, *, rate: float, done_px: float, busy_s: float, since_s: float, elapsed_s: float
) -> tuple[float, float]:
    """Estimated seconds until a running unit is complete, and its rate in pixels per second.

    ``rate`` is what is expected of its slot; ``done_px`` and ``busy_s`` are what it last reported,
    ``since_s`` seconds ago; ``elapsed_s`` is its time so far. Its own speed counts more the longer it has
    been measured.
    """
    if busy_s <= 0:
        since_s = elapsed_s
    rate = max(MIN_RATE, (rate * PRIOR_S + done_px) / (PRIOR_S + busy_s))
    left_s = (work_px - done_px) / rate - since_s
    return (left_s if left_s > 0 else OVERDUE_SHARE * since_s), rate


def finish_level_s(remaining: Sequence[tuple[float, float]], idle_speed: float) -> float:
    """When all would be finished if what lies beyond that moment were shared out among idle slots.

    ``remaining``: seconds and speed of each running unit; ``idle_speed``: of all idle slots together. It is
    the ``t`` with ``sum(max(0, r - t) * speed) == idle_speed * t``.
    """
    work, speed, level = 0.0, idle_speed, 0.0
    longest_first = sorted(remaining, reverse=True)
    following = [seconds for seconds, _ in longest_first[1:]]
    for (seconds, its_speed), next_s in zip(longest_first, [*following, 0.0], strict=True):
        work += seconds * its_speed
        speed += its_speed
        level = work / speed
        if level >= next_s:
            break
    return level


def roll_in_s(info: VideoInfo, start_s: float) -> float:
    """Seconds of video that are decoded before ``start_s`` behind ``t_first`` is reached."""
    keys_s = _keys_s(info)
    place = bisect_right(keys_s, start_s + float(info.time_base) / 2)
    if not place:
        return 0.0
    seconds = max(0.0, start_s - keys_s[place - 1])
    if place == len(keys_s) and start_s > info.duration_s:
        # beyond what the container told: keyframes as far apart as before
        seconds = min(seconds, keys_s[-1] / max(1, len(keys_s) - 1))
    return seconds


def believed_end_s(info: VideoInfo, seen_s: float) -> float:
    """Where a video ends, in seconds behind ``t_first``, of which ``seen_s`` seconds have been seen.

    Beyond what its container claims, it may last a share of what it has lasted so far.
    """
    if seen_s < info.duration_s - CLAIM_MARGIN_S:
        return info.duration_s
    return max(info.duration_s, seen_s + OVERRUN_SHARE * seen_s)


def _keys_s(info: VideoInfo) -> list[float]:
    tick_s = float(info.time_base)
    return [(key - info.first_pts) * tick_s for key in info.keyframes]


@dataclass(frozen=True, slots=True)
class Remainder:
    """What is left of a running unit.

    Attributes:
        now_s, end_s: from where it is now to its end, in seconds of video behind ``t_first``.
        time_per_video_s: seconds of time that a second of video takes it.
        helper_time_per_video_s: the same for a slot that would take the rest.
        lead_s: seconds of time until it gets on from ``now_s``.
    """

    now_s: float
    end_s: float
    time_per_video_s: float
    helper_time_per_video_s: float
    lead_s: float = 0.0


def split_position(
    info: VideoInfo, sampling: Sampling, left: Remainder, *, keep_s: float, within_gops: bool = True
) -> int | None:
    """Where to split a running unit, so that it keeps about ``keep_s`` seconds of time and is finished
    earliest, rest included; None if that gains nothing.

    At a keyframe the rest costs nothing extra; elsewhere everything from the keyframe before is decoded
    again, which may pay where GOPs are long, and is not thought of without ``within_gops``.
    """
    if not info.seekable or not info.keyframes or left.end_s <= left.now_s:
        return None
    keys_s = _keys_s(info)
    pace, helper_pace = left.time_per_video_s, left.helper_time_per_video_s
    if not (0 < pace < math.inf and 0 < helper_pace < math.inf and left.end_s < math.inf):
        return None
    if keys_s[-1] < left.end_s - CLAIM_MARGIN_S and left.end_s > info.duration_s:
        # beyond what the container told: keyframes as far apart as before
        gap_s = max(CLAIM_MARGIN_S, keys_s[-1] / max(1, len(keys_s) - 1))
        count = min(MAX_HINTS, int((left.end_s - keys_s[-1]) / gap_s))
        keys_s += [keys_s[-1] + gap_s * number for number in range(1, count + 1)]
    total_s = left.lead_s + (left.end_s - left.now_s) * pace
    helpers = max(1.0, (total_s - keep_s) * helper_pace / pace / max(keep_s, 1e-6))
    share = decoding_share(info, sampling)
    target_s = left.now_s + max(0.0, keep_s - left.lead_s) / pace
    after = bisect_right(keys_s, target_s)
    begun = bisect_right(keys_s, left.now_s)
    begun_s = keys_s[begun - 1] if begun else left.now_s
    # where the unit and a single rest in the same GOP would be finished at the same time
    again_s = (share * (left.now_s - begun_s) + left.end_s - left.now_s) * helper_pace
    even_s = (again_s + SPLIT_COST_S - left.lead_s) / (pace + (1 - share) * helper_pace)
    candidates = set(keys_s[max(0, after - 1) : after + 1])
    if within_gops:
        candidates |= {target_s, left.now_s + even_s}
    best: tuple[float, float] | None = None
    for at_s in candidates:
        if not left.now_s < at_s < left.end_s:
            continue
        place = bisect_right(keys_s, at_s)
        key_s = keys_s[place - 1] if place else 0.0
        # only what lies behind the next keyframe can be shared out further at no cost
        next_s = min(left.end_s, keys_s[place] if place < len(keys_s) else left.end_s)
        own_s = 0.0 if at_s == key_s else share * (at_s - key_s) + next_s - at_s
        shared_s = left.end_s - (at_s if at_s == key_s else next_s)
        rest_s = (own_s + shared_s / helpers) * helper_pace + SPLIT_COST_S
        finish_s = max(left.lead_s + (at_s - left.now_s) * pace, rest_s)
        if best is None or finish_s < best[0]:
            best = finish_s, at_s
    if best is None or best[0] > (1 - LEAST_GAIN) * total_s:
        return None
    place = bisect_left(keys_s, best[1])
    if place < len(info.keyframes) and keys_s[place] == best[1]:  # exactly there, not a rounding error off
        return sampling.position_at_tick(info.keyframes[place] - info.first_pts, info.time_base)
    return sampling.position_at(Fraction(best[1]), info.time_base)


def middle_position(info: VideoInfo, sampling: Sampling, *, start: int, stop: int | None) -> int | None:
    """The keyframe nearest to the middle of a range and strictly within it, as a position.

    None if the range is one GOP.
    """
    if not info.seekable:
        return None
    time_base = info.time_base
    end_s = info.duration_s if stop is None else sampling.seconds_of(stop, time_base)
    middle_s = (sampling.seconds_of(start, time_base) + end_s) / 2
    found = [
        position
        for position in (sampling.position_at_tick(key - info.first_pts, time_base) for key in info.keyframes)
        if start < position <= MAX_TICK and (stop is None or position < stop)
    ]
    return min(found, key=lambda each: abs(sampling.seconds_of(each, time_base) - middle_s), default=None)


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
    begin_s = sampling.seconds_of(start, time_base)
    end_s = info.duration_s
    if end is not None:
        end_s = min(end_s, sampling.seconds_of(end, time_base))
    if begin_s + 1.5 * span_s >= end_s:
        return None
    target_s = begin_s + span_s
    if rule == "anywhere":
        stop = max(sampling.position_at(Fraction(target_s), time_base), start + 1)
        return stop if stop <= MAX_TICK and (end is None or stop < end) else None
    keyframes, first_pts = info.keyframes, info.first_pts
    up, down = info.time_base_num, info.time_base_den
    target = first_pts + int(target_s * down / up)
    after = bisect_left(keyframes, target)
    nearest = after
    if after > 0 and (after == len(keyframes) or target - keyframes[after - 1] < keyframes[after] - target):
        nearest = after - 1
    # the nearest keyframe may be the one that this unit begins with: then the next is the first choice
    for keyframe in keyframes[nearest : nearest + 2]:
        ticks = keyframe - first_pts
        stop = sampling.position_at_tick(ticks, time_base)
        if start < stop <= MAX_TICK and ticks * up / down < end_s:
            return stop if end is None or stop < end else None
    return None
