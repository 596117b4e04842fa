"""Which hosts a decision has to reckon with: those that are there, and those that are still expected.

What asks for every host ("nobody else can read it") must not ask who is up at this moment: the first one that
is up may be the one with the bad disk. A host is expected from the job's start for ``host_wait_s``, and after
its loss for ``silence_s``: by then it has taken the coordinator for dead. The end of that time is recorded,
so a replayed job decides the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set

from framefleet.common.job.spec import SchedulingOptions
from framefleet.coordinator.state import Host


class Roster:
    """The hosts of the cluster, and since when those that are not there have been missing."""

    def __init__(self, names: Iterable[str], hosts: Mapping[str, Host], *, now: float) -> None:
        self.names = frozenset(names)
        self._hosts = hosts
        self._missing = dict.fromkeys(sorted(self.names), now)

    @property
    def missing(self) -> Set[str]:
        """Hosts that are not there, and still expected."""
        return self._missing.keys()

    def came(self, name: str) -> None:
        """A host is up."""
        self._missing.pop(name, None)

    def lost(self, name: str, now: float) -> None:
        """A host was lost; it may come back."""
        self._missing[name] = now

    def expect_all(self, now: float) -> None:
        """All hosts were told to leave, and may come again."""
        self._missing = dict.fromkeys(sorted(self.names), now)

    def give_up(self, name: str) -> None:
        """A host is not expected (any more)."""
        self._missing.pop(name, None)

    def overdue(self, now: float, options: SchedulingOptions) -> list[str]:
        """Missing hosts whose time is over."""
        return [name for name in self._missing if not self._in_time(name, now, options)]

    def listens(self, now: float, options: SchedulingOptions) -> bool:
        """Whether a host that is not there may still come and ask how the job ended."""
        return any(self._in_time(name, now, options) for name in self._missing)

    def _in_time(self, name: str, now: float, options: SchedulingOptions) -> bool:
        known = name in self._hosts
        return now - self._missing[name] <= (options.silence_s if known else options.host_wait_s)

    def has_sound(self, but: Set[str] = frozenset()) -> bool:
        """Whether a host that may be given work is up, those in ``but`` aside."""
        return any(host.is_sound and host.name not in but for host in self._hosts.values())

    def expects(self, but: Set[str]) -> bool:
        """Whether any host that may be given work is up or still expected, those in ``but`` aside."""
        return not self._missing.keys() <= but or self.has_sound(but)

    def expected(self) -> frozenset[str]:
        """All hosts that may be given work, or still may come."""
        return frozenset(self._missing).union(host.name for host in self._hosts.values() if host.is_sound)
