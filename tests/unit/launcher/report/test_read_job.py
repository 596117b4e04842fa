"""What the report makes of journals: attempts on lanes, on one clock, ended as they ended."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from framefleet.common.errors import UserError
from framefleet.common.media import Timing
from framefleet.launcher.report.accounting import account
from framefleet.launcher.report.lanes import clock_offsets
from framefleet.launcher.report.read_job import read_job
from framefleet.launcher.report.read_journal import Told
from framefleet.launcher.report.timeline import Kind, Timeline, video_rows
from tests.helpers.fake_journal import CLOCK_S, FakeJournal, eventful_job

S = 1_000_000


def job(journal: FakeJournal, tmp_path: Path) -> Timeline:
    journal.write(tmp_path / "job" / "journal.jsonl")
    return read_job(tmp_path)


def told(timeline: Timeline) -> list[tuple[str, int, int, int, str]]:
    return [
        (attempt.host, attempt.slot or 0, attempt.unit, attempt.number, attempt.kind.name)
        for attempt in timeline.attempts()
    ]


def test_an_eventful_job(tmp_path: Path) -> None:
    eventful_job(tmp_path)
    timeline = read_job(tmp_path)
    assert (timeline.outcome, timeline.mode, timeline.hosts) == (
        "completed",
        "coordinated",
        ["algo-1", "algo-2"],
    )
    assert told(timeline) == [
        ("algo-1", 0, 0, 1, "PROBE"),
        ("algo-1", 0, 1, 1, "DONE"),
        ("algo-1", 0, 3, 2, "DONE"),
        ("algo-1", 0, 5, 1, "DONE"),
        ("algo-1", 1, 2, 1, "WASTED"),
        ("algo-1", 1, 2, 2, "DONE"),
        ("algo-2", 0, 3, 1, "WASTED"),
    ]
    assert [attempt.unit for attempt in timeline.attempts() if attempt.was_split] == [2]
    lost = timeline.lanes[2]
    assert lost.away == [(4_500_000, timeline.makespan_us)]
    assert (lost.attempts[0].start_us, lost.attempts[0].end_us) == (1_500_000, 4_500_000)
    assert lost.attempts[0].reason == "the host was lost"
    assert [lane.ready_us for lane in timeline.lanes] == [600_000, 600_000, 1_100_000]
    assert timeline.makespan_us == 8_012_000, "the last commit; that hosts leave is no part of it"
    assert account(timeline.lanes, timeline.makespan_us).total == 3 * timeline.makespan_us
    by_name = {row.name: row for row in video_rows(timeline.attempts())}
    assert (by_name["video-1.mp4"].units, by_name["video-1.mp4"].wasted) == (1, 1)
    assert by_name["video-0.mp4"].frames == 30


def test_a_hosts_clock_is_known_by_what_lies_between_lease_and_answer() -> None:
    slow = Told(1, 1, "a", "x", leased_s=1.0, ended_s=4.0, seconds=2.0, timing=Timing(0, 51.5))
    quick = Told(2, 1, "a", "x", leased_s=5.0, ended_s=6.1, seconds=1.0, timing=Timing(0, 55.0))
    later = Told(3, 1, "a", "y", leased_s=7.0, ended_s=8.0, seconds=1.0, timing=Timing(0, 9.0))
    unanswered = Told(4, 1, "b", "x", leased_s=1.0)
    offsets = clock_offsets([slow, quick, later, unanswered])
    assert offsets == {("a", "x"): pytest.approx(-49.95), ("a", "y"): pytest.approx(-2.0)}


def test_an_attempt_begins_when_its_slot_says(tmp_path: Path) -> None:
    journal = FakeJournal()
    journal.host("a")
    journal.unit(1, "a", 1.0, 2.0)
    journal.lease(2, "a", 3.01)  # but the slot is given it half a second later
    timing = [0, CLOCK_S + 3.5, 0.0, 0.25, 0.5]
    journal.say(5.5, "staged", unit=2, attempt=1, host="a", seconds=1.0, frames=3, timing=timing)
    journal.say(
        5.6, "committed", unit=2, attempt=1, host="a", seconds=1.0, frames=3, video="v", suspect=0, bytes=1
    )
    first, second = job(journal, tmp_path).attempts()
    assert abs(first.start_us - 1_001_000) <= 1000
    assert abs(second.start_us - 3_500_000) <= 1000
    assert second.length_us == S
    assert (second.phases.roll_in_us, second.phases.decode_us) == (250_000, 500_000)


def test_a_journal_of_an_older_version_has_no_timing(tmp_path: Path) -> None:
    journal = FakeJournal()
    journal.host("a", slots=2)
    journal.lines = [line for line in journal.lines if line["event"] != "ready"]
    journal.unit(1, "a", 1.0, 2.0, slot=None)
    journal.unit(2, "a", 1.5, 2.0, slot=None)
    journal.unit(3, "a", 3.2, 1.0, slot=None)
    timeline = job(journal, tmp_path)
    assert [(lane.slot, [attempt.unit for attempt in lane.attempts]) for lane in timeline.lanes] == [
        (0, [1, 3]),
        (1, [2]),
    ]
    assert [lane.ready_us for lane in timeline.lanes] == [500_000, 500_000]
    assert account(timeline.lanes, timeline.makespan_us).overhead == 5 * S


def test_a_job_that_was_stopped_has_attempts_that_came_to_nothing(tmp_path: Path) -> None:
    journal = FakeJournal()
    journal.host("a")
    journal.unit(1, "a", 1.0, 2.0)
    journal.lease(2, "a", 3.1, video=1)
    journal.say(6.0, "host_left", host="a", reason="the job is over")
    journal.end(6.1, "interrupted")
    timeline = job(journal, tmp_path)
    assert timeline.outcome == "interrupted"
    assert [(attempt.kind, attempt.video) for attempt in timeline.attempts()] == [
        (Kind.DONE, "video-0.mp4"),
        (Kind.WASTED, "video 1 of the list"),
    ]
    with (tmp_path / "job" / "journal.jsonl").open("a") as file:
        file.write('{"t_s":9.0,"event":"lea')
    assert read_job(tmp_path).makespan_us == timeline.makespan_us, "a torn line is none"


def test_a_job_that_still_runs_or_was_killed_has_open_attempts(tmp_path: Path) -> None:
    journal = FakeJournal()
    journal.host("a")
    journal.unit(1, "a", 1.0, 2.0)
    journal.lease(2, "a", 3.1)
    journal.say(5.0, "host_up", host="b", incarnation="x", slots=1)
    timeline = job(journal, tmp_path)
    assert timeline.outcome == "unfinished"
    last = list(timeline.attempts())[-1]
    assert (last.kind, last.end_us) == (Kind.OPEN, 5 * S)


def test_of_a_unit_and_its_copy_the_first_counts(tmp_path: Path) -> None:
    journal = FakeJournal()
    journal.host("a")
    journal.host("b")
    journal.lease(1, "a", 1.0)
    journal.say(4.0, "hedged", unit=1, copy=2, host="b")
    journal.say(6.0, "promoted", unit=1, copy=2)
    said = {"unit": 2, "attempt": 1, "host": "b", "seconds": 1.9}
    journal.say(6.0, "staged", **said, frames=5, timing=[0, CLOCK_S + 4.05])
    journal.say(6.1, "committed", **said, frames=5, video="v.mp4", suspect=0, bytes=1)
    first, copy = job(journal, tmp_path).attempts()
    assert (first.kind, first.end_us, first.reason) == (Kind.WASTED, 6 * S, "its copy was complete first")
    assert (copy.kind, copy.is_copy, copy.video) == (Kind.DONE, True, "v.mp4")


def test_a_copy_ends_when_its_unit_is_split(tmp_path: Path) -> None:
    journal = FakeJournal()
    journal.host("a")
    journal.host("b")
    journal.lease(1, "a", 1.0)
    journal.say(4.0, "hedged", unit=1, copy=2, host="b")
    journal.say(5.0, "split", unit=1, stop=5, rest=3)
    journal.unit(3, "a", 18.0, 1.9)
    journal.end(20.0)
    timeline = job(journal, tmp_path)
    (copy,) = (attempt for attempt in timeline.attempts() if attempt.is_copy)
    assert (copy.kind, copy.start_us, copy.end_us) == (Kind.WASTED, 4 * S, 5 * S)
    assert copy.reason == "what it was a copy of was split"
    assert account(timeline.lanes[1:], timeline.makespan_us).retries == 1 * S


def test_a_copy_goes_on_when_its_unit_fails(tmp_path: Path) -> None:
    journal = FakeJournal()
    journal.host("a")
    journal.host("b")
    journal.lease(1, "a", 1.0)
    journal.say(4.0, "hedged", unit=1, copy=2, host="b")
    journal.say(5.0, "failed", unit=1, attempt=1, host="a", kind="crash", reason="no", seconds=3.9)
    journal.say(7.0, "failed", unit=2, attempt=1, host="b", kind="crash", reason="no", seconds=2.9)
    journal.end(20.0)
    ends = {attempt.unit: attempt.end_us for attempt in job(journal, tmp_path).attempts()}
    assert ends == {1: 5 * S, 2: 7 * S}


def test_an_attempt_that_its_host_still_had_is_one(tmp_path: Path) -> None:
    journal = FakeJournal()
    journal.host("a")
    journal.lease(1, "a", 1.0)
    journal.say(2.0, "host_lost", host="a", incarnation="x", reason="was not heard")
    journal.say(3.0, "host_up", host="a", incarnation="x", slots=1)
    journal.say(3.0, "resumed", unit=1, attempt=1, host="a")
    journal.say(4.0, "staged", unit=1, attempt=1, host="a", seconds=2.9, frames=5, timing=[0, CLOCK_S + 1.05])
    journal.say(
        4.1, "committed", unit=1, attempt=1, host="a", video="v", frames=5, suspect=0, bytes=1, seconds=2.9
    )
    timeline = job(journal, tmp_path)
    assert [attempt.kind for attempt in timeline.attempts()] == [Kind.DONE]
    assert timeline.lanes[0].away == [(2 * S, 3 * S)]
    assert account(timeline.lanes, timeline.makespan_us).gone == 0, "it worked on meanwhile"


def test_a_sharded_job_has_a_journal_for_each_host(tmp_path: Path) -> None:
    for name, at, seconds in [("algo-1", "00:00:00.000", 2.0), ("algo-10", "00:00:01.500", 5.0)]:
        journal = FakeJournal(at=f"2026-01-01T{at}+00:00")
        journal.host(name)
        journal.unit(0, name, 1.0, seconds)
        journal.end(1.1 + seconds)
        journal.say(1.2 + seconds, "host_left", host=name, reason="the job is over")
        journal.write(tmp_path / "job" / name / "journal.jsonl")
    timeline = read_job(tmp_path)
    assert (timeline.mode, timeline.outcome) == ("sharded", "completed")
    assert [lane.attempts[0].start_us // 1000 for lane in timeline.lanes] == [1001, 2501]
    spent = account(timeline.lanes, timeline.makespan_us)
    assert spent.gone == 0, "a host that is done waits for the others"
    assert spent.tail > 4 * S


def test_a_folder_without_a_job(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no job: there is no .*journal\.jsonl"):
        read_job(tmp_path)


events = st.sampled_from(
    ["host_up", "ready", "leased", "staged", "committed", "failed", "released", "split", "hedged", "promoted",
     "resumed", "host_lost", "host_left", "probed", "redone", "end", "start", "nonsense"]
)  # fmt: skip
odd = st.one_of(
    st.none(), st.integers(-2, 3), st.floats(0, 5), st.sampled_from(["", "x"]), st.lists(st.integers(0, 2))
)
lines = st.fixed_dictionaries(
    {"event": events, "t_s": st.floats(0, 20)},
    optional={
        "unit": st.integers(0, 3), "attempt": st.integers(1, 2), "host": st.sampled_from(["a", "b"]),
        "slots": st.integers(0, 3), "seconds": st.floats(0, 10), "copy": st.integers(0, 5),
        "timing": st.one_of(st.none(), st.tuples(st.integers(0, 3), st.floats(0, 100), st.floats(0, 9))),
        "frames": st.integers(0, 9), "video": st.sampled_from(["", "v"]), "videos": odd, "start": odd,
        "stop": odd,
    },
)  # fmt: skip


@given(st.lists(lines, max_size=30))
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=60,
    deadline=None,
)
def test_whatever_a_journal_says_it_can_be_accounted_for(
    tmp_path: Path, lines: list[dict[str, object]]
) -> None:
    path = tmp_path / "job" / "journal.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    timeline = read_job(tmp_path)
    spent = account(timeline.lanes, timeline.makespan_us)
    assert spent.total == len(timeline.lanes) * timeline.makespan_us
    for lane in timeline.lanes:
        reached_us = 0
        for attempt in lane.attempts:
            assert reached_us <= attempt.start_us <= attempt.end_us <= timeline.makespan_us
            reached_us = attempt.end_us


@pytest.mark.parametrize("name", ["summary.json", "failures.jsonl"])
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, name: str, make: Callable[[Path], None]) -> None:
    eventful_job(tmp_path)
    (tmp_path / "job" / name).unlink(missing_ok=True)
    make(tmp_path / "job" / name)
    timeline = read_job(tmp_path)
    assert (timeline.summary, timeline.failures) == (None, []) or name == "failures.jsonl"


def sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 2**42)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (os.mkfifo, "is no regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "is a link"),
        (sparse, "4,398,046,511,104 bytes"),
    ],
)
def test_a_journal_that_is_none_is_named(tmp_path: Path, make: Callable[[Path], None], why: str) -> None:
    (tmp_path / "job").mkdir()
    make(tmp_path / "job/journal.jsonl")
    with pytest.raises(UserError, match=f"cannot read the journal .*{why}"):
        read_job(tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        b'{"event":"ready","t_s":1e308,"host":"algo-1","slots":1}',
        b'{"event":"ready","t_s":2.0,"host":"algo-1","slots":999999999999}',
        b'{"event":"ready","t_s":-1e300,"host":"algo-1","slots":-5}',
        b'{"event":' + b"[" * 100_000,
        b'{"event":"committed","t_s":2,"unit":1,"attempt":1,"seconds":1e308}',
    ],
)
def test_wild_numbers_in_a_journal_take_neither_time_nor_memory(tmp_path: Path, line: bytes) -> None:
    eventful_job(tmp_path)
    makespan_us = read_job(tmp_path).makespan_us
    with (tmp_path / "job/journal.jsonl").open("ab") as journal:
        journal.write(line + b"\n")
    assert read_job(tmp_path).makespan_us == makespan_us
