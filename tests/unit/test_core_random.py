"""The core against random hosts, and links that lose, delay, repeat and reorder.

Nothing is lost or done twice. Hosts are small models of the agent. Every run must end with each frame that
is wanted committed exactly once, under its name, whatever the seed; a failing seed is its own reproduction.
"""

from __future__ import annotations

import heapq
import random
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import pytest

from common import messages as m
from common.media import VideoInfo
from common.selection import TIMESTAMPS_FILE, Selection, encode_table, format_seconds
from common.spec import JobSpec, SamplingOptions, SchedulingOptions
from coordinator.catalogue import ListedVideo
from coordinator.core import Core
from coordinator.events import Action, Conclude, Quit, Received, Record, Send, Tick, Unreachable
from coordinator.invariants import check_invariants
from coordinator.state import UnitState

FPS = 5
STEP_MS = 1000 // FPS
GOP = 10  # frames
TIMES = [Fraction(7 * number, 10) for number in range(500)]  # each shows another frame

Picked = list[tuple[int, int]]  # (sample, as the unit has it; frame)

NATIVE = SamplingOptions(fps="native")
MODES = {
    "5 fps": SamplingOptions(fps=str(FPS)),
    "native": NATIVE,
    "every 3rd": SamplingOptions(every=3),
    "every 7th": SamplingOptions(every=7, start="1.1", end="11"),
    "keyframes": SamplingOptions(keyframes=True),
    "times": SamplingOptions(timestamps=TIMESTAMPS_FILE),
    "times within": SamplingOptions(
        timestamps=TIMESTAMPS_FILE, start="2", end="0:12", max_frames_per_video=9
    ),
    "5 fps, 20 frames": SamplingOptions(fps=str(FPS), max_frames_per_video=20),
    "native, 30 frames": SamplingOptions(fps="native", max_frames_per_video=30),
    "every 3rd, 12 frames": SamplingOptions(every=3, start="0.5", max_frames_per_video=12),
    "keyframes, 3 frames": SamplingOptions(keyframes=True, max_frames_per_video=3),
}


@dataclass
class FakeHost:
    """An agent without slots or files: it takes time, and remembers what it published."""

    name: str
    incarnation: int = 0
    alive: bool = True
    welcome: bool = False
    running: dict[m.Lease, m.Extract | m.Probe] = field(default_factory=dict)
    staged: dict[m.Lease, tuple[m.Done, Picked]] = field(default_factory=dict)
    published: dict[m.Lease, tuple[m.Done, Picked]] = field(default_factory=dict)

    @property
    def peer(self) -> bytes:
        return f"{self.name}/{self.incarnation}".encode()


class World:
    """A seeded clock, hosts, links and one core."""

    def __init__(
        self,
        seed: int,
        sampling: SamplingOptions,
        frame_rates: Sequence[float] = (5.0, 5.0, 25.0, 3.3, 0.0),  # that containers claim
    ) -> None:
        self.random = random.Random(seed)
        self.frame_rates = frame_rates
        self.frames = [int(FPS * max(1.0, self.random.lognormvariate(3, 1))) for _ in range(6)]
        timestamps = encode_table([(None, [format_seconds(*time.as_integer_ratio()) for time in TIMES])])
        self.selection = Selection(sampling, timestamps=timestamps)
        self.hosts = {name: FakeHost(name) for name in ("a", "b", "c")}
        self.core = Core(
            JobSpec(
                job_id="j",
                sampling=sampling,
                scheduling=SchedulingOptions(unit_min_s=0.5, unit_cap_s=2.0),
            ),
            selection=self.selection,
            videos=[
                ListedVideo(index=i, path=b"%d" % i, name=str(i), folder=str(i), size_bytes=1000)
                for i in range(6)
            ],
            problems=[],
            expected=list(self.hosts),
            now=0.0,
        )
        self.now = 0.0
        self.calm_after_s = 400.0
        self.queue: list[tuple[float, int, str, object]] = []
        self.sequence = 0
        self.committed: list[dict[str, object]] = []
        self.ever_published: dict[tuple[str, m.Lease], Picked] = {}
        self.redone = 0
        self.over = False
        for name in self.hosts:
            self.at(self.random.random() * 20, "start", name)
        for tick in range(1, 6000):
            self.at(tick * 0.5, "tick", None)

    def at(self, when: float, what: str, about: object) -> None:
        self.sequence += 1
        heapq.heappush(self.queue, (when, self.sequence, what, about))

    def carry(self, what: str, about: object) -> None:
        """Over the link: mostly once and soon, sometimes late, twice, or never."""
        calm = self.now > self.calm_after_s
        roll = self.random.random()
        copies = 1 if calm or roll < 0.94 else 2 if roll < 0.97 else 0
        for _ in range(copies):
            late = not calm and self.random.random() < 0.03
            self.at(self.now + self.random.random() * (40.0 if late else 0.01), what, about)

    def act(self, actions: list[Action]) -> None:
        check_invariants(self.core)
        for action in actions:
            if isinstance(action, Send):
                host = next((h for h in self.hosts.values() if h.peer == action.peer), None)
                if host is None or not host.alive:
                    self.act(self.core.handle(Unreachable(peer=action.peer), self.now))
                else:
                    self.carry("to host", (action.peer, action.message))
            elif isinstance(action, Record) and action.entry["event"] == "committed":
                lease = m.Lease(int(action.entry["unit"]), int(action.entry["attempt"]))
                assert (str(action.entry["host"]), lease) in self.ever_published, "committed, never published"
                picked = self.ever_published[str(action.entry["host"]), lease]
                assert action.entry["frames"] == len(picked)
                self.committed.append(action.entry)
            elif isinstance(action, Record) and action.entry["event"] == "redone":
                self.redone += 1
            elif isinstance(action, Conclude):
                assert action.outcome == "completed", action.reason
            elif isinstance(action, Quit):
                self.over = True

    def run(self) -> None:
        while self.queue and not self.over:
            self.now, _, what, about = heapq.heappop(self.queue)
            getattr(self, "on_" + what.replace(" ", "_"))(about)
            self.act(self.core.schedule(self.now))
        assert self.over, "the job did not end"

    def on_tick(self, _: object) -> None:
        self.act(self.core.handle(Tick(), self.now))
        for host in self.hosts.values():
            if not host.alive:
                continue
            if self.now < self.calm_after_s and self.random.random() < 0.002:
                host.alive = False
                self.at(self.now + self.random.random() * 60, "start", host.name)
            elif not host.welcome:
                self.hello(host)
            elif self.random.random() < 0.1:
                held = [*host.running, *host.staged]
                units = [m.UnitProgress(lease.unit, lease.attempt, 0, 0, 0.0) for lease in held]
                self.say(host, m.Progress(units=units))
                for done, _ in host.staged.values():
                    self.say(host, done)

    def on_start(self, name: object) -> None:
        host = self.hosts[str(name)]
        self.hosts[host.name] = FakeHost(host.name, incarnation=host.incarnation + 1)
        self.hello(self.hosts[host.name])

    def hello(self, host: FakeHost) -> None:
        running = [*host.running, *host.staged, *host.published]
        self.say(
            host,
            m.Hello(
                version=m.PROTOCOL_VERSION,
                host=host.name,
                incarnation=str(host.incarnation),
                slots=2,
                running=running,
            ),
        )

    def say(self, host: FakeHost, message: m.FromHost) -> None:
        self.carry("to core", (host.peer, message))

    def on_to_core(self, about: tuple[bytes, m.FromHost]) -> None:
        self.act(self.core.handle(Received(peer=about[0], message=about[1]), self.now))

    def on_to_host(self, about: tuple[bytes, m.FromCoordinator]) -> None:
        peer, message = about
        host = next((h for h in self.hosts.values() if h.peer == peer and h.alive), None)
        if host is None:
            return
        match message:
            case m.Welcome():
                host.welcome = True
                self.say(host, m.Ready(slots=2))
                for done, _ in (*host.staged.values(), *host.published.values()):
                    self.say(host, done)
            case m.ReHello():
                host.welcome = False
            case m.Assign(lease=lease, task=task):
                if lease not in host.running and lease not in host.staged and lease not in host.published:
                    host.running[lease] = task
                    self.at(self.now + 0.1 + self.random.random() * 3, "worked", (peer, lease))
            case m.Commit(lease=lease, first_sample=first_sample, keep=keep):
                if lease in host.staged:
                    done, picked = host.published[lease] = host.staged.pop(lease)
                    picked[:] = [(first_sample + sample, frame) for sample, frame in picked[:keep]]
                    self.ever_published[host.name, lease] = picked
                if lease in host.published:
                    done, picked = host.published[lease]
                    cut = [m.Trimmed(lease, 0, len(picked))] if len(picked) < done.frames else []
                    self.say(host, m.Committed(leases=[lease], trimmed=cut))
            case m.Discard(lease=lease):
                for place in (host.running, host.staged, host.published):
                    place.pop(lease, None)
            case m.End():
                self.say(host, m.Bye(reason=""))
            case _:
                pass

    def on_worked(self, about: tuple[bytes, m.Lease]) -> None:
        peer, lease = about
        host = next((h for h in self.hosts.values() if h.peer == peer and h.alive), None)
        task = host.running.pop(lease, None) if host is not None else None
        if host is None or task is None:
            return
        if isinstance(task, m.Probe):
            found = [(index, self.info(index)) for index, _ in task.files]
            self.say(host, m.Probed(lease=lease, found=found, refused=[], seconds=0.01))
            return
        if self.random.random() < 0.01 and self.now < self.calm_after_s:
            self.say(host, m.Failed(lease=lease, kind="crash" if lease.attempt == 1 else "error", text="x"))
            return
        shown = self.shown(int(task.video), task.start, task.stop)
        picked = self.pick(shown, task.start, task.rank)
        truncated = False
        if task.limit is not None and len(picked) > task.limit:  # it stops soon after, at the end of a GOP
            picked = picked[: task.limit + self.random.randrange(3)]
            truncated = picked[-1][1] != shown[-1]
            shown = shown[: shown.index(picked[-1][1]) + 1]
        done = m.Done(
            lease=lease, stop=task.stop, frames=len(picked), suspect=0, bytes=len(picked),
            decoded=len(shown) * 5, errors=0,
            saw_end=not truncated and self.reaches_end(int(task.video), task.stop),
            seconds=1.0, notes=[], shown=len(shown),
        )  # fmt: skip
        host.staged[lease] = done, picked
        self.say(host, done)

    def reaches_end(self, index: int, stop: int | None) -> bool:
        """Whether no frame tells a unit that its range is over."""
        base = self.selection.base
        last = self.frames[index] - 1
        if base.keyframes_only:
            last -= last % GOP
        if base.numbered_by_order:
            return stop is None or stop > last * STEP_MS + 1
        position = last if base.times is None else bisect_left(TIMES, Fraction(last, FPS))
        return stop is None or stop > position

    def shown(self, index: int, start: int, stop: int | None) -> list[int]:
        """The frames that are fed to a selector and lie in a range of the made-up videos."""
        base = self.selection.base
        frames = range(0, self.frames[index], GOP if base.keyframes_only else 1)
        if base.numbered_by_order:
            return [frame for frame in frames if start <= frame * STEP_MS and in_front(frame * STEP_MS, stop)]
        if base.times is None:
            return [frame for frame in frames if start <= frame and in_front(frame, stop)]
        shown = [int(time * FPS) for time in TIMES[start:stop]]
        return [frame for frame in shown if frame < self.frames[index]]

    def pick(self, shown: list[int], start: int, rank: int) -> Picked:
        """Those of a unit's frames that it writes."""
        base = self.selection.base
        if base.numbered_by_order:
            chosen = [frame for place, frame in enumerate(shown) if (rank + place) % base.every == 0]
            return list(enumerate(chosen))
        if base.times is None:
            return [(frame, frame) for frame in shown]
        return [(start + place, frame) for place, frame in enumerate(shown)]

    def wanted(self, index: int) -> Picked:
        """The frames that a job must give of a video."""
        sampling = self.selection.of(str(index))
        assert sampling is not None
        start, stop = sampling.range_of(Fraction(1, 1000))
        return self.pick(self.shown(index, start, stop), start, 0)[: self.selection.limit]

    def info(self, index: int) -> VideoInfo:
        return VideoInfo(
            container="mp4",
            codec="h264",
            width=640,
            height=360,
            time_base_num=1,
            time_base_den=1000,
            first_pts=0,
            duration_s=self.frames[index] / FPS * (0.5 + self.random.random()),
            frame_rate=self.random.choice(self.frame_rates),
            keyframes=list(range(0, self.frames[index] * STEP_MS, GOP * STEP_MS)),
            seekable=index != 5,
            size_bytes=1000,
        )


def in_front(position: int, stop: int | None) -> bool:
    return stop is None or position < stop


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(8))
def test_every_wanted_frame_is_committed_exactly_once(seed: int, mode: str) -> None:
    world = World(seed, MODES[mode])
    world.run()
    core = world.core
    assert all(failure.kind == "lost" for failure in core.failing.failures)
    failed = [unit for unit in core.pool.units.values() if unit.state is UnitState.FAILED]
    incomplete = {index for unit in failed for index in unit.files}
    for index, video in enumerate(core.pool.videos):
        entries = [entry for entry in world.committed if entry["video"] == str(index)]
        ranges = [entry["start"] for entry in entries]
        assert len(set(ranges)) == len(ranges), "a range was committed twice"
        found: Picked = []
        for entry in entries:
            lease = m.Lease(int(str(entry["unit"])), int(str(entry["attempt"])))
            found += world.ever_published[str(entry["host"]), lease]
        assert len({sample for sample, _ in found}) == len(found), "two frames have one name"
        assert video.frames == len(found)
        if index not in incomplete:
            assert sorted(found) == world.wanted(index), f"video {index}"
        elif MODES[mode].max_frames_per_video is None:
            assert {frame for _, frame in found} <= set(range(world.frames[index]))
    for host in world.hosts.values():
        if core.hosts[host.name].state != "lost":  # else the launcher leaves out what nobody committed
            for lease in host.published:
                unit = core.pool.units[lease.unit]
                assert (unit.host, unit.attempt) == (host.name, lease.attempt)


@pytest.mark.parametrize(("claims", "is_right"), [((5.0,), True), ((25.0, 3.3, 0.0), False)])
def test_units_are_done_again_only_where_a_container_is_wrong(
    claims: tuple[float, ...], is_right: bool
) -> None:
    redone = 0
    for seed in range(3):
        world = World(seed, MODES["every 3rd"], frame_rates=claims)
        world.run()
        if not any(unit.state is UnitState.FAILED for unit in world.core.pool.units.values()):
            redone += world.redone
    assert redone == 0 if is_right else redone > 10


def test_no_more_is_handed_out_than_a_limit_makes_likely() -> None:
    world = World(1, SamplingOptions(fps=str(FPS), max_frames_per_video=20))
    world.run()
    for video in world.core.pool.videos[:5]:
        assert video.next_start <= 20, "each position gives a frame here"
