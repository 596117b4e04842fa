"""The core under Hypothesis: hosts join, answer, lie, repeat, reorder, vanish and come back, in any order.

Nothing is random here but what Hypothesis chooses, so a failure shrinks to a few lines. Messages lie in the
open until a rule delivers them: in any order, several times, late or never. All invariants are looked at
after every single step, and at the end of each run everybody behaves, and the job must end.
"""

from __future__ import annotations

import random

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from framefleet.common.job.spec import JobSpec, SchedulingOptions
from framefleet.common.protocol import messages as m
from framefleet.coordinator.core.core import TICK_S
from framefleet.coordinator.core.invariants import Watch
from framefleet.coordinator.events import Event, Garbled, Quit, Received, Send, Stop, Tick, Unreachable
from framefleet.coordinator.simulation.campaign import SAMPLINGS, small_plan
from framefleet.coordinator.simulation.hosts import VirtualHost
from framefleet.coordinator.simulation.slots import Costs, Spent
from framefleet.coordinator.simulation.timeline import Timeline
from framefleet.coordinator.simulation.transcript import Job
from framefleet.coordinator.state import Unit

NAMES = ("a", "b", "c")
OPTIONS = SchedulingOptions(unit_min_s=0.5, unit_cap_s=2.0, host_wait_s=60.0)
MAX_LYING = 40  # messages that wait on a link
PLACES = st.integers(0, 10**6)


class CoreMachine(RuleBasedStateMachine):
    """One core, three hosts, and a link of loose messages in each direction."""

    def __init__(self) -> None:
        super().__init__()
        self.timeline = Timeline()
        self.up: list[tuple[bytes, m.FromHost]] = []
        self.down: list[tuple[bytes, m.FromCoordinator]] = []
        self.said: list[tuple[bytes, m.FromHost]] = []
        self.hosts: dict[str, VirtualHost] = {}
        self.gone: set[bytes] = set()
        self.over = False
        self.direct = False

    @initialize(mode=st.sampled_from(sorted(SAMPLINGS)), seed=st.integers(0, 30))
    def begin(self, mode: str, seed: int) -> None:
        plan = small_plan(seed, SAMPLINGS[mode])
        self.plan = plan
        self.job = Job(
            spec=JobSpec(job_id="j", sampling=plan.sampling, scheduling=OPTIONS),
            videos=[video.listed() for video in plan.footage],
            expected=list(NAMES),
            timestamps=plan.timestamps,
        )
        self.core = self.job.core()
        self.watch = Watch(self.core)
        self.join("a")

    # ---- telling the core ---------------------------------------------------------------------------

    def tell(self, event: Event) -> None:
        """One event and one round of scheduling, each followed by a look."""
        now = self.timeline.now
        actions = self.core.handle(event, now)
        self.watch.look()
        actions += self.core.schedule(now)
        self.watch.look()
        for action in actions:
            if isinstance(action, Send):
                if action.peer in self.gone:
                    self.core.handle(Unreachable(peer=action.peer), now)
                elif self.direct:
                    self.timeline.after(0.001, self.arrive, action.peer, action.message)
                elif len(self.down) < MAX_LYING:
                    self.down.append((action.peer, action.message))
            elif isinstance(action, Quit):
                self.over = True

    def say(self, host: VirtualHost, message: m.FromHost) -> None:
        self.said.append((host.peer, message))
        if self.direct:
            self.timeline.after(0.001, self.tell, Received(peer=host.peer, message=message))
        elif len(self.up) < MAX_LYING:
            self.up.append((host.peer, message))

    def arrive(self, peer: bytes, message: m.FromCoordinator) -> None:
        for host in self.hosts.values():
            if host.peer == peer:
                host.hear(message)

    def join(self, name: str) -> None:
        before = self.hosts.get(name)
        host = self.hosts[name] = VirtualHost(
            name,
            1 if before is None else before.incarnation + 1,
            speeds=(1.0, 0.3),
            timeline=self.timeline,
            footage=self.plan.footage,
            selection=self.core.pool.selection,
            options=OPTIONS,
            costs=Costs(),
            spent=Spent(),
            say=self.say,
            fate=random.Random(0),
        )
        host.start()

    # ---- rules --------------------------------------------------------------------------------------

    @rule(name=st.sampled_from(NAMES))
    def a_host_joins_or_is_started_again(self, name: str) -> None:
        before = self.hosts.get(name)
        if before is not None:
            before.alive = False  # it is still heard by what it said
            self.gone.add(before.peer)
        self.join(name)

    @rule(name=st.sampled_from(NAMES))
    def a_host_vanishes(self, name: str) -> None:
        if name in self.hosts:
            self.hosts[name].die()

    @precondition(lambda self: self.up)
    @rule(place=PLACES, stays=st.booleans())
    def a_message_reaches_the_core(self, place: int, stays: bool) -> None:
        place %= len(self.up)
        peer, message = self.up[place] if stays else self.up.pop(place)
        self.tell(Received(peer=peer, message=message))

    @precondition(lambda self: self.down)
    @rule(place=PLACES, stays=st.booleans())
    def a_message_reaches_a_host(self, place: int, stays: bool) -> None:
        place %= len(self.down)
        self.arrive(*(self.down[place] if stays else self.down.pop(place)))

    @rule()
    def all_messages_arrive(self) -> None:
        up, self.up, down, self.down = self.up, [], self.down, []
        for peer, message in down:
            self.arrive(peer, message)
        for sender, said in up:
            self.tell(Received(peer=sender, message=said))

    @precondition(lambda self: self.up or self.down)
    @rule()
    def messages_are_lost(self) -> None:
        self.up.clear()
        self.down.clear()

    @precondition(lambda self: self.said)
    @rule(place=PLACES)
    def an_old_message_comes_again(self, place: int) -> None:
        peer, message = self.said[place % len(self.said)]
        self.tell(Received(peer=peer, message=message))

    @rule(seconds=st.sampled_from((0.1, 1.0, 5.0, 31.0)))
    def time_passes(self, seconds: float) -> None:
        self.timeline.advance(seconds)
        self.tell(Tick())

    @precondition(lambda self: self.core.pool.units)
    @rule(place=PLACES, stop=st.none() | st.integers(0, 20000), peer=PLACES)
    def a_host_answers_shrink_unasked(self, place: int, stop: int | None, peer: int) -> None:
        self.lie(peer, m.Shrunk(lease=self.unit(place).lease_or_first(), stop=stop))

    @precondition(lambda self: self.core.pool.units)
    @rule(
        place=PLACES,
        peer=PLACES,
        stop=st.none() | st.integers(0, 20000),
        frames=st.integers(0, 50),
        saw_end=st.booleans(),
        own=st.booleans(),
    )
    def a_host_lies_about_a_unit(
        self, place: int, peer: int, stop: int | None, frames: int, saw_end: bool, own: bool
    ) -> None:
        unit = self.unit(place)
        done = m.Done(
            lease=unit.lease_or_first(),
            stop=unit.unit.stop if own else stop,
            frames=frames,
            suspect=0,
            bytes=0,
            decoded=frames,
            errors=0,
            saw_end=saw_end,
            seconds=1.0,
            notes=[],
            shown=frames,
        )
        self.lie(peer, done)

    @precondition(lambda self: self.core.pool.units)
    @rule(place=PLACES, peer=PLACES, kind=st.sampled_from(("input", "error", "crash", "output", "list")))
    def a_unit_fails(self, place: int, peer: int, kind: m.FailedKind) -> None:
        self.lie(peer, m.Failed(lease=self.unit(place).lease_or_first(), kind=kind, text=kind))

    @precondition(lambda self: self.core.pool.units)
    @rule(place=PLACES, peer=PLACES, far=st.integers(0, 10**6))
    def a_host_lies_about_its_progress(self, place: int, peer: int, far: int) -> None:
        lease = self.unit(place).lease_or_first()
        self.lie(peer, m.Progress(units=[m.UnitProgress(lease.unit, lease.attempt, far, far, 1.0)]))

    @precondition(lambda self: self.core.pool.units)
    @rule(place=PLACES, peer=PLACES)
    def a_host_says_committed(self, place: int, peer: int) -> None:
        self.lie(peer, m.Committed(leases=[self.unit(place).lease_or_first()]))

    @rule(peer=PLACES, slots=st.integers(0, 5))
    def a_host_has_other_slots(self, peer: int, slots: int) -> None:
        self.lie(peer, m.Ready(slots=slots))

    @rule(peer=PLACES)
    def garbage_comes(self, peer: int) -> None:
        self.tell(Garbled(peer=self.peer(peer), reason="x"))

    @rule(peer=PLACES)
    def a_host_is_not_connected(self, peer: int) -> None:
        self.tell(Unreachable(peer=self.peer(peer)))

    @precondition(lambda self: len(self.said) > 30)
    @rule(sure=st.integers(0, 20))
    def it_is_told_to_stop(self, sure: int) -> None:
        if sure == 0:
            self.tell(Stop(reason="enough"))

    # ---- helpers ------------------------------------------------------------------------------------

    class Known:
        """A unit, and a lease of it that a message may name."""

        def __init__(self, unit: Unit) -> None:
            self.unit = unit

        def lease_or_first(self) -> m.Lease:
            return m.Lease(self.unit.id, max(1, self.unit.attempt))

    def unit(self, place: int) -> Known:
        units = list(self.core.pool.units.values())  # without the probes that are over
        return self.Known(units[place % len(units)])

    def peer(self, number: int) -> bytes:
        """A host's, or that of somebody unknown."""
        hosts = list(self.hosts.values())
        number %= len(hosts) + 1
        return hosts[number].peer if number < len(hosts) else b"stranger"

    def lie(self, peer: int, message: m.FromHost) -> None:
        self.tell(Received(peer=self.peer(peer), message=message))

    @invariant()
    def nothing_is_broken(self) -> None:
        if hasattr(self, "watch"):
            self.watch.look()

    def teardown(self) -> None:
        """From now on everybody behaves: the job ends."""
        if not hasattr(self, "core"):
            return
        self.direct = True
        for name in NAMES:
            if name in self.hosts:
                self.gone.add(self.hosts[name].peer)
                self.hosts[name].alive = False
            self.join(name)
        until = self.timeline.now + 1800.0
        while not self.over and self.timeline.now < until:
            self.timeline.advance(TICK_S)
            self.tell(Tick())
        assert self.over, "the job did not end"


TestCore = CoreMachine.TestCase
TestCore.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
