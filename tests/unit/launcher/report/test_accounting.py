"""The account of slots x makespan: a partition, whatever the lanes hold."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from framefleet.launcher.report.accounting import PARTS, Account, account
from framefleet.launcher.report.timeline import Attempt, Kind, Lane, Phases

S = 1_000_000


def attempt(start_s: float, end_s: float, kind: Kind = Kind.DONE, **phases: int) -> Attempt:
    return Attempt(
        unit=1, number=1, host="a", video="v", start_us=round(start_s * S), end_us=round(end_s * S),
        kind=kind, phases=Phases(**phases),
    )  # fmt: skip


def test_every_instant_of_a_lane_has_its_place() -> None:
    work = [
        attempt(1.5, 2, Kind.PROBE),
        attempt(2, 6, roll_in_us=S, decode_us=S, convert_us=S // 4, encode_us=S // 4, write_us=S // 2),
        attempt(7, 8, Kind.WASTED),
    ]
    lane = Lane("a", 0, ready_us=S, away=[(9 * S, 10 * S)], attempts=work)
    assert account([lane], 10 * S) == Account(
        start_up=S, starvation=S // 2 + S, probing=S // 2, roll_in=S, decoding=S, encoding=S, overhead=S,
        retries=S, tail=S, gone=S,
    )  # fmt: skip


def test_a_lane_that_never_worked_starved_and_one_that_came_back_was_gone() -> None:
    idle = Lane("a", 0, ready_us=2 * S)
    assert account([idle], 10 * S) == Account(start_up=2 * S, starvation=8 * S)
    back = Lane("a", 0, ready_us=0, away=[(3 * S, 5 * S)], attempts=[attempt(0, 2), attempt(6, 10)])
    assert account([back], 10 * S) == Account(overhead=6 * S, starvation=2 * S, gone=2 * S)


def test_phases_longer_than_their_attempt_are_cut() -> None:
    lane = Lane("a", 0, ready_us=0, attempts=[attempt(0, 2, decode_us=S, encode_us=10 * S, write_us=5)])
    assert account([lane], 2 * S) == Account(decoding=S, encoding=S)


def test_nothing_gives_nothing() -> None:
    whole = account([], 5)
    assert (whole.total, whole.share(0)) == (0, 0.0)


times = st.integers(-50, 1500)
phases = st.builds(Phases, *[st.integers(0, 400)] * 6)
attempts = st.builds(
    lambda start, length, kind, phases: Attempt(
        unit=0, number=1, host="a", video="v", start_us=start, end_us=start + length, kind=kind, phases=phases
    ),
    times,
    st.integers(0, 700),
    st.sampled_from(Kind),
    phases,
)
lanes = st.builds(
    lambda ready, away, attempts: Lane(
        "a", 0, ready_us=ready, away=[(start, start + length) for start, length in away], attempts=attempts
    ),
    times,
    st.lists(st.tuples(times, st.integers(0, 900)), max_size=3),
    st.lists(attempts, max_size=6),
)


@given(st.lists(lanes, max_size=4), st.integers(0, 1000))
def test_the_parts_are_never_negative_and_add_up(lanes: list[Lane], makespan_us: int) -> None:
    whole = account(lanes, makespan_us)
    assert min(getattr(whole, part) for part in PARTS) >= 0
    assert whole.total == len(lanes) * makespan_us
    assert whole.busy + whole.idle == whole.total
