"""Hosts that fail where others succeed: a full disk, a broken mount, a library that does not load.

Such a host takes unit after unit and gives none, faster than sound hosts do theirs. It is *drained*: given
nothing new, while what it holds may still be finished and published.
"""

from __future__ import annotations

from collections.abc import Callable

from framefleet.common.protocol import messages as m
from framefleet.coordinator.core.roster import Roster
from framefleet.coordinator.events import Action, Record
from framefleet.coordinator.state import Host, Unit

DRAIN_AFTER = 3  # units in a row that failed here and succeeded elsewhere
DRAIN_AFTER_OUTPUT = 2  # units in a row that could not be written: these blame nobody else


class Drain:
    """Counts the faults of hosts, and drains those that have too many, but never the last one: that is one
    beside which no other is there or expected."""

    def __init__(
        self,
        hosts: dict[str, Host],
        roster: Roster,
        *,
        use_again: Callable[[Host], None],
        emit: Callable[[Action], None],
    ) -> None:
        self._hosts = hosts
        self._roster = roster
        self._use_again = use_again
        self._emit = emit
        self.notes: list[str] = []

    def failed(self, host: Host, failed: m.Failed) -> None:
        """An attempt failed; where nothing can be written, there is no need to wait for others' success."""
        if failed.kind == "output":
            host.faults += 1
            if host.faults >= DRAIN_AFTER_OUTPUT:
                self._drain(host, failed.text)

    def committed(self, host: Host, unit: Unit) -> None:
        """A unit that others may have failed at was published by ``host``."""
        host.faults = 0
        if not unit.avoid:
            return
        for name in unit.avoid - {host.name}:
            other = self._hosts.get(name)
            if other is not None and other.state == "up":
                other.faults += 1
                if other.faults >= DRAIN_AFTER:
                    self._drain(other, f"{other.faults} units in a row failed there and nowhere else")

    def contradicted(self, name: str, files: int) -> None:
        """So many files that a host took for unreadable were read by another one."""
        host = self._hosts.get(name)
        if host is not None and host.state == "up" and files:
            host.faults += files
            if host.faults >= DRAIN_AFTER:
                self._drain(host, f"{host.faults} files could not be read there, and elsewhere they can")

    def outvoted(self, name: str) -> None:
        """Others find a video to be something else than this host said, or it has said two things."""
        host = self._hosts.get(name)
        if host is not None and host.state == "up":
            host.outvoted += 1
            if host.outvoted >= DRAIN_AFTER:
                self._drain(host, f"what it told of videos was contradicted {host.outvoted} times")

    def last_resort(self) -> None:
        """A host is gone, or will not come: if all that are left are drained, a doubtful host is better than
        none."""
        if not self._roster.has_sound():
            for host in self._hosts.values():
                if host.state == "up" and host.drained is not None:
                    host.drained, host.faults = None, 0
                    self._use_again(host)
                    self._tell(host, "is used again, as no other is left")

    def _drain(self, host: Host, reason: str) -> None:
        if host.drained is None and self._roster.expects({host.name}):
            host.drained = reason
            self._tell(host, f"is given nothing any more: {reason}")

    def _tell(self, host: Host, text: str) -> None:
        self.notes.append(f"host {host.name} {text}")
        self._emit(Record(entry={"event": "drained", "host": host.name, "reason": text}))
