"""Worlds by name: which videos, which hosts, and what goes wrong."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace

from framefleet.coordinator.simulation.faults import Faults
from framefleet.coordinator.simulation.plan import HostPlan, Plan
from framefleet.coordinator.simulation.workloads import WORKLOADS, Workload

SLOTS_PER_HOST = 16  # an ordinary instance; fewer if the world is small
LEAST_HOSTS = 4
WORK_PER_SLOT_S = 300.0
HOST_SPEED_SIGMA = 0.08
SLOT_SPEED_SIGMA = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A family of worlds.

    Attributes:
        slow: share of hosts (at least one, if any) at a tenth of their speed.
        skew_s: hosts start within so many seconds.
        never: share of hosts that never come.
    """

    workload: Workload
    slow: float = 0.0
    skew_s: float = 0.0
    never: float = 0.0

    @property
    def about(self) -> str:
        text = self.workload.about
        if self.slow:
            text += f"; {self.slow:.0%} of the hosts, at least one, at a tenth of their speed"
        if self.skew_s:
            text += f"; hosts start within {self.skew_s:.0f} s, {self.never:.0%} never"
        return text

    def plan(self, seed: int, slots: int, *, work_per_slot_s: float = WORK_PER_SLOT_S) -> Plan:
        """The world of this seed."""
        fate = random.Random(f"{seed} world")
        per_host = max(1, min(SLOTS_PER_HOST, slots // LEAST_HOSTS))
        count = math.ceil(slots / per_host)
        slow = set(fate.sample(range(count), max(1, round(self.slow * count)))) if self.slow else set()
        hosts = []
        for number in range(count):
            speed = math.exp(fate.gauss(0.0, HOST_SPEED_SIGMA)) * (0.1 if number in slow else 1.0)
            here = min(per_host, slots - number * per_host)
            speeds = tuple(speed * math.exp(fate.gauss(0.0, SLOT_SPEED_SIGMA)) for _ in range(here))
            starts_at: float | None = fate.random() * self.skew_s
            if number and fate.random() < self.never:
                starts_at = None
            hosts.append(HostPlan(name=f"h{number}", speeds=speeds, starts_at=starts_at))
        total_s = work_per_slot_s * sum(sum(host.speeds) for host in hosts)
        return Plan(seed=seed, hosts=hosts, footage=self.workload.videos(fate, total_s))


SCENARIOS = {name: Scenario(workload=workload) for name, workload in WORKLOADS.items()} | {
    "slow": Scenario(workload=WORKLOADS["lognormal"], slow=0.01),
    "skew": Scenario(workload=WORKLOADS["lognormal"], skew_s=60.0, never=0.02),
    "all": Scenario(
        workload=replace(WORKLOADS["wrong"], endless_gops=0.02, one_of=0.1),
        slow=0.01,
        skew_s=60.0,
        never=0.02,
    ),
}

# per host and hour: in five minutes of virtual time nearly every host has one of most kinds
FAULTS = Faults(slot_crashes=20.0, deaths=8.0, pauses=10.0, breaks=20.0, cut_offs=10.0, slowings=3.0)
