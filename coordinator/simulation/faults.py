"""What goes wrong in a world, and when: drawn from a seed, and over at a known time."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from framefleet.coordinator.simulation.world import World

SLOW = 0.1  # of its speed is left to a host that is slowed down; once


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Faults per host and hour of virtual time, until ``calm_after_s``.

    From then on nothing new goes wrong, and every host that has died and is to come back has come back
    ``back_s`` later at the latest; so each run must end.
    """

    slot_crashes: float = 0.0
    deaths: float = 0.0
    pauses: float = 0.0
    breaks: float = 0.0
    cut_offs: float = 0.0
    slowings: float = 0.0
    broken_disks: float = 0.0
    lies: float = 0.0
    bad_copies: float = 0.0
    back_s: float = 60.0
    lost_for_good: float = 0.2
    """Share of deaths after which a host does not come back, as long as two others are there."""
    calm_after_s: float = 300.0

    @property
    def rates(self) -> dict[str, float]:
        """Faults per host and hour, by their name."""
        return {
            "slot_crash": self.slot_crashes,
            "death": self.deaths,
            "pause": self.pauses,
            "break": self.breaks,
            "cut_off": self.cut_offs,
            "slowing": self.slowings,
            "broken_disk": self.broken_disks,
            "lie": self.lies,
            "bad_copies": self.bad_copies,
        }


CALM = Faults(calm_after_s=0.0)


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
