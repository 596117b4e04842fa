"""A world: the real core, the loop around it, hosts, links and faults, on one timeline."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from framefleet.common.job.spec import JobSpec
from framefleet.common.protocol import messages as m
from framefleet.coordinator.core.core import Core
from framefleet.coordinator.simulation.faults import CALM, Faults
from framefleet.coordinator.simulation.footage import Picked
from framefleet.coordinator.simulation.hosts import VirtualHost
from framefleet.coordinator.simulation.network import Network
from framefleet.coordinator.simulation.plan import Plan
from framefleet.coordinator.simulation.server import VirtualServer
from framefleet.coordinator.simulation.slots import Spent
from framefleet.coordinator.simulation.timeline import Timeline
from framefleet.coordinator.simulation.transcript import Job, MakeCore, Transcript, replay
from framefleet.coordinator.state import UnitState

PATIENCE_S = 3600.0  # after the last fault, beyond ten times what the work can take: then it hangs


class SimulationError(Exception):
    """The core did what it must not do; the text says what, and when."""


@dataclass(slots=True, kw_only=True)
class Result:
    """What came of a run. Seconds are virtual; ``spent`` is at speed 1."""

    makespan_s: float
    ideal_s: float
    work_s: float
    speed: float
    units: int
    messages: int
    shrinks: int
    coordinator_busy: float
    spent: Spent
    outcome: str
    failures: int
    last_start_s: float = 0.0
    """When the last unit that was committed was handed out."""
    happened: dict[str, int] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        return self.makespan_s / self.ideal_s if self.ideal_s else 1.0


class World:
    """One run; ``checks`` looks at all invariants after every event, and keeps the transcript."""

    def __init__(
        self, plan: Plan, *, faults: Faults = CALM, checks: bool = False, make_core: MakeCore = Core
    ) -> None:
        self.plan = plan
        self.timeline = Timeline()
        self.selection = plan.selection()
        self.names = plan.names or [host.name for host in plan.hosts]
        self.job = Job(
            spec=JobSpec(job_id=f"seed {plan.seed}", sampling=plan.sampling, scheduling=plan.scheduling),
            videos=[video.listed() for video in plan.footage],
            expected=self.names,
            timestamps=plan.timestamps,
        )
        self.core = self.job.core(make_core)
        # one source of chance for each purpose: a change in one thing leaves the others as they were
        self._fate = random.Random(f"{plan.seed} units")
        self.network = Network(
            self.timeline, random.Random(f"{plan.seed} links"), plan.links, to_core=self._to_core
        )
        self.server = VirtualServer(
            self.core, self.timeline, plan.server, send=self.network.to_host, checks=checks
        )
        self.spent = Spent()
        self.hosts: dict[str, VirtualHost] = {}
        self.former: list[VirtualHost] = []
        self.happened: list[tuple[float, str, str]] = []
        self._plans = {host.name: host for host in plan.hosts}
        self._faults = faults
        self._stopped = False
        Fate(self, faults, random.Random(f"{plan.seed} faults"))
        for host in plan.hosts:
            if host.starts_at is not None:
                self.timeline.at(host.starts_at, self.start_host, host.name)

    # ---- what happens -------------------------------------------------------------------------------

    def start_host(self, name: str) -> None:
        """A host's agent starts (again)."""
        before = self.hosts.get(name)
        if before is not None:
            before.alive = False
            self.former.append(before)
        is_calm = self.timeline.now >= self._faults.calm_after_s
        host = VirtualHost(
            name,
            1 if before is None else before.incarnation + 1,
            speeds=self._plans[name].speeds,
            timeline=self.timeline,
            footage=self.plan.footage,
            selection=self.selection,
            options=self.plan.scheduling,
            costs=self.plan.costs,
            spent=self.spent,
            say=self.network.from_host,
            fate=self._fate,
            error_rate=0.0 if is_calm else self.plan.error_rate,
        )
        if before is not None:
            host.broken_disk, host.bad_copies = before.broken_disk, before.bad_copies
        self.hosts[name] = host
        self.network.join(host)
        host.start()

    def _to_core(self, peer: bytes, message: m.FromHost) -> None:
        self.server.receive(peer, message)

    def _calm_down(self) -> None:
        """Nothing goes wrong by chance any more."""
        for host in self.hosts.values():
            host.lies = False
            for slot in host.slots:
                slot.error_rate = 0.0

    # ---- running ------------------------------------------------------------------------------------

    def run(self) -> Result:
        """Let it all happen.

        Raises:
            SimulationError: an invariant was broken, an event raised, or the job did not end.
        """
        if self.plan.error_rate or self._faults.lies:
            self.timeline.at(self._faults.calm_after_s, self._calm_down)
        until = (
            self._faults.calm_after_s + PATIENCE_S + 10 * self.plan.ideal_s() + self.plan.scheduling.lease_s
        )
        try:
            while not self.server.over:
                if not self.timeline.step() or self.timeline.now > until:
                    raise AssertionError(f"the job did not end within {until:.0f} s: {self.open_units()}")
        except Exception as error:
            if isinstance(error, (KeyboardInterrupt, MemoryError)):
                raise
            what = f"{type(error).__name__}: {error}"
            raise SimulationError(f"seed {self.plan.seed}, at {self.timeline.now:.3f} s: {what}") from error
        return self.result()

    def open_units(self) -> str:
        """The units that are not at their end, for a message."""
        names = [
            f"{unit.id} {unit.state.value} at {unit.host}"
            for unit in self.core.pool.units.values()
            if unit.state not in (UnitState.DONE, UnitState.FAILED, UnitState.DROPPED)
        ]
        more = f" and {len(names) - 10} more" if len(names) > 10 else ""
        return f"{self.core.pool.unsettled} videos unsettled; units {', '.join(names[:10])}{more}"

    @property
    def transcript(self) -> Transcript:
        """What the core was told; only with ``checks``."""
        return Transcript(self.job, self.server.steps)

    @property
    def published(self) -> dict[tuple[str, m.Lease], Picked]:
        """All that any host ever published, by its name and the attempt."""
        return {
            (host.name, lease): picked
            for host in (*self.former, *self.hosts.values())
            for lease, picked in host.attempts.ever_published.items()
        }

    def result(self) -> Result:
        plan, server = self.plan, self.server
        speed = sum(sum(host.speeds) for host in plan.hosts if host.starts_at is not None)
        kinds: dict[str, int] = {}
        for _, _, what in self.happened:
            kinds[what] = kinds.get(what, 0) + 1
        makespan_s = self.core.last_commit_at
        return Result(
            makespan_s=makespan_s,
            ideal_s=plan.ideal_s(),
            work_s=plan.work_s(),
            speed=speed,
            units=len(self.core.pool.units),
            messages=server.messages,
            shrinks=server.shrinks,
            coordinator_busy=server.busy_s / max(makespan_s, 1e-9),
            spent=self.spent,
            outcome=server.outcome or "",
            failures=len(self.core.failures.failures),
            happened=kinds,
        )


def fails_alike(transcript: Transcript, error: Exception, make: MakeCore = Core) -> bool:
    """Whether a core that is told this fails with an error of the kind that ended a run with ``error``."""
    cause = error.__cause__ or error
    try:
        replay(transcript, make)
    except Exception as again:  # noqa: BLE001 - whatever it is, it is compared
        return type(again) is type(cause) and _kind(again) == _kind(cause)
    return False


def _kind(error: Exception) -> str:
    """An error's text without its numbers."""
    return "".join(letter for letter in str(error) if not letter.isdigit())[:60]


class Fate:
    """Lets the faults of a world happen."""

    def __init__(self, world: World, faults: Faults, fate: random.Random) -> None:
        self._world = world
        self._faults = faults
        self._fate = fate
        self._gone: set[str] = set()
        self._broken: set[str] = set()
        self._slow: set[str] = set()
        self._other: set[str] = set()
        for name in world.names:
            for what, per_hour in faults.rates.items():
                self._plan(name, what, per_hour)

    def _plan(self, name: str, what: str, per_hour: float) -> None:
        if per_hour > 0:
            delay_s = self._fate.expovariate(per_hour / 3600)
            if self._world.timeline.now + delay_s < self._faults.calm_after_s:
                self._world.timeline.after(delay_s, self._happen, name, what, per_hour)

    def _happen(self, name: str, what: str, per_hour: float) -> None:
        self._plan(name, what, per_hour)
        world, fate, timeline = self._world, self._fate, self._world.timeline
        host = world.hosts.get(name)
        if host is None or not host.alive:
            return
        world.happened.append((timeline.now, name, what))
        match what:
            case "slot_crash":
                host.crash_slot(fate.randrange(len(host.slots)))
            case "death":
                host.die()
                remaining = len(world.names) - len(self._gone)
                if remaining > 2 and fate.random() < self._faults.lost_for_good:
                    self._gone.add(name)
                else:
                    timeline.after(fate.random() * self._faults.back_s, world.start_host, name)
            case "pause":
                host.pause()
                timeline.after(fate.random() * 40.0, host.go_on)
            case "break":
                world.network.break_link(host)
            case "cut_off":
                world.network.cut_off(host, fate.random() * 50.0)
            case "slowing":
                if name not in self._slow:
                    self._slow.add(name)
                    host.slow_down(SLOW)
            case "broken_disk":
                if len(self._broken | self._gone) < len(world.names) - 2:
                    self._broken.add(name)
                    host.broken_disk = True
            case "lie":
                host.lies = not host.lies
            case "bad_copies":
                # three others are left, of which two can always decide
                if not self._other and len(world.names) - len(self._broken | self._gone) > 3:
                    self._other.add(name)
                    host.bad_copies = True


SLOW = 0.1  # of its speed is left to a host that is slowed down; once
