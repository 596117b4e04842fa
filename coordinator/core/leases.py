"""Who holds which unit: the bookkeeping between hosts and the pool, and nothing that decides."""

from __future__ import annotations

from framefleet.common.protocol import messages as m
from framefleet.coordinator.scheduling.pool import Pool
from framefleet.coordinator.state import Host, Unit, UnitState


class Leases:
    """Gives units to hosts and takes them back; every change keeps both sides and the pool in step."""

    def __init__(self, pool: Pool, hosts: dict[str, Host]) -> None:
        self._pool = pool
        self._hosts = hosts
        self._freed: dict[str, None] = {}

    def freed(self, host: Host) -> None:
        """Mark a host as possibly having free slots: its slots came up, or it is used again."""
        self._freed[host.name] = None

    def hosts_with_free_slots(self) -> list[Host]:
        """The hosts that have credit, in the order in which they came to have it.

        There may be a thousand hosts and tens of thousands of wakes, so only those are looked at of which
        something was freed since they were last found without credit.
        """
        found = []
        for name in list(self._freed):
            host = self._hosts[name]
            if host.credit > 0 and host.peer:
                found.append(host)
            else:
                del self._freed[name]
        return found

    def grant(self, unit: Unit, host: Host, now: float) -> None:
        """A PENDING unit, already taken from the pool's queue, goes to a host."""
        unit.move("lease")
        unit.host, unit.changed_at = host.name, now
        unit.done_to, unit.busy_s, unit.progress_at = unit.start, 0.0, now
        unit.shrink_at, unit.unsplittable = None, False
        host.held.add(unit.id)
        host.running += 1
        if not unit.is_probe:
            host.video = unit.video

    def stage(self, unit: Unit, host: Host, done: m.Done) -> None:
        """The host has all frames of the unit, and its slot is free."""
        unit.move("done")
        self._free_slot(host)
        unit.done = done
        unit.progress_frames = done.frames

    def settle(self, unit: Unit, host: Host, event: str) -> None:
        """The unit reached its good end, by ``committed`` or (a probe) ``answered``."""
        if unit.state is UnitState.LEASED:
            self._free_slot(host)
        unit.move(event)
        host.held.discard(unit.id)
        self._pool.close(unit)

    def release(self, unit: Unit) -> None:
        """Take a unit back from its host; it is the next to be handed out. A hedged copy is dropped."""
        if unit.copy_of is not None:
            self.drop(unit)
            return
        self._take_back(unit)
        self._pool.requeue(unit)

    def drop(self, unit: Unit) -> None:
        """A unit, held or PENDING, is not wanted any more."""
        if unit.state is UnitState.PENDING:
            self._pool.unqueue(unit)
        else:
            self._take_back(unit)
        unit.move("drop")
        unit.host = unit.done = None
        self._pool.close(unit)

    def give_up(self, unit: Unit) -> None:
        """Take a unit back from its host for good."""
        self._take_back(unit)
        unit.move("give_up")
        self._pool.close(unit)

    def release_all(self, host: Host) -> None:
        """Everything that a host holds is handed out again, in the order of cutting."""
        for number in sorted(host.held, reverse=True):
            self.release(self._pool.units[number])

    def _take_back(self, unit: Unit) -> None:
        assert unit.host is not None
        host = self._hosts[unit.host]
        host.held.discard(unit.id)
        if unit.state is UnitState.LEASED:
            self._free_slot(host)
        unit.move("release")
        unit.progress_frames = 0

    def _free_slot(self, host: Host) -> None:
        host.running -= 1
        self.freed(host)


def task_of(unit: Unit, pool: Pool, *, again: bool = False) -> m.Probe | m.Extract:
    """What a host must know to do a unit; ``again``: it has been told of this attempt before."""
    if unit.is_probe:
        listed = [pool.videos[index].listed for index in unit.files]
        return m.Probe(files=[(video.index, video.path, video.size_bytes) for video in listed])
    video = pool.videos[unit.video]
    assert video.info is not None
    assert video.agreement is not None
    return m.Extract(
        path=video.listed.path,
        size_bytes=video.listed.size_bytes,
        video=video.listed.name,
        folder=video.listed.folder,
        start=unit.start,
        stop=unit.stop,
        fingerprint=video.agreement.told,
        duration_s=video.info.duration_s,
        rank=unit.rank if again else pool.numbering.tell_rank(video, unit, pool.workload.sampling_of(video)),
        limit=pool.numbering.limit_of(video, unit),
    )
