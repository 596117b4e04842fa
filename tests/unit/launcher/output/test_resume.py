"""What proves a range done, and a core that goes on from there."""

from __future__ import annotations

import random
from fractions import Fraction
from pathlib import Path

import msgspec
import pytest

from framefleet.common.job.completed import DoneRange, DoneVideo
from framefleet.common.job.selection import Selection
from framefleet.common.job.spec import SamplingOptions
from framefleet.common.protocol.messages import Lease, Probed
from framefleet.coordinator.listed_video import ListedVideo
from framefleet.coordinator.simulation.judge import TIME_BASE, wanted
from framefleet.coordinator.simulation.world import World
from framefleet.coordinator.state import UnitState
from framefleet.launcher.output.completed_units import Unit, prove_video
from tests.helpers.core_bench import Bench, assigned, info
from tests.unit.coordinator.core.test_core_random import MODES, world
from tests.unit.coordinator.core.test_replay import MortalServer, same_job

VIDEO = ListedVideo.of(index=0, path=b"a.mp4", name="a.mp4", folder="a", size_bytes=1000)


def unit(start: int, stop: int | None, frames: int, *, sample: int | None = None, shown: int = 0) -> Unit:
    return Unit(
        part=Path("p"),
        key=(start, 1, "a"),
        video="a.mp4",
        range=DoneRange(start, stop, frames, shown),
        video_bytes=1000,
        time_base=Fraction(1, 1000),
        first_sample=start if sample is None else sample,
        folder="frames/a",
    )


def proved(units: list[Unit], sampling: SamplingOptions) -> tuple[list[int], bool]:
    """Starts of what is taken over, and whether it is all."""
    video, rest = prove_video(units, VIDEO, Selection(sampling))
    starts = [] if video is None else [done.start for done in video.ranges]
    assert sorted([*starts, *(each.range.start for each in rest)]) == sorted(
        each.range.start for each in units
    )
    return starts, video is not None and video.is_whole


FPS, NATIVE, EVERY = SamplingOptions(fps="5"), SamplingOptions(fps="native"), SamplingOptions(every=3)
LIMITED = SamplingOptions(fps="5", max_frames_per_video=10)
WITHIN = SamplingOptions(fps="5", start="1", end="3")


@pytest.mark.parametrize(
    ("sampling", "units", "expected"),
    [
        (FPS, [unit(0, 5, 5), unit(5, None, 3)], ([0, 5], True)),
        (FPS, [unit(5, None, 3), unit(0, 5, 5)], ([0, 5], True)),
        (FPS, [unit(0, 5, 5), unit(9, None, 3)], ([0, 9], False)),
        (FPS, [unit(5, None, 3)], ([5], False)),
        (FPS, [unit(0, 5, 5), unit(5, 9, 4)], ([0, 5], False)),
        (FPS, [unit(0, 6, 6), unit(5, None, 4)], ([0], False)),
        (WITHIN, [unit(5, 15, 10)], ([5], True)),
        (WITHIN, [unit(5, 14, 9)], ([5], False)),
        (NATIVE, [unit(0, 500, 12, sample=0), unit(500, None, 3, sample=12)], ([0, 500], True)),
        (NATIVE, [unit(0, 500, 12, sample=0), unit(500, None, 3, sample=13)], ([0], False)),
        (NATIVE, [unit(0, 500, 12, sample=0), unit(600, None, 3, sample=14)], ([0], False)),
        (
            EVERY,
            [unit(0, 500, 4, sample=0, shown=11), unit(500, None, 1, sample=4, shown=3)],
            ([0, 500], True),
        ),
        (EVERY, [unit(0, 500, 4, sample=0, shown=13), unit(500, None, 1, sample=4, shown=3)], ([0], False)),
        (LIMITED, [unit(0, 5, 5), unit(5, 11, 5)], ([0, 5], True)),
        (LIMITED, [unit(0, 5, 5), unit(6, 12, 5)], ([0], False)),
    ],
)
def test_ranges_are_proved_by_their_rows(
    sampling: SamplingOptions, units: list[Unit], expected: tuple[list[int], bool]
) -> None:
    assert proved(units, sampling) == expected


def test_files_that_are_gone_or_another_video_prove_nothing() -> None:
    lacks, other, moved = unit(0, 5, 5), unit(5, 9, 4), unit(9, None, 1)
    lacks.is_whole = False
    other.video_bytes = 999
    moved.folder = "frames/a.mp4"
    assert proved([lacks, other, moved], FPS) == ([], False)


def test_only_gaps_are_handed_out() -> None:
    done = DoneVideo("0.mp4", False, [DoneRange(10, 20, 10, 0), DoneRange(40, None, 5, 0)], 15, 0, 0)
    bench = with_done(Bench(videos=2, hosts=("a",)), {"0.mp4": done})
    bench.hello("a", slots=8)
    bench.probe_all("a", 60.0)
    core = bench.core
    while not core.pool.videos[0].all_cut:
        bench.finish("a", bench.running("a")[0])
    units = [core.pool.units[number] for number in core.pool.videos[0].units]
    ranges = [(each.start, each.stop) for each in units]
    assert (10, 20) in ranges
    assert ranges[-1] == (40, None)
    assert {
        (each.start, each.stop) for each in units if each.state is UnitState.DONE and each.host is None
    } == {
        (10, 20),
        (40, None),
    }


@pytest.mark.parametrize("hosts", [("a",), ("a", "b")])
def test_what_was_made_of_another_file_is_not_gone_on_with(hosts: tuple[str, ...]) -> None:
    done = DoneVideo("0.mp4", False, [DoneRange(10, 20, 10, 0)], 10, 0, 0, checksum="another")
    bench = with_done(Bench(videos=2, hosts=hosts), {"0.mp4": done})
    for name in hosts:
        bench.hello(name)
    while bench.core.outcome is None:
        name = next(name for name in hosts if bench.running(name))
        each = bench.running(name)[0]
        if each.is_probe:
            told = [(index, info()) for index in each.files]
            bench.say(name, Probed(lease=each.lease, found=told, refused=[], seconds=0.1))
        else:
            bench.finish(name, each)
    (failure,) = bench.core.failures.failures
    assert (failure.video, failure.kind, failure.attempts) == ("0.mp4", "lost", 2)
    assert "put that file back" in failure.reason
    assert bench.core.pool.videos[0].units == []
    assert bench.core.pool.videos[1].settled


def test_one_host_with_another_file_does_not_decide() -> None:
    done = DoneVideo("0.mp4", False, [DoneRange(10, 20, 10, 0)], 10, 0, 0, checksum="another")
    bench = with_done(Bench(videos=1, hosts=("a", "b")), {"0.mp4": done})
    bench.hello("a", slots=2)
    (unit,) = bench.running("a")
    bench.say("a", Probed(lease=unit.lease, found=[(0, info(60.0))], refused=[], seconds=0.1))
    bench.hello("b", slots=2)
    (unit,) = bench.running("b")
    assert unit.is_probe
    told = msgspec.structs.replace(info(60.0), checksum="another")
    bench.say("b", Probed(lease=unit.lease, found=[(0, told)], refused=[], seconds=0.1))
    assert bench.core.failures.failures == []
    assert not any(each.is_probe for each in bench.running("b"))
    assert bench.running("b")


def test_rows_that_were_made_of_two_files_prove_one_of_them() -> None:
    one, other = unit(0, 5, 5), unit(5, None, 3)
    one.video_checksum, other.video_checksum = "1", "2"
    video, rest = prove_video([one, other], VIDEO, Selection(FPS))
    assert video is not None
    assert (video.checksum, video.is_whole, rest) == ("1", False, [other])


def test_what_is_whole_is_not_even_probed() -> None:
    done = {name: DoneVideo(name, True, [], 5, 1, 50) for name in ("0.mp4", "2.mp4")}
    bench = with_done(Bench(videos=3, hosts=("a",)), done)
    said = bench.hello("a", slots=4)
    assert [assign.task.files for assign in assigned(said)] == [[(1, b"1.mp4", 1000)]]  # type: ignore[union-attr]
    assert (bench.core.pool.taken_over.frames, bench.core.pool.taken_over.suspect) == (10, 2)


def with_done(bench: Bench, done: dict[str, DoneVideo]) -> Bench:
    bench.core = same_job(bench.core, done)
    return bench


def committed(run: World, name: str) -> list[dict[str, object]]:
    return [e for e in run.server.records if e["event"] == "committed" and e["video"] == name]


def rows_of(run: World, entry: dict[str, object], video: ListedVideo) -> Unit:
    """A committed unit of a simulated run, as the manifest would tell of it."""
    number = int(str(entry["unit"]))
    done = run.core.pool.units[number]
    (said,) = (
        each
        for each in run.server.records
        if (each["event"], each.get("unit"), each.get("attempt")) == ("staged", number, entry["attempt"])
    )
    return Unit(
        part=Path("p"),
        key=(done.id, 1, "a"),
        video=video.name,
        range=DoneRange(
            done.start,
            None if said.get("saw_end") else done.stop,
            int(str(entry["frames"])),
            int(str(said.get("shown", 0))),
        ),
        video_bytes=video.size_bytes,
        time_base=TIME_BASE,
        first_sample=pairs_of(run, entry)[0][0],
        folder=f"frames/{video.folder}",
    )


def pairs_of(run: World, entry: dict[str, object]) -> list[tuple[int, int]]:
    lease = Lease(int(str(entry["unit"])), int(str(entry["attempt"])))
    return run.published[str(entry["host"]), lease].pairs()


@pytest.mark.parametrize("mode", MODES)
def test_two_runs_give_what_one_gives(mode: str) -> None:
    taken = 0
    for seed in range(10):
        first, fate = world(seed, MODES[mode]), random.Random(seed)
        until_s = 22 + fate.random() * 30
        while first.timeline.now < until_s and not first.server.over:
            first.timeline.step()
        second = world(seed, MODES[mode])
        done: dict[str, DoneVideo] = {}
        before: dict[str, list[tuple[int, int]]] = {}
        for video in second.job.videos:
            entries = [entry for entry in committed(first, video.name) if entry["frames"]]
            units = {rows_of(first, entry, video).range.start: entry for entry in entries}
            if not entries:
                continue
            known, _ = prove_video(
                [rows_of(first, entry, video) for entry in entries], video, second.job.selection()
            )
            if known is not None:
                done[video.name] = known
                before[video.name] = [
                    pair for each in known.ranges for pair in pairs_of(first, units[each.start])
                ]
                taken += known.frames
        mortal = MortalServer(second, seed, done)
        mortal.start_again(is_whole=False)
        second.run()
        core = second.core
        incomplete = {
            number
            for each in core.pool.units.values()
            if each.state is UnitState.FAILED and not each.is_probe
            for number in each.files
        }
        for footage in second.plan.footage:
            found = before.get(footage.name, [])
            for entry in committed(second, footage.name):
                found = found + pairs_of(second, entry)
            assert len({sample for sample, _ in found}) == len(found), "two frames have one name"
            assert core.pool.videos[footage.index].frames == len(found)
            if footage.index not in incomplete:
                assert sorted(found) == wanted(second, footage), f"seed {seed}: {footage.name}"
    assert taken, "something was taken over"
