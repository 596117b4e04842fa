"""The end of a job: splitting what runs, and copies of what cannot be split, told as transcripts."""

from __future__ import annotations

import msgspec

from framefleet.common.job.spec import SamplingOptions, SchedulingOptions
from framefleet.common.protocol import messages as m
from framefleet.coordinator.core.stragglers import MEASURED_S, PROBE_WAIT_S, SHRINK_WAIT_S
from framefleet.coordinator.events import Tick
from framefleet.coordinator.state import Unit, UnitState
from tests.helpers.core_bench import Bench, assigned, info

WHOLE = SchedulingOptions(unit_span_s=10_000, lease_s=1e6, heartbeat_s=1e5)


def shrinks(said: list[tuple[bytes, m.Message]]) -> list[tuple[bytes, m.Shrink]]:
    return [(peer, message) for peer, message in said if isinstance(message, m.Shrink)]


def one_runs(
    seconds: float = 1000.0, *, seekable: bool = True, sampling: SamplingOptions | None = None
) -> tuple[Bench, Unit]:
    """Host a has the whole of the only video."""
    bench = Bench(options=WHOLE, sampling=sampling)
    bench.hello("a")
    probe = bench.running("a")[0]
    found = [(0, info(seconds, seekable=seekable))]
    bench.say("a", m.Probed(lease=probe.lease, found=found, refused=[], seconds=0.01))
    (unit,) = bench.running("a")
    assert (unit.start, unit.stop) == (0, None)
    return bench, unit


def progress(bench: Bench, unit: Unit, done_to: int, busy_s: float) -> list[tuple[bytes, m.Message]]:
    told = m.UnitProgress(unit.id, unit.attempt, done_to, done_to, busy_s)
    return bench.say("a", m.Progress(units=[told]), after_s=busy_s)


def test_an_idle_slot_gets_half_of_what_runs() -> None:
    bench, unit = one_runs()
    ((peer, shrink),) = shrinks(bench.hello("b"))
    assert (peer, shrink.lease) == (b"a", unit.lease)
    assert 2400 < shrink.stop < 2600, "5 fps, 1,000 s: the middle"
    assert shrink.stop % 5 == 0, "a keyframe"
    said = bench.say("a", m.Shrunk(lease=unit.lease, stop=shrink.stop))
    (given,) = assigned(said)
    assert isinstance(given.task, m.Extract)
    assert (given.task.start, given.task.stop) == (shrink.stop, None)
    assert unit.stop == shrink.stop
    bench.finish("a", unit)
    rest = bench.core.pool.units[given.lease.unit]
    bench.work("b")
    bench.work("a")
    assert bench.core.outcome == "completed"
    assert rest.state is UnitState.DONE


def test_a_probe_that_hangs_does_not_keep_slots_idle() -> None:
    bench = Bench(videos=2, hosts=("a", "b", "c"), options=WHOLE)
    bench.hello("a")
    probe = bench.running("a")[0]
    bench.say("a", m.Probed(lease=probe.lease, found=[(0, info(1000.0))], refused=[], seconds=0.01))
    bench.hello("b")
    hosts = {unit.is_probe: host for host in ("a", "b") for unit in bench.running(host)}
    assert set(hosts) == {True, False}
    assert shrinks(bench.hello("c")) == [], "the probe may bring work at any moment"
    (shrink,) = [m_ for _, m_ in shrinks(bench.tell(Tick(), after_s=PROBE_WAIT_S + 1.0))]
    assert shrink.lease == bench.running(hosts[False])[0].lease


def test_nothing_is_handed_out_before_the_answer() -> None:
    bench, _ = one_runs()
    said = bench.hello("b")
    assert not assigned(said)
    said = bench.tell(Tick(), after_s=1.0)
    assert not assigned(said)
    assert not shrinks(said), "it was asked already"


def test_progress_moves_the_place_where_it_is_split() -> None:
    bench, unit = one_runs()
    progress(bench, unit, 4000, 80.0)  # 800 of 1,000 s are done
    ((_, shrink),) = shrinks(bench.hello("b"))
    assert 4400 <= shrink.stop <= 4600


def test_what_was_done_before_the_word_came_stays_done() -> None:
    bench, unit = one_runs()
    ((_, shrink),) = shrinks(bench.hello("b"))
    late = shrink.stop + 700
    (given,) = assigned(bench.say("a", m.Shrunk(lease=unit.lease, stop=late)))
    assert isinstance(given.task, m.Extract)
    assert given.task.start == late
    assert unit.stop == late


def test_an_answer_that_was_lost_comes_with_done() -> None:
    bench, unit = one_runs()
    ((_, shrink),) = shrinks(bench.hello("b"))
    done = bench.done("a", unit, saw_end=False)
    said = bench.say(
        "a", m.Done(**{**{f: getattr(done, f) for f in done.__struct_fields__}, "stop": shrink.stop})
    )
    assert unit.stop == shrink.stop
    assert assigned(said)
    bench.say("a", m.Committed(leases=[unit.lease]))
    bench.work("a")
    bench.work("b")
    assert bench.core.outcome == "completed"


def test_done_to_the_old_end_crosses_the_word_and_stands() -> None:
    bench, unit = one_runs()
    assert shrinks(bench.hello("b"))
    bench.finish("a", unit)
    assert bench.core.outcome == "completed"
    assert [u.id for u in bench.core.pool.units.values() if not u.is_probe] == [unit.id]


def test_an_answer_that_ends_beyond_its_unit_is_refused() -> None:
    bench, unit = one_runs()
    ((_, shrink),) = shrinks(bench.hello("b"))
    lease = unit.lease
    bench.say("a", m.Shrunk(lease=lease, stop=shrink.stop))
    done = bench.done("a", unit)
    lying = m.Done(**{**{f: getattr(done, f) for f in done.__struct_fields__}, "stop": None})
    assert (b"a", m.Discard(lease=lease)) in bench.say("a", lying)
    assert (unit.state, unit.errors) == (UnitState.PENDING, 1), "to be done again"


def test_a_unit_that_cannot_end_earlier_is_not_asked_again() -> None:
    bench, unit = one_runs()
    assert shrinks(bench.hello("b"))
    bench.say("a", m.Shrunk(lease=unit.lease, stop=None))
    assert not shrinks(bench.tell(Tick(), after_s=SHRINK_WAIT_S + 1))


def test_the_word_is_said_again_when_nobody_answers() -> None:
    bench, _ = one_runs()
    assert shrinks(bench.hello("b"))
    assert shrinks(bench.tell(Tick(), after_s=SHRINK_WAIT_S + 1))


def test_a_host_that_is_lost_after_it_was_asked_leaves_the_whole_range() -> None:
    bench, unit = one_runs()
    assert shrinks(bench.hello("b"))
    bench.say("a", m.Bye(reason=""))
    assert bench.running("b") == [unit]
    assert (unit.start, unit.stop) == (0, None)


def test_a_pending_unit_that_is_split_fences_the_host_that_had_it() -> None:
    bench, unit = one_runs()
    old = unit.lease
    pool = bench.core.pool  # sizes are the policy's again
    pool.options = pool.workload.options = SchedulingOptions(lease_s=1e6, heartbeat_s=1e5)
    bench.say("a", m.Bye(reason=""))
    bench.hello("b")
    assert unit.stop is not None, "it was cut to size when it was handed out again"
    said = bench.hello("a", incarnation="1", running=(old,))
    assert (b"a", m.Discard(lease=old)) in said


def test_a_video_that_cannot_be_cut_is_copied_when_it_takes_too_long() -> None:
    bench, unit = one_runs(20.0, seekable=False)
    bench.hello("b")
    assert not assigned(bench.tell(Tick(), after_s=29))
    (given,) = assigned(bench.tell(Tick(), after_s=2))
    copy = bench.core.pool.units[given.lease.unit]
    assert copy.copy_of == unit.id
    assert copy.host == "b"
    assert isinstance(given.task, m.Extract)
    assert (given.task.start, given.task.stop) == (0, None)


def hedged() -> tuple[Bench, Unit, Unit]:
    bench, unit = one_runs(20.0, seekable=False)
    bench.hello("b")
    bench.tell(Tick(), after_s=31)
    return bench, unit, bench.running("b")[0]


def test_the_copy_that_is_first_counts_and_the_other_is_dropped() -> None:
    bench, unit, copy = hedged()
    said = bench.say("b", bench.done("b", copy))
    assert (b"a", m.Discard(lease=unit.lease)) in said
    assert any(isinstance(message, m.Commit) and message.lease == copy.lease for _, message in said)
    assert bench.state_of(unit) is UnitState.DROPPED
    bench.say("b", m.Committed(leases=[copy.lease]))
    assert bench.core.outcome == "completed"
    assert bench.core.pool.videos[0].frames == 5
    late = bench.say("a", bench.done("a", unit))
    assert (b"a", m.Discard(lease=unit.lease)) in late


def test_the_original_that_is_first_counts() -> None:
    bench, unit, copy = hedged()
    said = bench.say("a", bench.done("a", unit))
    assert (b"b", m.Discard(lease=copy.lease)) in said
    assert bench.state_of(copy) is UnitState.DROPPED
    bench.say("a", m.Committed(leases=[unit.lease]))
    assert bench.core.outcome == "completed"


def test_a_copy_that_fails_blames_nobody() -> None:
    bench, unit, copy = hedged()
    bench.say("b", m.Failed(lease=copy.lease, kind="crash", text="boom"))
    assert bench.state_of(copy) is UnitState.DROPPED
    assert (unit.crashes, unit.errors) == (0, 0)
    bench.finish("a", unit)
    assert bench.core.outcome == "completed"


def test_a_copy_outlives_its_original() -> None:
    bench, unit, copy = hedged()
    bench.say("a", m.Bye(reason=""))
    assert bench.state_of(unit) is UnitState.PENDING
    bench.finish("b", copy)
    assert bench.state_of(unit) is UnitState.DROPPED
    assert bench.core.outcome == "completed"


def test_a_lost_host_takes_its_copy_along() -> None:
    bench, unit, copy = hedged()
    bench.say("b", m.Bye(reason=""))
    assert bench.state_of(copy) is UnitState.DROPPED
    bench.finish("a", unit)
    assert bench.core.outcome == "completed"


def test_native_frames_are_numbered_through_a_split() -> None:
    bench, unit = one_runs(sampling=SamplingOptions(fps="native"))
    ((_, shrink),) = shrinks(bench.hello("b"))
    (given,) = assigned(bench.say("a", m.Shrunk(lease=unit.lease, stop=shrink.stop)))
    rest = bench.core.pool.units[given.lease.unit]
    assert not any(isinstance(x, m.Commit) for _, x in bench.say("b", bench.done("b", rest, frames=7)))
    said = bench.say("a", bench.done("a", unit, frames=11))
    commits = {x.lease: x.first_sample for _, x in said if isinstance(x, m.Commit)}
    assert commits == {unit.lease: 0, rest.lease: 11}


def test_a_unit_on_a_slow_host_is_ended_earlier_although_no_slot_idles() -> None:
    bench = Bench(hosts=("a",), options=SchedulingOptions(lease_s=1e6, heartbeat_s=1e5))
    bench.hello("a")
    bench.probe_all("a", 10_000.0)
    (unit,) = bench.running("a")
    assert unit.stop is not None
    told = m.UnitProgress(unit.id, unit.attempt, unit.start + 20, 20, 100.0)
    ((_, shrink),) = shrinks(bench.say("a", m.Progress(units=[told]), after_s=100))
    assert unit.start + 20 <= shrink.stop < unit.stop
    assert shrink.stop % 5 == 0, "a keyframe"
    bench.say("a", m.Shrunk(lease=unit.lease, stop=shrink.stop))
    assert unit.stop == shrink.stop


def test_an_endless_gop_on_a_slow_host_is_ended_within_while_there_is_time() -> None:
    bench = Bench(hosts=("a",), options=SchedulingOptions(lease_s=1e6, heartbeat_s=1e5))
    bench.hello("a")
    endless = msgspec.structs.replace(info(600.0), keyframes=[0])
    (probe,) = bench.running("a")
    bench.say("a", m.Probed(lease=probe.lease, found=[(0, endless)], refused=[], seconds=0.01))
    (unit,) = bench.running("a")
    assert (unit.start, unit.stop) == (0, None)
    assert not shrinks(progress(bench, unit, 20, MEASURED_S - 1)), "too early to tell"
    ((_, shrink),) = shrinks(progress(bench, unit, 100, 100.0))  # a fifth of the video's own pace
    assert 100 < shrink.stop < 3000


def test_a_video_that_outlasts_its_claim_is_split_behind_it() -> None:
    bench, unit = one_runs(100.0)
    progress(bench, unit, 1000, 30.0)  # 200 s are done, of 100
    assert bench.core.pool.videos[0].end_s > 200
    ((_, shrink),) = shrinks(bench.hello("b"))
    assert shrink.stop > 1000


def test_no_copy_is_made_of_what_goes_on_and_would_be_done_earlier() -> None:
    bench, unit = one_runs(20.0, seekable=False)
    progress(bench, unit, 80, 100.0)  # 16 of 20 s are done: 25 s are left, and a copy would take 125
    assert not assigned(bench.hello("b"))
    assert not assigned(bench.tell(Tick(), after_s=1))
