"""Ranks, numbers and limits: what a unit is told, and what becomes of it, told as transcripts."""

from __future__ import annotations

from fractions import Fraction

import msgspec
import pytest

from framefleet.common.job.selection import encode_table
from framefleet.common.job.spec import SamplingOptions, SchedulingOptions
from framefleet.common.media import VideoInfo
from framefleet.common.protocol import messages as m
from framefleet.coordinator.events import Conclude, Record
from framefleet.coordinator.scheduling.numbering import constant_rate
from framefleet.coordinator.state import Unit, UnitState
from framefleet.coordinator.status.summaries import summary
from tests.helpers.core_bench import Bench, assigned, info

SMALL = SchedulingOptions(unit_min_s=1.0, unit_cap_s=1.0)
A_SECOND = SchedulingOptions(unit_span_s=1.0)


def tasks(said: list[tuple[bytes, m.Message]]) -> list[m.Extract]:
    return [assign.task for assign in assigned(said) if isinstance(assign.task, m.Extract)]


def commits(said: list[tuple[bytes, m.Message]]) -> list[m.Commit]:
    return [message for _, message in said if isinstance(message, m.Commit)]


def discards(said: list[tuple[bytes, m.Message]]) -> list[m.Lease]:
    return [message.lease for _, message in said if isinstance(message, m.Discard)]


def extracting(
    sampling: SamplingOptions,
    *,
    slots: int = 3,
    seconds: float = 60.0,
    options: SchedulingOptions = A_SECOND,
    timestamps: bytes = b"",
    known: VideoInfo | None = None,
) -> tuple[Bench, list[Unit]]:
    """One host with one video, which has begun with it, and its units."""
    bench = Bench(hosts=("a",), sampling=sampling, options=options, timestamps=timestamps)
    bench.hello("a", slots=slots)
    probe = next(unit for unit in bench.core.pool.units.values() if unit.is_probe)
    found = [(0, known or info(seconds))]
    bench.say("a", m.Probed(lease=probe.lease, found=found, refused=[], seconds=0.01))
    return bench, bench.running("a")


def task_of(bench: Bench, unit: Unit) -> m.Extract:
    """What the host was told of the unit's present attempt."""
    found = [
        send.message.task
        for send in bench.sent
        if isinstance(send.message, m.Assign) and send.message.lease == unit.lease
    ]
    assert isinstance(found[0], m.Extract)
    return found[0]


# ---- every N-th frame -------------------------------------------------------------------------------


def test_ranks_of_a_constant_rate_are_right_before_anything_is_done() -> None:
    bench, units = extracting(SamplingOptions(every=4, start="1"))
    assert [(unit.start, unit.stop) for unit in units] == [(1000, 2000), (2000, 3000), (3000, 4000)]
    assert [task_of(bench, unit).rank for unit in units] == [0, 25, 50]
    first, second, third = units
    assert commits(bench.say("a", bench.done("a", third, frames=6, shown=25))) == []
    said = bench.say("a", bench.done("a", first, frames=7, shown=25))
    assert commits(said) == [m.Commit(lease=first.lease, first_sample=0)]
    said = bench.say("a", bench.done("a", second, frames=6, shown=25))
    assert commits(said) == [
        m.Commit(lease=second.lease, first_sample=7),
        m.Commit(lease=third.lease, first_sample=13),
    ]


@pytest.mark.parametrize(
    ("rate", "time_base", "ticks"),
    [
        (Fraction(30_000, 1001), Fraction(1, 30_000), 1001),
        (Fraction(30_000, 1001), Fraction(1, 1000), None),  # Matroska's, rounded
        (Fraction(24), Fraction(1, 90_000), 3750),
        (Fraction(90_000, 3753), Fraction(1, 90_000), 3753),
    ],
)
def test_the_frames_of_a_constant_rate_are_counted_exactly(
    rate: Fraction, time_base: Fraction, ticks: int | None
) -> None:
    numerator, denominator = time_base.as_integer_ratio()
    claimed = msgspec.structs.replace(
        info(100.0), time_base_num=numerator, time_base_den=denominator, frame_rate=float(rate)
    )
    constant = constant_rate(claimed)
    for frame in (0, 1, 17, 18, 999, 99_999):
        tick = frame * ticks if ticks is not None else round(frame / rate / time_base)
        assert constant.position_of(tick, time_base) == frame, "so many lie before it"


def test_a_wrong_rank_is_noticed_and_the_unit_done_again() -> None:
    bench, (first, second, third) = extracting(SamplingOptions(every=4))
    bench.say("a", bench.done("a", second, frames=6, shown=23))
    bench.say("a", bench.done("a", third, frames=6, shown=24))
    wrong = second.lease
    said = bench.say("a", bench.done("a", first, frames=6, shown=24))
    assert commits(said) == [m.Commit(lease=first.lease, first_sample=0)]
    assert discards(said) == [m.Lease(third.id, 1), wrong], "24 is not 25, and 47 not 50"
    assert [(task.start, task.rank) for task in tasks(said)] == [(1000, 24)]
    redone = [
        each.entry for each in bench.others if isinstance(each, Record) and each.entry["event"] == "redone"
    ]
    assert [(entry["told"], entry["rank"]) for entry in redone] == [(50, 47), (25, 24)]
    assert all(unit.errors == 0 for unit in (second, third)), "no failure of the host's"
    said = bench.say("a", bench.done("a", second, frames=6, shown=23))
    assert commits(said) == [m.Commit(lease=second.lease, first_sample=6)]
    assert [(task.start, task.rank) for task in tasks(said)] == [(2000, 47)]
    said = bench.say("a", bench.done("a", third, frames=6, shown=24))
    assert commits(said) == [m.Commit(lease=third.lease, first_sample=12)]


def test_a_rank_that_is_wrong_by_a_multiple_does_no_harm() -> None:
    bench, (first, second, *_) = extracting(SamplingOptions(every=4))
    bench.say("a", bench.done("a", second, frames=6, shown=25))
    said = bench.say("a", bench.done("a", first, frames=6, shown=21))
    assert commits(said) == [
        m.Commit(lease=first.lease, first_sample=0),
        m.Commit(lease=second.lease, first_sample=6),
    ]


def test_what_was_counted_puts_later_guesses_right() -> None:
    bench, (first, _, third) = extracting(SamplingOptions(every=4))
    said = bench.say("a", bench.done("a", first, frames=6, shown=24))
    (fourth,) = tasks(said)
    assert fourth.rank == 24 + 25 + 25
    said = bench.say("a", bench.done("a", third, frames=6, shown=21))
    (fifth,) = tasks(said)
    assert fifth.rank == 24 + 25 + 21 + 25, "counted, although its own rank is not known yet"


def test_attempts_that_count_different_frames_are_not_believed() -> None:
    bench, (first, second, _) = extracting(SamplingOptions(every=4))
    bench.say("a", bench.done("a", second, frames=6, shown=25))
    bench.say("a", bench.done("a", first, frames=6, shown=24))
    assert second.attempt == 2
    said = bench.say("a", bench.done("a", second, frames=6, shown=26))
    assert commits(said) == []
    assert bench.state_of(second) is UnitState.FAILED
    assert "25 and then 26 frames" in bench.core.failures.failures[0].reason


def test_a_unit_that_is_given_up_counts_as_an_estimate_and_it_is_said() -> None:
    bench, (first, second, _) = extracting(SamplingOptions(every=4))
    for _ in range(2):
        bench.say("a", m.Failed(lease=first.lease, kind="error", text="x"))
    assert bench.state_of(first) is UnitState.FAILED
    said = bench.say("a", bench.done("a", second, frames=6, shown=25))
    assert commits(said) == [m.Commit(lease=second.lease, first_sample=7)]
    assert any("from 0.00 s" in note and "estimated at 25" in note for note in bench.core.notes)


# ---- a limit on the frames --------------------------------------------------------------------------


def test_the_first_frames_are_kept_and_nothing_more_is_handed_out() -> None:
    bench, units = extracting(SamplingOptions(fps="5", max_frames_per_video=12), slots=4)
    first, second = units
    assert [(unit.start, unit.stop) for unit in units] == [(0, 5), (5, 12)]
    assert [task_of(bench, unit).limit for unit in units] == [12, 12]
    said = bench.say("a", bench.done("a", second, frames=7))
    assert commits(said) == [], "which of their frames are the first is not known yet"
    said = bench.say("a", bench.done("a", first, frames=5))
    assert commits(said) == [m.Commit(lease=unit.lease, first_sample=0) for unit in units]
    said = bench.say("a", m.Committed(leases=[unit.lease for unit in units]))
    assert said == [(b"a", m.End(failed=None))]
    assert summary(bench.core, bench.now, "completed", "").frames == 12


def test_frames_beyond_the_limit_are_dropped_at_the_commit() -> None:
    bench, units = extracting(SamplingOptions(fps="native", max_frames_per_video=50))
    first, second = units
    assert second.stop == 1961, "50 frames at 25 a second, and not a tick more"
    bench.say("a", bench.done("a", second, frames=25))
    said = bench.say("a", bench.done("a", first, frames=26))
    assert commits(said) == [
        m.Commit(lease=first.lease, first_sample=0),
        m.Commit(lease=second.lease, first_sample=26, keep=24),
    ]
    assert bench.core.pool.videos[0].all_cut
    said = bench.say("a", m.Committed(leases=[first.lease, second.lease]))
    assert bench.state_of(second) is UnitState.COMMITTING, "it did not say what it kept"
    trimmed = m.Trimmed(second.lease, 1, 450)
    said = bench.say("a", m.Committed(leases=[second.lease], trimmed=[trimmed]))
    assert said == [(b"a", m.End(failed=None))]
    done = summary(bench.core, bench.now, "completed", "")
    assert (done.frames, done.suspect_frames, done.bytes) == (50, 1, 2600 + 450)
    assert done.options | {"fps": "native", "max_frames_per_video": 50, "format": "jpg"} == done.options
    committed = [each.entry for each in bench.others if isinstance(each, Record)]
    assert [entry["frames"] for entry in committed if entry["event"] == "committed"] == [26, 24]


def test_units_that_are_not_needed_any_more_are_dropped() -> None:
    bench, (first, second) = extracting(SamplingOptions(fps="native", max_frames_per_video=50))
    said = bench.say("a", bench.done("a", first, frames=60))
    assert commits(said) == [m.Commit(lease=first.lease, first_sample=0, keep=50)]
    assert discards(said) == [second.lease]
    assert bench.state_of(second) is UnitState.DROPPED
    late = bench.done("a", second, frames=5)
    assert discards(bench.say("a", late)) == [second.lease]
    trimmed = [m.Trimmed(first.lease, 0, 3000)]
    bench.say("a", m.Committed(leases=[first.lease], trimmed=trimmed))
    assert Conclude(outcome="completed", reason="") in bench.others


def test_where_there_were_fewer_frames_it_goes_on_further_each_time() -> None:
    bench, _ = extracting(SamplingOptions(fps="native", max_frames_per_video=30), slots=1)
    stops = []
    while bench.core.hosts["a"].held:
        (unit,) = bench.running("a")
        assert unit.stop is not None
        stops.append(unit.stop)
        frames = unit.stop // 1000 - unit.start // 1000  # one a second, not 25
        bench.finish("a", unit, frames=frames)
    assert bench.core.pool.videos[0].frames == 30
    assert stops[-1] >= 30_000
    assert stops[0] == 1161
    assert len(stops) < 40, "the longest time between two cuts grows"
    assert bench.core.outcome == "completed"


def test_a_video_that_is_one_unit_is_told_when_to_stop() -> None:
    bench, (unit,) = extracting(
        SamplingOptions(fps="native", max_frames_per_video=30), known=info(60.0, seekable=False)
    )
    task = task_of(bench, unit)
    assert (task.start, task.stop, task.limit) == (0, None, 30)
    said = bench.say("a", bench.done("a", unit, frames=34, saw_end=False))
    assert commits(said) == [m.Commit(lease=unit.lease, first_sample=0, keep=30)]


def test_a_limited_job_expects_little_work() -> None:
    limited, _ = extracting(SamplingOptions(fps="5", max_frames_per_video=1), slots=1, seconds=600.0)
    whole, _ = extracting(SamplingOptions(fps="5"), slots=1, seconds=600.0)
    assert limited.core.pool.remaining_s() < whole.core.pool.remaining_s() / 100
    assert limited.core.pool.workload.estimate_s(limited.running("a")[0]) < 0.1


# ---- limits on the time, times ----------------------------------------------------------------------


def test_units_lie_within_the_limits() -> None:
    _, units = extracting(SamplingOptions(fps="5", start="1.1", end="3.5"), slots=4)
    assert [(unit.start, unit.stop) for unit in units] == [(6, 10), (10, 15), (15, 18)]


def test_nothing_is_handed_out_where_nothing_is_wanted() -> None:
    times = encode_table([(None, ["1", "2"])])
    bench, units = extracting(SamplingOptions(timestamps="t", start="3"), timestamps=times)
    assert units == []
    assert bench.ended_of_itself
    (note,) = summary(bench.core, bench.now, "completed", "").notes
    assert "1 video gave no frame" in note
    assert "0.mp4" in note


def test_times_are_cut_where_a_keyframe_lies_between() -> None:
    times = encode_table([(None, [f"{number}/10" for number in range(0, 600, 3)])])
    bench, units = extracting(
        SamplingOptions(timestamps="t"), timestamps=times, options=SMALL, known=info(60.0), slots=2
    )
    for unit in units:
        assert unit.stop is not None
        last, following = Fraction(3 * (unit.stop - 1), 10), Fraction(3 * unit.stop, 10)
        assert int(last) < int(following), "keyframes lie at whole seconds"
    (longest,) = (video for video in bench.core.pool.videos)
    assert longest.stop == 200


@pytest.mark.parametrize("sampling", [SamplingOptions(keyframes=True), SamplingOptions(fps="native")])
def test_frames_are_numbered_in_their_order(sampling: SamplingOptions) -> None:
    bench, (first, second, _) = extracting(sampling)
    bench.say("a", bench.done("a", second, frames=4))
    said = bench.say("a", bench.done("a", first, frames=3))
    assert [commit.first_sample for commit in commits(said)] == [0, 3]
