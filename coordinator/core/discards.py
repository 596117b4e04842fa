"""What hosts hold and are to forget: attempts that do not count (any more).

A host that runs or holds such an attempt speaks of it again and again, and is told each time. Of what it has
published it does not, and that must not stay: this is told again until it answers, and the end of the job
waits for that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from framefleet.common.protocol import messages as m
from framefleet.coordinator.events import Action, Send
from framefleet.coordinator.scheduling.pool import Pool
from framefleet.coordinator.state import Host, Unit, UnitState

TAKEN_BACK = frozenset({UnitState.VOID, UnitState.DROPPED})
MAY_BE_PUBLISHED = frozenset({UnitState.COMMITTING, UnitState.DONE})


class Discards:
    """Tells hosts what to forget."""

    def __init__(self, pool: Pool, hosts: Mapping[str, Host], *, emit: Callable[[Action], None]) -> None:
        self._pool = pool
        self._hosts = hosts
        self._emit = emit

    @property
    def is_over(self) -> bool:
        """Whether all hosts that are there have answered for what they may have published."""
        return not any(host.taken_back and host.state == "up" for host in self._hosts.values())

    def reject(self, host: Host, lease: m.Lease, *, may_be_published: bool = False) -> None:
        """Answer a message about an attempt that does not count; what is done is not undone."""
        unit = self._pool.units.get(lease.unit)
        is_late_echo = (
            unit is not None
            and unit.state is UnitState.DONE
            and (unit.host, unit.attempt) == (host.name, lease.attempt)
        )
        if not is_late_echo:
            if may_be_published or (unit is not None and unit.state in TAKEN_BACK):
                host.taken_back.add(lease)
            self._discard(host, lease)

    def take_back(self, unit: Unit) -> None:
        """What a host has of a held or published unit is not to stay; its state is the caller's to change."""
        assert unit.host is not None
        host = self._hosts[unit.host]
        if unit.state in MAY_BE_PUBLISHED:
            host.taken_back.add(unit.lease)
        if unit.state is UnitState.DONE:
            host.units -= 1
            host.frames -= unit.progress_frames
        self._discard(host, unit.lease)

    def answered(self, host: Host, lease: m.Lease) -> bool:
        """A host has heard; whether it has heard now of all that it may have published."""
        if lease not in host.taken_back:
            return False
        host.taken_back.discard(lease)
        return not host.taken_back

    def resend(self, host: Host) -> None:
        """Tell a host again what it has not answered."""
        for lease in sorted(host.taken_back, key=lambda lease: (lease.unit, lease.attempt)):
            self._discard(host, lease)

    def _discard(self, host: Host, lease: m.Lease) -> None:
        if host.state == "up":  # else it is told when it says ``Hello``
            self._emit(Send(peer=host.peer, message=m.Discard(lease=lease)))
