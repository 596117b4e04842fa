"""What was measured of sharded and coordinated runs, as it is kept, and the figures that follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median
from typing import Final, Literal

import msgspec

# "alone": one host that has the CPU time of all of them, which tells how much work there is
Way = Literal["alone", "coordinated", "sharded"]
# what coordination promises on a set: little idle time, or not to cost anything; nothing where a set is so
# short that the hosts' start-up decides, or not known
Promise = Literal["efficient", "free"]
WAYS: Final[tuple[Way, ...]] = ("alone", "coordinated", "sharded")

EFFICIENCY_BOUND: Final = 0.90  # of coordinated runs on heavy-tailed sets
EQUAL_BOUND: Final = 1.02  # coordinated by sharded, on equal videos


class HostShare(msgspec.Struct, frozen=True, kw_only=True):
    """A host of one run; ``idle`` is the share of its slots' time from the start to the end, 0 to 1."""

    host: str
    units: int
    busy_s: float
    idle: float


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run. ``makespan_s``: from the first host's start to the last row on disk, the hosts' own start-up
    included; ``told_s``: the job's own makespan, from its coordinator's start to the last commit. ``work_s``:
    busy seconds of all slots. ``digest`` tells the frames: names and contents."""

    makespan_s: float
    told_s: float
    work_s: float
    slots: int
    frames: int
    units: int
    retries: int
    digest: str
    hosts: list[HostShare]


class SetResults(msgspec.Struct, kw_only=True):
    """The runs on one set of videos, by way, in their order."""

    name: str
    title: str
    promise: Promise | None
    videos: int
    footage_s: float
    longest_s: float
    runs: dict[Way, list[Run]] = msgspec.field(default_factory=dict)

    def makespan_s(self, way: Way) -> float:
        """Median, in seconds."""
        return median(run.makespan_s for run in self.runs[way])

    @property
    def work_s(self) -> float:
        """W/S: the busy time of each slot of the host that was alone with all the CPU time. Median, s."""
        return median(run.work_s / run.slots for run in self.runs["alone"])

    def efficiency(self, way: Way) -> float:
        """W/S over the makespan, 0 to 1."""
        return self.work_s / self.makespan_s(way)

    def told_efficiency(self, way: Way) -> float:
        """The same over the job's own makespan, which begins with the coordinator."""
        return self.work_s / median(run.told_s for run in self.runs[way])

    def idle(self, way: Way) -> float:
        """The share of slots' time in which they had nothing to do, 0 to 1: median of the runs' means."""
        return median(mean(host.idle for host in run.hosts) for run in self.runs[way])

    def worst_idle(self, way: Way) -> float:
        """That of the host that idled most."""
        return median(max(host.idle for host in run.hosts) for run in self.runs[way])

    @property
    def gain(self) -> float:
        """Sharded by coordinated: how many times faster coordination is."""
        return self.makespan_s("sharded") / self.makespan_s("coordinated")

    @property
    def is_complete(self) -> bool:
        return all(self.runs.get(way) for way in WAYS)


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """What must be equal for runs to be compared. ``cpus``: CPU time of a host; None if it has no limit."""

    commit: str
    target: str
    hosts: int
    cpus: float | None
    slots: int
    alone_slots: int
    fps: str


class Results(msgspec.Struct, kw_only=True):
    """All that was measured with one setup."""

    setup: Setup
    machine: str
    date: str
    sets: list[SetResults] = msgspec.field(default_factory=list)


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """A promise, and what became of it."""

    text: str
    value: float
    limit: float
    at_least: bool

    @property
    def met(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def bounds(sets: Sequence[SetResults]) -> list[Bound]:
    """What coordination promises on each kind of set."""
    found = []
    for each in sets:
        if each.promise == "efficient":
            text = f"{each.title}: efficiency, coordinated"
            value = each.efficiency("coordinated")
            found.append(Bound(text=text, value=value, limit=EFFICIENCY_BOUND, at_least=True))
        elif each.promise == "free":
            text = f"{each.title}: makespan, coordinated by sharded"
            found.append(Bound(text=text, value=1 / each.gain, limit=EQUAL_BOUND, at_least=False))
    return found


def load(path: Path, setup: Setup) -> Results | None:
    """The results in ``path``, if they were measured with this setup."""
    try:
        results = msgspec.json.decode(path.read_bytes(), type=Results)
    except (OSError, msgspec.DecodeError):
        return None
    return results if results.setup == setup else None


def save(results: Results, path: Path) -> None:
    """Write them so that they are there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}")
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
    partial.replace(path)
