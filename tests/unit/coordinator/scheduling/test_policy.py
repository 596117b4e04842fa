"""Scheduling decisions: sizes and cuts."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framefleet.common.job.sampling import Sampling, parse_sampling
from framefleet.common.job.spec import CutRule
from framefleet.common.media import VideoInfo
from framefleet.coordinator.scheduling import policy


def info(seconds: float, keyframes: list[int], *, seekable: bool = True) -> VideoInfo:
    return VideoInfo(
        container="mp4",
        codec="h264",
        width=1280,
        height=720,
        time_base_num=1,
        time_base_den=1000,
        first_pts=500,
        duration_s=seconds,
        frame_rate=25.0,
        keyframes=[500 + tick for tick in keyframes],
        seekable=seekable,
        size_bytes=1,
        checksum="",
    )


def size(remaining_s: float, slots: float) -> float:
    return policy.next_size_s(remaining_s, speed=slots, unit_min_s=1.0, unit_cap_s=15.0)


def test_sizes_follow_what_remains_between_a_minimum_and_a_cap() -> None:
    assert size(1e6, 16) == 15.0
    assert size(640.0, 16) == 10.0
    assert size(3.0, 16) == 1.0


def test_the_minimum_grows_with_the_slots_so_that_the_coordinator_keeps_up() -> None:
    assert size(0.0, 64_000) == pytest.approx(64_000 * 100e-6 / 0.3)


@pytest.mark.parametrize(
    ("start", "span_s", "rule", "expected"),
    [
        (0, 4.0, "keyframes", 20),  # the keyframe at 4 s
        (0, 4.8, "keyframes", 20),  # nearer to 4 s than to 6 s
        (0, 5.4, "keyframes", 30),
        (20, 0.5, "keyframes", 30),  # the one it begins with is no end
        (0, 0.1, "keyframes", 10),
        (0, 3.3, "anywhere", 17),  # the first sample at or after 3.3 s
        (0, 0.01, "anywhere", 1),
        (0, 1.0, "never", None),
        (45, 1.0, "keyframes", None),  # less than half a unit would remain
        (0, 7.0, "keyframes", None),
    ],
)
def test_cuts(start: int, span_s: float, rule: CutRule, expected: int | None) -> None:
    video = info(10.0, [0, 2000, 4000, 6000, 8000])
    found = policy.cut_position(video, parse_sampling("5"), start=start, span_s=span_s, rule=rule)
    assert found == expected


def test_a_video_without_known_keyframes_or_that_cannot_be_entered_is_not_cut() -> None:
    sampling = parse_sampling("5")
    for video in (info(100.0, []), info(100.0, [0, 50_000], seekable=False), info(0.0, [0, 50_000])):
        assert policy.cut_position(video, sampling, start=0, span_s=5.0, rule="keyframes") is None


def test_the_largest_piece_is_a_gop_or_all_of_a_short_file_that_may_be_longer_than_it_claims() -> None:
    assert policy.piece_s(info(10.0, [0, 2000, 7000])) == 5.0
    assert policy.piece_s(info(10.0, [0, 2000])) == 8.0
    assert policy.piece_s(info(0.25, [0])) == 0.25 + policy.CLAIM_MARGIN_S
    assert policy.piece_s(info(10.0, [0, 2000], seekable=False)) == float("inf")


def test_one_endless_gop_is_not_cut() -> None:
    assert (
        policy.cut_position(
            info(3600.0, [0]), parse_sampling("native"), start=0, span_s=5.0, rule="keyframes"
        )
        is None
    )


@given(
    st.lists(st.integers(0, 100_000), unique=True).map(sorted),
    st.sampled_from(["5", "0.01", "30000/1001", "native"]),
    st.floats(0.01, 200),
    st.sampled_from(["keyframes", "anywhere"]),
)
def test_cutting_always_comes_to_an_end(keyframes: list[int], fps: str, span_s: float, rule: CutRule) -> None:
    video, sampling, start = info(100.0, keyframes), parse_sampling(fps), 0
    for _ in range(200_000):
        stop = policy.cut_position(video, sampling, start=start, span_s=span_s, rule=rule)
        if stop is None:
            return
        assert stop > start
        start = stop
    raise AssertionError("it did not")


def test_work_is_pixels_decoded_and_written() -> None:
    video = info(10.0, [])
    area = 1280 * 720
    assert policy.work_per_second(video, parse_sampling("5")) == area * (25 + policy.ENCODE_WEIGHT * 5)
    assert policy.work_per_second(video, parse_sampling("native")) == area * (25 + policy.ENCODE_WEIGHT * 25)
    assert policy.work_per_second(video, parse_sampling("60")) == area * (25 + policy.ENCODE_WEIGHT * 25)
    assert policy.observed_px(video, decoded=100, written=10) == area * (100 + policy.ENCODE_WEIGHT * 10)


def test_an_end_is_not_cut_beyond() -> None:
    video, sampling = info(100.0, [2000 * key for key in range(50)]), parse_sampling("5")
    rules: tuple[CutRule, ...] = ("keyframes", "anywhere")
    for rule in rules:
        cut = [
            policy.cut_position(video, sampling, start=start, span_s=4.0, rule=rule, end=52)
            for start in (0, 20, 25, 40)
        ]
        assert cut == [20, 40, None, None]


def test_times_are_cut_by_their_seconds() -> None:
    video = info(100.0, [2000 * key for key in range(50)])
    sampling = Sampling(times=tuple(Fraction(number, 2) for number in (0, 1, 2, 3, 9, 10, 80, 400)))
    found = policy.cut_position(video, sampling, start=0, span_s=4.0, rule="keyframes", end=8)
    assert found == 4, "the first one from 4 s on"
    assert policy.cut_position(video, sampling, start=6, span_s=4.0, rule="anywhere", end=8) == 7
    assert policy.cut_position(video, sampling, start=7, span_s=4.0, rule="anywhere", end=8) is None


def test_what_is_not_decoded_is_no_work() -> None:
    video = info(100.0, [2000 * key for key in range(50)])  # 25 frames a second, a keyframe in 2 s
    area = 1280 * 720
    weight = policy.ENCODE_WEIGHT
    assert policy.work_per_second(video, Sampling(keyframes_only=True)) == area * 0.5 * (1 + weight)
    assert policy.work_per_second(video, Sampling(every=5)) == area * (25 + weight * 5)
    assert policy.work_per_second(video, parse_sampling("0.1")) == pytest.approx(area * (2.5 + weight * 0.1))
    assert policy.work_per_time(video, 10) == area * (26 + weight)
    assert policy.work_per_time(video, 10_000) == area * (1 + weight), "each frame is decoded once at most"
    unknown = info(0.0, [])
    assert policy.work_per_time(unknown, 10) > 0
    assert policy.work_per_second(unknown, Sampling(keyframes_only=True)) == area * 0.5 * (1 + weight)
