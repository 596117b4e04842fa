"""Handing out: every host that has credit is given units, as long as there are any that it may have."""

from __future__ import annotations

from collections.abc import Callable

from framefleet.common.protocol import messages as m
from framefleet.coordinator.core.leases import Leases, task_of
from framefleet.coordinator.events import Action, Record, Send
from framefleet.coordinator.scheduling.pool import Pool
from framefleet.coordinator.state import Host, Strength


def assign_all(
    pool: Pool, leases: Leases, strength: Strength, now: float, *, emit: Callable[[Action], None]
) -> list[Host]:
    """Hand out what there is, a unit to each host in turn; return the hosts that have credit left."""
    ready = sorted(leases.hosts_with_free_slots(), key=lambda host: -host.credit)
    found = ready
    while ready and not pool.empty:
        still_ready = []
        for host in ready:
            unit = pool.take(host, strength)
            if unit is None:
                continue
            unit.attempt += 1
            leases.grant(unit, host, now)
            entry = {
                "event": "leased", "unit": unit.id, "attempt": unit.attempt, "host": host.name,
                "start": unit.start, "stop": unit.stop, "videos": list(unit.files), "probe": unit.is_probe,
            }  # fmt: skip
            emit(Record(entry=entry))
            emit(Send(peer=host.peer, message=m.Assign(lease=unit.lease, task=task_of(unit, pool))))
            if host.credit > 0:
                still_ready.append(host)
        ready = still_ready
    return [host for host in found if host.credit > 0]
