"""The core against random hosts, and links that lose, delay, repeat and reorder.

Nothing is lost or done twice. Hosts are small models of the agent. Every run must end with each sample
committed exactly once, whatever the seed; a failing seed is its own reproduction.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field

import pytest

from common import messages as m
from common.media import VideoInfo
from common.sampling import parse_sampling
from common.spec import JobSpec, SchedulingOptions
from coordinator.catalogue import ListedVideo
from coordinator.core import Core
from coordinator.events import Action, Conclude, Quit, Received, Record, Send, Tick, Unreachable
from coordinator.invariants import check_invariants
from coordinator.state import UnitState

FPS = 5


@dataclass
class FakeHost:
    """An agent without slots or files: it takes time, and remembers what it published."""

    name: str
    incarnation: int = 0
    alive: bool = True
    welcome: bool = False
    running: dict[m.Lease, m.Extract | m.Probe] = field(default_factory=dict)
    staged: dict[m.Lease, m.Done] = field(default_factory=dict)
    published: dict[m.Lease, m.Done] = field(default_factory=dict)

    @property
    def peer(self) -> bytes:
        return f"{self.name}/{self.incarnation}".encode()


class World:
    """A seeded clock, hosts, links and one core."""

    def __init__(self, seed: int, fps: str) -> None:
        self.random = random.Random(seed)
        self.lengths = [max(1.0, self.random.lognormvariate(3, 1)) for _ in range(6)]
        self.hosts = {name: FakeHost(name) for name in ("a", "b", "c")}
        self.core = Core(
            JobSpec(job_id="j", fps=fps, scheduling=SchedulingOptions(unit_min_s=0.5, unit_cap_s=2.0)),
            sampling=parse_sampling(fps),
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
        self.ever_published: set[tuple[str, m.Lease]] = set()
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
                self.committed.append(action.entry)
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
                for done in host.staged.values():
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
                for done in (*host.staged.values(), *host.published.values()):
                    self.say(host, done)
            case m.ReHello():
                host.welcome = False
            case m.Assign(lease=lease, task=task):
                if lease not in host.running and lease not in host.staged and lease not in host.published:
                    host.running[lease] = task
                    self.at(self.now + 0.1 + self.random.random() * 3, "worked", (peer, lease))
            case m.Commit(lease=lease):
                if lease in host.staged:
                    host.published[lease] = host.staged.pop(lease)
                    self.ever_published.add((host.name, lease))
                if lease in host.published:
                    self.say(host, m.Committed(leases=[lease]))
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
        frames = self.frames(int(task.video), task.start, task.stop)
        host.staged[lease] = m.Done(
            lease=lease, frames=frames, suspect=0, bytes=1, decoded=frames * 5, errors=0,
            saw_end=task.stop is None, seconds=1.0, notes=[],
        )  # fmt: skip
        self.say(host, host.staged[lease])

    def frames(self, index: int, start: int, stop: int | None) -> int:
        """How many frames a range of the made-up videos holds: one a position of 0.2 s."""
        step = 200 if self.core.pool.sampling.numbered_by_order else 1
        end = int(self.lengths[index] * FPS) * step
        stop = end if stop is None else min(stop, end)
        return max(0, -(-stop // step) - -(-start // step))

    def info(self, index: int) -> VideoInfo:
        return VideoInfo(
            container="mp4",
            codec="h264",
            width=640,
            height=360,
            time_base_num=1,
            time_base_den=1000,
            first_pts=0,
            duration_s=self.lengths[index] * (0.5 + self.random.random()),
            frame_rate=25.0,
            keyframes=[2000 * key for key in range(int(self.lengths[index] // 2))],
            seekable=index != 5,
            size_bytes=1000,
        )


@pytest.mark.parametrize("fps", [str(FPS), "native"])
@pytest.mark.parametrize("seed", range(25))
def test_every_sample_is_committed_exactly_once(seed: int, fps: str) -> None:
    world = World(seed, fps)
    world.run()
    assert all(failure.kind == "lost" for failure in world.core.failing.failures)
    given_up = [
        unit
        for unit in world.core.pool.units.values()
        if unit.state is UnitState.FAILED and not unit.is_probe
    ]
    for index, length in enumerate(world.lengths):
        entries = [entry for entry in world.committed if entry["video"] == str(index)]
        ranges = sorted((entry["start"], entry["stop"] or float("inf"), entry["frames"]) for entry in entries)
        assert len({start for start, _, _ in ranges}) == len(ranges), "a range was committed twice"
        lost = sum(world.frames(index, unit.start, unit.stop) for unit in given_up if unit.video == index)
        total = sum(int(str(frames)) for _, _, frames in ranges)
        before = 0
        for entry in sorted(entries, key=lambda entry: int(str(entry["start"]))):
            assert entry["first_sample"] == (before if fps == "native" else 0)
            before += int(str(entry["frames"]))
        if not world.core.pool.videos[index].refused:
            assert total + lost == int(length * FPS), f"video {index}"
    units = world.core.pool.units
    for host in world.hosts.values():
        for lease in host.published:
            assert (units[lease.unit].host, units[lease.unit].attempt) == (host.name, lease.attempt)
