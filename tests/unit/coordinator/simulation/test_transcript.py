"""Deliberate faults in the core: each is caught, and its transcript tells it again to a new core."""

from __future__ import annotations

from typing import Any

import pytest

from framefleet.common.protocol import messages as m
from framefleet.coordinator.core.core import Core
from framefleet.coordinator.events import Received, Tick
from framefleet.coordinator.simulation.campaign import campaign_world
from framefleet.coordinator.simulation.judge import judge
from framefleet.coordinator.simulation.transcript import SCHEDULE, MakeCore, Transcript, read, replay, shorten
from framefleet.coordinator.simulation.world import SimulationError, World, fails_alike
from framefleet.coordinator.state import Host, Unit, UnitState

SEEDS = 40


class NoFencing(Core):
    """Takes every answer for that of the present attempt, whoever gives it."""

    def _held(self, host: Host, lease: m.Lease) -> Unit | None:
        unit = self.pool.units.get(lease.unit)
        if unit is not None and unit.host == host.name and unit.state in (UnitState.LEASED, UnitState.STAGED):
            return unit
        self._discards.reject(host, lease)
        return None


class Forgetful(Core):
    """Does not hand out again what a lost host held."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._leases.release_all = lambda host: None  # type: ignore[method-assign]


class Generous(Core):
    """Gives hosts units that they did not ask for."""

    def _assign_all(self, now: float) -> list[Host]:
        for host in self.members.peers.values():
            host.capacity = host.slots + 1
        return super()._assign_all(now)


class Gappy(Core):
    """Loses the first position of what a host gives back."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        split = self.pool.split

        def lossy(unit: Unit, stop: int) -> Unit:
            rest = split(unit, stop)
            rest.start += 1
            return rest

        self.pool.split = lossy  # type: ignore[method-assign]


class Trusting(Core):
    """Takes a unit that ended early for the whole of it."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._stragglers.accepts = lambda unit, done: True  # type: ignore[method-assign]
        self._stragglers.shrunk = lambda unit, stop: None  # type: ignore[method-assign]


class Twofold(Core):
    """Leaves a unit in the queue that the host which had it takes up again."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.pool.unqueue = lambda unit: None  # type: ignore[method-assign]


class Fragile(Core):
    """Raises for a message about a unit that it does not know."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        reject = self._discards.reject

        def fragile(host: Host, lease: m.Lease, **more: Any) -> None:
            assert self.pool.units[lease.unit].attempt == lease.attempt or lease.attempt < 2
            reject(host, lease, **more)

        self._discards.reject = fragile  # type: ignore[method-assign]


class Impatient(Core):
    """Takes a unit for published when its host has only staged it."""

    def _on_done(self, host: Host, unit: Unit, done: m.Done, now: float) -> None:
        super()._on_done(host, unit, done, now)
        if unit.state is UnitState.COMMITTING:
            self._on_committed(host, unit, now)


BROKEN: list[MakeCore] = [NoFencing, Forgetful, Generous, Gappy, Trusting, Twofold, Fragile, Impatient]


def first_failure(make: MakeCore, *, told: bool = False) -> tuple[World, Exception]:
    """The first world that fails; ``told``: at which its transcript fails too, as one that hangs does not."""
    for seed in range(SEEDS):
        world = campaign_world(seed, make_core=make)
        try:
            world.run()
            judge(world)
        except (SimulationError, AssertionError) as error:
            if not told or fails_alike(world.transcript, error, make):
                return world, error
    raise AssertionError(f"{SEEDS} worlds did not notice")


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_core_is_caught(broken: MakeCore) -> None:
    first_failure(broken)


@pytest.mark.parametrize("broken", [Generous, Gappy, Twofold, Fragile])  # most worlds of the others hang
def test_its_transcript_tells_it_again(broken: MakeCore) -> None:
    world, error = first_failure(broken, told=True)
    fails = lambda transcript: fails_alike(transcript, error, broken)  # noqa: E731
    short = shorten(world.transcript, fails, tries=32)
    assert len(short.steps) < len(world.transcript.steps) or len(short.steps) == 2
    pasted = read(short.source())
    assert pasted == short
    with pytest.raises(Exception) as raised:  # noqa: PT011 - compared below
        replay(pasted, broken)
    assert type(raised.value) is type(error.__cause__)
    replay(pasted)  # it was not the core's fault


def test_a_transcript_leaves_a_core_as_its_run_did() -> None:
    world = campaign_world(3)
    world.run()
    again = replay(read(world.transcript.source()))
    assert again.outcome == world.core.outcome is not None
    assert {number: unit.state for number, unit in again.pool.units.items()} == {
        number: unit.state for number, unit in world.core.pool.units.items()
    }


def test_steps_that_do_not_matter_are_left_out() -> None:
    transcript = campaign_world(1).transcript
    hello = Received(peer=b"x", message=m.Bye(reason=""))
    steps = [(0.5 * place, what) for place in range(20) for what in (Tick(), SCHEDULE)]
    whole = Transcript(transcript.job, [*steps, (10.0, hello), *steps])
    assert shorten(whole, lambda each: (10.0, hello) in each.steps).steps == [(10.0, hello)]
    assert shorten(whole, lambda each: False) == whole
