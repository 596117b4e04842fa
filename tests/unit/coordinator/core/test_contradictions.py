"""Hosts that find different things in one video, and videos that change while the job runs."""

from __future__ import annotations

import msgspec
import pytest

from framefleet.common.job.spec import SchedulingOptions
from framefleet.common.media import Fingerprint, VideoInfo
from framefleet.common.protocol import messages as m
from framefleet.common.status import nothing_made
from framefleet.coordinator.events import Record, Tick, Unreachable
from framefleet.coordinator.state import Unit, UnitState
from tests.helpers.core_bench import Bench, assigned, info

TRUE = info(10.0)
LATE = msgspec.structs.replace(TRUE, first_pts=500)
LIES: list[dict[str, int | str]] = [
    {"first_pts": 500},
    {"time_base_den": 1001},
    {"width": 1279},
    {"height": 721},
    {"checksum": "other"},
]
ALL = {(at, at + 5 if at < 45 else None) for at in range(0, 50, 5)}
SECONDS = SchedulingOptions(unit_span_s=1)  # 5 frames a second


def tell(bench: Bench, host: str, told: VideoInfo = TRUE) -> list[tuple[bytes, m.Message]]:
    """A host answers the probe that it was given."""
    (unit,) = (unit for unit in bench.running(host) if unit.is_probe)
    found = [(index, told) for index in unit.files]
    return bench.say(host, m.Probed(lease=unit.lease, found=found, refused=[], seconds=0.0))


def contradict(bench: Bench, host: str, unit: Unit, found: VideoInfo = TRUE) -> list[tuple[bytes, m.Message]]:
    failed = m.Failed(lease=unit.lease, kind="contradiction", text="is not it", found=found.fingerprint)
    return bench.say(host, failed)


def work(bench: Bench, **finds: VideoInfo) -> None:
    """Hosts do what they are given until nothing is left; ``finds``: what each finds in the video."""
    for _ in range(200):
        for host in finds:
            for unit in bench.running(host):
                told = bench.core.pool.videos[unit.video].agreement
                if unit.is_probe:
                    tell(bench, host, finds[host])
                elif told is not None and told.told != finds[host].fingerprint:
                    contradict(bench, host, unit, finds[host])
                else:
                    bench.finish(host, unit)
        if bench.core.outcome is not None:
            return
    raise AssertionError("the job did not end")


def voided(bench: Bench) -> list[list[tuple[int, int, str]]]:
    entries = [action.entry for action in bench.others if isinstance(action, Record)]
    return [entry["attempts"] for entry in entries if entry["event"] == "voided"]


def published(bench: Bench) -> set[tuple[int, int | None]]:
    """Ranges of the units that count, of the only video."""
    units = [bench.core.pool.units[number] for number in bench.core.pool.videos[0].units]
    return {(unit.start, unit.stop) for unit in units if unit.state is UnitState.DONE}


@pytest.mark.parametrize("lie", LIES)
def test_what_one_host_told_wrong_is_taken_back_and_made_anew(lie: dict[str, int | str]) -> None:
    bench = Bench(hosts=("a", "b", "c"), options=SECONDS)
    bench.hello("a")
    tell(bench, "a", msgspec.structs.replace(TRUE, **lie))
    first = bench.running("a")[0]
    bench.finish("a", first)  # with the wrong start, and published
    staged = bench.running("a")[0]
    bench.hello("b")
    (theirs,) = bench.running("b")
    said = contradict(bench, "b", theirs)
    assert {(peer, message.lease) for peer, message in said if isinstance(message, m.Discard)} == {
        (b"a", first.lease), (b"a", m.Lease(staged.id, 1)), (b"b", m.Lease(theirs.id, 1)),
    }  # fmt: skip
    assert voided(bench) == [[(first.id, 1, "a"), (staged.id, 1, "a"), (theirs.id, 1, "b")]]
    assert bench.core.written().frames == 0
    assert bench.core.hosts["a"].frames == 0
    assert not assigned(said), "a host that nobody has asked yet is to decide"
    bench.hello("c")
    tell(bench, "c")
    assert bench.core.hosts["a"].outvoted == 1
    work(bench, a=TRUE, b=TRUE, c=TRUE)
    assert bench.core.outcome == "completed"
    assert not bench.core.failures.failures
    assert published(bench) == ALL
    assert bench.core.written().frames == 50
    assert first.state is UnitState.VOID
    assert bench.core.hosts["b"].outvoted == bench.core.hosts["c"].outvoted == 0


def test_a_host_that_two_others_contradict_fails_alone_and_is_drained() -> None:
    bench = Bench(hosts=("a", "b", "c"), options=SECONDS)
    bench.hello("a")
    tell(bench, "a")
    bench.hello("b")
    bench.finish("b", bench.running("b")[0])
    bench.hello("c")
    for _ in range(3):
        contradict(bench, "c", bench.running("c")[0], LATE)
    assert voided(bench) == []
    assert bench.core.hosts["c"].drained
    assert bench.running("c") == []
    work(bench, a=TRUE, b=TRUE)
    assert bench.core.outcome == "completed"
    assert not bench.core.failures.failures


def test_a_lone_host_that_contradicts_itself_looks_once_more() -> None:
    bench = Bench(hosts=("a",), options=SECONDS)
    bench.hello("a")
    tell(bench, "a", LATE)
    contradict(bench, "a", bench.running("a")[0])
    assert bench.core.hosts["a"].outvoted == 1
    work(bench, a=TRUE)
    assert bench.core.outcome == "completed"
    assert not bench.core.failures.failures


def test_a_lone_host_that_goes_on_contradicting_itself_loses_the_video() -> None:
    bench = Bench(videos=1, hosts=("a",))
    bench.hello("a")
    while bench.core.outcome is None:
        tell(bench, "a", LATE)
        if bench.running("a"):
            contradict(bench, "a", bench.running("a")[0])
    (failure,) = bench.core.failures.failures
    assert failure.kind == "lost"
    assert len(voided(bench)) == 2


def test_of_two_hosts_the_one_that_contradicts_is_to_tell() -> None:
    bench = Bench(hosts=("a", "b"), options=SECONDS)
    bench.hello("a")
    bench.hello("b")
    tell(bench, "a", LATE)
    contradict(bench, "b", bench.running("b")[0])
    assert not bench.running("a")
    tell(bench, "b")
    work(bench, a=TRUE, b=TRUE)  # host a told it wrong, and reads it right
    assert bench.core.outcome == "completed"
    assert not bench.core.failures.failures
    assert bench.core.hosts["a"].outvoted == 1


def test_two_hosts_that_go_on_contradicting_each_other_lose_the_video() -> None:
    bench = Bench(hosts=("a", "b"), options=SECONDS)
    bench.hello("a")
    bench.hello("b")
    work(bench, a=LATE, b=TRUE)
    (failure,) = bench.core.failures.failures
    assert failure.kind == "lost"
    assert "first frame at 0.500000 s" in failure.reason
    assert "first frame at 0.000000 s" in failure.reason
    assert failure.start_s is None
    assert published(bench) == set()
    assert bench.core.written().frames == 0


def test_many_hosts_of_which_no_two_agree_are_not_asked_for_ever() -> None:
    names = ("a", "b", "c", "d", "e", "f", "g")
    bench = Bench(hosts=names, options=SECONDS)
    for name in names:
        bench.hello(name)
    finds = {name: msgspec.structs.replace(TRUE, first_pts=place) for place, name in enumerate(names)}
    work(bench, **finds)
    (failure,) = bench.core.failures.failures
    assert failure.kind == "lost"


def test_a_probe_that_is_outvoted_is_made_again() -> None:
    bench = Bench(hosts=("a", "b", "c", "d"), options=SECONDS)
    for name in ("a", "b", "c"):
        bench.hello(name)
    tell(bench, "a", LATE)
    units = [bench.running(name)[0] for name in ("b", "c")]
    contradict(bench, "b", units[0])
    bench.hello("d")
    tell(bench, "c", msgspec.structs.replace(TRUE, width=2))  # three views of three hosts
    work(bench, a=TRUE, b=TRUE, c=TRUE, d=TRUE)
    assert not bench.core.failures.failures
    assert bench.core.written().frames == 50


def test_what_was_given_up_by_a_wrong_probe_is_tried_again() -> None:
    bench = Bench(hosts=("a",), options=SECONDS)
    bench.hello("a")
    tell(bench, "a", LATE)
    while not bench.core.failures.failures:
        bench.say("a", m.Failed(lease=bench.running("a")[0].lease, kind="error", text="x"))
    contradict(bench, "a", bench.running("a")[0])
    work(bench, a=TRUE)
    assert not bench.core.failures.failures
    assert published(bench) == ALL


def test_a_file_that_changes_is_lost_with_all_that_was_made_of_it() -> None:
    bench = Bench(videos=2, hosts=("a", "b"), options=SECONDS)
    bench.hello("a")
    bench.hello("b")
    while any(unit.is_probe for name in ("a", "b") for unit in bench.running(name)):
        for name in ("a", "b"):
            for unit in bench.running(name):
                if unit.is_probe:
                    tell(bench, name)
    first = bench.running("a")[0]
    lease = first.lease
    bench.finish("a", first)
    (unit,) = (unit for unit in bench.running("b"))
    while unit.video != first.video:
        bench.finish("b", unit)
        (unit,) = bench.running("b")
    said = bench.say("b", m.Failed(lease=unit.lease, kind="changed", text="changed while the job ran"))
    assert (b"a", m.Discard(lease=lease)) in said
    work(bench, a=TRUE, b=TRUE)
    (failure,) = bench.core.failures.failures
    assert (failure.kind, failure.reason) == ("lost", "changed while the job ran")
    assert (failure.start_s, failure.stop_s) == (None, None)
    assert [video.frames for video in bench.core.pool.videos if video.failed] == [0]
    assert bench.core.written().frames == 50
    assert bench.core.outcome == "completed"


def test_the_job_does_not_end_before_what_was_published_is_gone() -> None:
    bench = Bench(hosts=("a", "b"), options=SECONDS)
    bench.hello("a")
    bench.hello("b")
    tell(bench, "a")
    first = m.Lease(bench.running("a")[0].id, 1)
    bench.finish("a", bench.running("a")[0])
    bench.answers = False
    (theirs,) = bench.running("b")
    bench.say("b", m.Failed(lease=theirs.lease, kind="changed", text="changed"))
    assert bench.core.pool.unsettled == 0
    assert bench.core.outcome is None
    assert (b"a", m.Discard(lease=first)) in bench.tell(Tick(), after_s=5.0)
    assert bench.core.outcome is None
    assert (b"b", m.End(failed=nothing_made(1, 1))) in bench.say("a", m.Discarded(lease=first))


def test_a_host_that_comes_when_all_is_over_is_told_first_what_does_not_count() -> None:
    bench = Bench(hosts=("a", "b"), options=SECONDS)
    bench.hello("a")
    bench.hello("b")
    tell(bench, "a")
    first = m.Lease(bench.running("a")[0].id, 1)
    bench.finish("a", bench.running("a")[0])
    bench.tell(Unreachable(peer=b"a"))
    for _ in range(4):
        bench.say("b", m.Progress(units=[]), after_s=10.0)
        bench.tell(Tick())
    assert bench.host_state("a") == "lost"
    bench.answers = False
    (theirs,) = bench.running("b")
    bench.say("b", m.Failed(lease=theirs.lease, kind="changed", text="changed"))
    assert bench.ended_of_itself
    said = bench.hello("a", running=(first,))
    assert (b"a", m.Discard(lease=first)) in said
    assert (b"a", m.End(failed=nothing_made(1, 1))) not in said
    assert (b"a", m.End(failed=nothing_made(1, 1))) in bench.say("a", m.Discarded(lease=first))


def test_a_fingerprint_in_words() -> None:
    found = Fingerprint("0a1b", 1, 12800, 6400, 320, 180)
    assert str(found) == (
        "first frame at 0.500000 s (pts 6400, time base 1/12800) of 320 x 180 pixels, checksum 0a1b"
    )
