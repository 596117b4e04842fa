"""Plans: what of a GOP is decoded, and where the decoding goes on, against the definition of sampling."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from framefleet.common.job.sampling import Sampling, Selector
from framefleet.worker.video.decode_plan import Plan, Planner
from framefleet.worker.video.packets import Item

TICK = Fraction(1, 100)


@dataclass
class Stand:
    """In the place of a packet: what a plan looks at."""

    pts: int | None
    is_keyframe: bool = False
    droppable: bool = False
    duration: int = 4
    is_discard: bool = False


def gop(first: int, count: int = 12, step: int = 4) -> list[Stand]:
    """IBBP...: in decoding order, the B-pictures droppable."""
    order = [Stand(first, is_keyframe=True)]
    for number in range(3, count, 3):
        at = first + number * step
        order += [Stand(at), Stand(at - 2 * step, droppable=True), Stand(at - step, droppable=True)]
    return order


def make(sampling: Sampling, *, start: int = 0, stop: int | None = None, first: int = 0) -> Planner:
    selector: Selector[Any] = Selector(sampling, TICK, first_pts=first, start=start, stop=stop)
    planner = Planner(sampling, selector, None, time_base=TICK, first_pts=first, start=start, goes_on=False)

    def shortened(items: Sequence[Item], wanted: Collection[int]) -> dict[int, int]:
        stands = cast("Sequence[Stand]", items)
        return {place: 0 for place, item in enumerate(stands) if item.droppable and item.pts not in wanted}

    planner._shortened = shortened  # type: ignore[method-assign, assignment]
    return planner


def plan(
    planner: Planner, chunk: Sequence[Stand], ahead: Sequence[Stand] = (), *, ended: bool = True
) -> Plan:
    return planner.plan(cast("list[Item]", chunk), cast("list[Item]", ahead), ended=ended, pending=())


def fed(chunk: Sequence[Stand], made: Plan) -> list[int | None]:
    return [item.pts for place, item in enumerate(chunk[: made.feed]) if place not in made.shortened]


def test_it_stops_behind_the_last_wanted_frame_and_goes_on_at_the_next() -> None:
    chunk, ahead = gop(0), gop(40)
    made = plan(make(Sampling(Fraction(5))), chunk, ahead)
    # wanted at 0, 20 (5 a second): the frame at 20 is a B-picture, decoded behind the P at 24
    assert fed(chunk, made) == [0, 12, 24, 20]
    assert made.resume_at == 40


def test_nothing_wanted_means_nothing_fed() -> None:
    chunk, ahead = gop(40), gop(80)
    made = plan(make(Sampling(Fraction(1)), start=1), chunk, ahead)
    assert (made.feed, made.resume_at) == (0, 100)


def test_a_unit_ends_with_the_proof_that_its_last_frame_is_over() -> None:
    chunk = gop(0)
    made = plan(make(Sampling(Fraction(5)), stop=1), chunk, gop(40))
    assert fed(chunk, made) == [0, 12, 4], "the frame at 4 shows that the one at 0 is over"


def test_wanted_leading_pictures_need_the_gop_before() -> None:
    chunk = gop(0)
    ahead = [Stand(48, is_keyframe=True), Stand(40), Stand(44)]
    assert plan(make(Sampling(Fraction(5))), chunk, ahead).resume_at is None
    made = plan(make(Sampling(Fraction(1))), chunk, ahead)
    assert (fed(chunk, made), made.resume_at) == ([0], 100)


def test_packets_without_times_are_all_decoded() -> None:
    for odd in ([Stand(0, is_keyframe=True), Stand(None)], [Stand(0, is_keyframe=True), Stand(4), Stand(4)]):
        made = plan(make(Sampling(Fraction(1))), odd, gop(40))
        assert (made.feed, made.shortened, made.resume_at) == (len(odd), {}, None)


def test_the_last_frame_of_the_file_is_wanted_unless_its_target_is_far_behind() -> None:
    chunk = gop(0)
    alone = plan(make(Sampling(Fraction(1, 10))), chunk)
    assert fed(chunk, alone) == [0, 12, 4], "the first frame, and its proof"
    every = plan(make(Sampling(Fraction(25))), chunk)
    assert len(fed(chunk, every)) == len(chunk)


def test_the_last_frame_is_left_out_when_its_packet_ends_at_the_target() -> None:
    chunk = gop(900)  # it ends at 9.40 s, where a sample of every 9.40 s would lie
    assert plan(make(Sampling(1 / Fraction("9.40"))), chunk).feed == 0
    assert 936 in fed(chunk, plan(make(Sampling(1 / Fraction("9.39"))), chunk))
    for item in chunk:
        item.duration = 0
    assert 936 in fed(chunk, plan(make(Sampling(1 / Fraction("9.40"))), chunk))


def test_a_frame_held_from_the_gop_before_is_proved_over() -> None:
    planner = make(Sampling(Fraction(1, 9)))
    planner._selector.feed(None, 0)
    planner._selector.feed(None, 899)
    made = plan(planner, gop(901, count=3))
    assert fed(gop(901, count=3), made) == [901]


@given(
    st.lists(st.integers(1, 30), min_size=2, max_size=40),
    st.fractions(Fraction(1, 4), Fraction(60), max_denominator=50),
)
def test_a_wanted_frame_is_never_left_out(gaps: list[int], rate: Fraction) -> None:
    times = [sum(gaps[:place]) for place in range(len(gaps))]
    chunk = [Stand(pts, is_keyframe=place == 0, droppable=place > 0) for place, pts in enumerate(times)]
    sampling = Sampling(rate)
    made = plan(make(sampling), chunk, [Stand(times[-1] + 50, is_keyframe=True)])
    given_frames = set(fed(chunk, made))
    for k in range(int(times[-1] * TICK * rate) + 1):
        on_screen = max(pts for pts in times if pts * TICK <= k / rate + TICK / 2)
        if on_screen != times[-1]:
            assert on_screen in given_frames
