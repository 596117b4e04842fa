"""Sampling: what the text means, the axis of positions, and the decision for each frame."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framefleet.common.errors import UserError
from framefleet.common.job.sampling import Sampling, Selector, parse_sampling
from tests.helpers.oracle_reference import select

TIME_BASES = [
    Fraction(1, 1000),
    Fraction(1, 90_000),
    Fraction(1001, 30_000),
    Fraction(1, 25),
    Fraction(1, 10**9),
]
RATES = [Fraction(5), Fraction(30_000, 1001), Fraction(1, 10), Fraction(24), Fraction(1000), None]

videos = st.tuples(
    st.integers(-(10**6), 10**6),
    st.lists(st.tuples(st.integers(1, 400), st.integers(0, 400)), min_size=1, max_size=40),
)
seconds = st.fractions(min_value=0, max_value=20, max_denominator=1000)
rates: st.SearchStrategy[Fraction | None] = st.one_of(
    st.sampled_from(RATES), st.fractions(min_value=Fraction(1, 50), max_value=2000, max_denominator=2000)
)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("5", Fraction(5)),
        ("0.1", Fraction(1, 10)),
        ("30000/1001", Fraction(30_000, 1001)),
        ("1e2", Fraction(100)),
    ],
)
def test_a_rate_is_read_exactly(text: str, rate: Fraction) -> None:
    sampling = parse_sampling(text)
    assert sampling.rate == rate
    assert not sampling.numbered_by_order


def test_native_has_no_rate() -> None:
    sampling = parse_sampling("native")
    assert sampling.numbered_by_order
    assert sampling.rate is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "five",
        "0",
        "-3",
        "0/7",
        "5/0",
        "nan",
        "inf",
        "1e9",
        "1e999999999",
        "1e-999999999",
        "1e-30",
        "9" * 5000,
    ],
)
def test_what_is_no_rate_is_refused_with_the_value_and_the_remedy(text: str) -> None:
    with pytest.raises(UserError, match="--fps") as caught:
        parse_sampling(text)
    assert text[:40] in str(caught.value)
    assert "native" in str(caught.value)
    assert len(str(caught.value)) < 300


@given(position=st.integers(0, 10**9), rate=rates, time_base=st.sampled_from(TIME_BASES))
def test_position_and_offset_are_inverse(position: int, rate: Fraction | None, time_base: Fraction) -> None:
    sampling = Sampling(rate)
    offset = sampling.offset_of(position, time_base)
    assert sampling.position_at(offset, time_base) == position
    assert sampling.position_at(offset + Fraction(1, 10**15), time_base) == position + 1


def test_nothing_lies_before_position_zero() -> None:
    assert Sampling(Fraction(5)).position_at(Fraction(-1), Fraction(1, 25)) == 0
    assert Sampling(None).position_at(Fraction(-1), Fraction(1, 25)) == 0


@given(position=st.integers(0, 10**6), rate=rates, time_base=st.sampled_from(TIME_BASES))
def test_last_tick_is_the_last_one_of_its_position(
    position: int, rate: Fraction | None, time_base: Fraction
) -> None:
    sampling = Sampling(rate)
    tick = sampling.last_tick(position, time_base)
    assert sampling.position_of(tick, time_base) <= position
    assert sampling.position_of(tick + 1, time_base) > position


def run(
    frames: list[tuple[int, int]], sampling: Sampling, time_base: Fraction, start: int, stop: int | None
) -> list[tuple[int, int]]:
    """(position, pts) of what a unit writes, fed from the last frame at or before its start on."""
    first_pts = frames[0][0]
    positions = [sampling.position_of(pts - first_pts, time_base) for pts, _ in frames]
    governing = max(i for i, position in enumerate(positions) if i == 0 or position <= start)
    lo, _ = sampling.range_of(time_base)
    rank = sum(1 for position in positions if lo <= position < start)
    selector: Selector[None] = Selector(
        sampling, time_base, first_pts=first_pts, start=start, stop=stop, rank=rank
    )
    picks = []
    for pts, _ in frames[governing:]:
        picks.append(selector.feed(None, pts))
        if selector.finished:
            break
    else:
        picks.append(selector.end(frames[-1][1]))
    inside = [position for position in positions if start <= position and (stop is None or position < stop)]
    if sampling.numbered_by_order:
        assert selector.shown == len(inside)
    return [(pick.position, pick.pts) for pick in picks if pick is not None]


@st.composite
def samplings(draw: st.DrawFn, time_base: Fraction) -> Sampling:
    """Any mode with any limits, on the scale of ``videos``."""
    scale = 200 * time_base * 25  # as many samples as frames, give or take: else the definition takes minutes
    start = draw(st.one_of(st.just(Fraction(0)), seconds.map(lambda value: value * scale / 20)))
    end = draw(st.one_of(st.none(), seconds.map(lambda value: start + value * scale / 20 + time_base / 3)))
    mode = draw(st.sampled_from(["rate", "times", "every"]))
    if mode == "rate":
        return Sampling((draw(rates) or Fraction(3)) / scale, start=start, end=end)
    if mode == "times":
        times = draw(st.lists(seconds.map(lambda value: value * scale / 15), max_size=30))
        on_ticks = draw(
            st.lists(st.integers(0, 8000).map(lambda tick: Fraction(tick, 2) * time_base), max_size=9)
        )
        return Sampling(times=tuple(sorted({*times, *on_ticks})), start=start, end=end)
    return Sampling(every=draw(st.integers(1, 7)), start=start, end=end)


@given(video=videos, time_base=st.sampled_from(TIME_BASES), data=st.data())
def test_any_partition_into_units_gives_what_the_definition_gives(
    video: tuple[int, list[tuple[int, int]]], time_base: Fraction, data: st.DataObject
) -> None:
    pts, frames = video[0], []
    for gap, duration in video[1]:
        frames.append((pts, duration))
        pts += gap
    sampling = data.draw(samplings(time_base))
    lo, hi = sampling.range_of(time_base)
    last = sampling.position_of(frames[-1][0] - frames[0][0], time_base)
    most = (last if hi is None else hi) + 2
    cuts = sorted(data.draw(st.lists(st.integers(lo, max(lo, most)), max_size=6, unique=True)))
    bounds = [lo, *(cut for cut in cuts if lo < cut and (hi is None or cut < hi)), hi]
    found: list[tuple[int, int]] = []
    if hi is None or lo < hi:
        for start, stop in pairwise(bounds):
            assert start is not None
            found += run(frames, sampling, time_base, start, stop)
    expected = select(
        frames, time_base, sampling.rate, every=sampling.every, times=sampling.times, start=sampling.start,
        end=sampling.end,
    )  # fmt: skip
    assert [pts for _, pts in found] == [frames[index][0] for _, index in expected]
    if not sampling.numbered_by_order:
        assert [position for position, _ in found] == [sample for sample, _ in expected]


@given(
    times=st.lists(seconds, min_size=1, max_size=30, unique=True).map(sorted),
    time_base=st.sampled_from(TIME_BASES),
    ticks=st.integers(0, 2 * 10**6),
    data=st.data(),
)
def test_positions_of_times_are_places_in_the_list(
    times: list[Fraction], time_base: Fraction, ticks: int, data: st.DataObject
) -> None:
    sampling = Sampling(times=tuple(times))
    near = data.draw(st.sampled_from(times)) / time_base
    for tick in (ticks, int(near), int(near) + 1, int(near) - 1):
        expected = next(
            (j for j, time in enumerate(times) if tick <= time / time_base + Fraction(1, 2)), len(times)
        )
        assert sampling.position_of(tick, time_base) == expected
    place = data.draw(st.integers(0, len(times) - 1))
    tick = sampling.last_tick(place, time_base)
    assert sampling.position_of(tick, time_base) <= place < sampling.position_of(tick + 1, time_base)
    assert sampling.position_of(sampling.last_tick(len(times), time_base), time_base) == len(times)
    assert sampling.position_at(sampling.offset_of(place, time_base), time_base) == place


def test_a_range_is_that_of_the_targets() -> None:
    time_base = Fraction(1, 1000)
    limits: dict[str, Any] = {"start": Fraction(1, 3), "end": Fraction(2)}
    assert Sampling(Fraction(5), **limits).range_of(time_base) == (2, 10)
    assert Sampling(every=4, **limits).range_of(time_base) == (334, 2000)
    times = (Fraction(0), Fraction(1, 3), Fraction(1), Fraction(2), Fraction(3))
    assert Sampling(times=times, **limits).range_of(time_base) == (1, 3)
    assert Sampling(times=times).range_of(time_base) == (0, 5)
    assert Sampling(Fraction(5)).range_of(time_base) == (0, None)
    nothing = Sampling(times=times, start=Fraction(7), end=Fraction(8))
    assert nothing.range_of(time_base) == (5, 5)


def test_one_sampling_serves_videos_of_different_time_bases() -> None:
    sampling = Sampling(times=(Fraction(1), Fraction(2)))
    for _ in range(2):
        assert sampling.position_of(1500, Fraction(1, 1000)) == 1
        assert sampling.position_of(30, Fraction(1, 25)) == 1
        assert sampling.last_tick(1, Fraction(1, 25)) == 50


def test_going_back_takes_back_the_count_of_frames_too() -> None:
    selector: Selector[str] = Selector(
        Sampling(every=2), Fraction(1, 10), first_pts=0, start=5, stop=50, rank=3
    )
    assert selector.feed("a", 0) is None
    assert selector.feed("b", 5) is None, "the fourth frame"
    held = selector.held
    assert (selector.shown, selector.next_rank) == (1, 4)
    pick = selector.feed("c", 6)
    assert pick is not None
    assert pick.item == "c"
    selector.back_to(held)
    assert selector.shown == 1
    pick = selector.feed("d", 7)
    assert pick is not None
    assert pick.item == "d"
    assert selector.feed("e", 50) is None
    assert (selector.shown, selector.finished) == (2, True)


@given(pts=st.lists(st.integers(-50, 50), min_size=1, max_size=30), rate=st.sampled_from([Fraction(5), None]))
def test_repeated_and_backward_times_are_dropped(pts: list[int], rate: Fraction | None) -> None:
    growing = [time for index, time in enumerate(pts) if all(time > before for before in pts[:index])]
    time_base = Fraction(1, 25)

    def written(times: list[int]) -> list[tuple[int, int] | None]:
        selector: Selector[None] = Selector(Sampling(rate), time_base, first_pts=times[0], start=0, stop=None)
        picks = [*(selector.feed(None, time) for time in times), selector.end(1)]
        return [(pick.position, pick.pts) for pick in picks if pick is not None]

    assert written(pts) == written(growing)


def test_coarse_timestamps_do_not_lose_the_frame_of_their_moment() -> None:
    # 29.97 fps in Matroska's milliseconds: frame 18 lies at 0.6006 s, written as 601 ms
    selector: Selector[int] = Selector(
        Sampling(Fraction(30_000, 1001)), Fraction(1, 1000), first_pts=0, start=0, stop=None
    )
    times = [round(index * 1001 / 30) for index in range(60)]
    picks = [selector.feed(index, time) for index, time in enumerate(times)]
    assert [pick.item for pick in picks if pick is not None] == list(range(59))


def test_back_to_forgets_the_frames_in_between() -> None:
    selector: Selector[str] = Selector(
        Sampling(Fraction(1)), Fraction(1, 10), first_pts=0, start=0, stop=None
    )
    selector.feed("a", 0)
    held = selector.held
    assert selector.feed("b", 20) is not None
    selector.back_to(held)
    pick = selector.feed("c", 5)
    assert pick is not None
    assert (pick.item, pick.position) == ("a", 0)


def test_done_to_never_passes_the_stop() -> None:
    selector: Selector[None] = Selector(Sampling(Fraction(1)), Fraction(1), first_pts=0, start=2, stop=4)
    assert selector.done_to == 2
    selector.feed(None, 3)
    assert (selector.done_to, selector.finished) == (3, False)
    selector.feed(None, 9)
    assert (selector.done_to, selector.finished) == (4, True)
