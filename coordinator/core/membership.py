"""Who takes part: hosts that come, come back, are lost, and leave, and how strong they are together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from framefleet.common.job.spec import JobSpec
from framefleet.common.libraries import Libraries
from framefleet.common.protocol import messages as m
from framefleet.coordinator.core.commits import Commits
from framefleet.coordinator.core.discards import Discards
from framefleet.coordinator.core.drain import Drain
from framefleet.coordinator.core.leases import Leases, task_of
from framefleet.coordinator.core.roster import Roster
from framefleet.coordinator.events import Action, Record, Send
from framefleet.coordinator.scheduling.pool import Pool
from framefleet.coordinator.state import Host, Strength, Unit, UnitState

CHALLENGE_S = 1.0  # a flood of claims must not fill the queue of the host that they are about


class Membership:
    """The hosts of a job, by name, and by the connection that each has now (``peers``).

    A host's name is its connection's as long as there is one: another that claims it waits until a message
    to the first cannot be sent, or its lease is over.
    """

    def __init__(
        self,
        spec: JobSpec,
        pool: Pool,
        leases: Leases,
        commits: Commits,
        drain: Drain,
        hosts: dict[str, Host],
        roster: Roster,
        discards: Discards,
        *,
        emit: Callable[[Action], None],
    ) -> None:
        self._spec = spec
        self._pool = pool
        self._leases = leases
        self._commits = commits
        self._drain = drain
        self._discards = discards
        self._emit = emit
        self.hosts = hosts
        self.peers: dict[bytes, Host] = {}
        self.roster = roster
        self.replaced: set[str] = set()
        """Incarnations that are out of date."""
        self.libraries: Libraries | None = None
        """The primary's, and so the job's: what makes its frames."""
        self.unfit: dict[str, str] = {}
        """Hosts that cannot take part as they are, and why."""
        self._primary = min(roster.names)
        self._early: dict[str, tuple[bytes, m.Hello]] = {}  # those who came before the primary
        self._strength: Strength | None = None

    # ---- how strong they are ------------------------------------------------------------------------

    @property
    def strength(self) -> Strength:
        """Those that can work.

        There may be thousands, so all are asked when one of them comes, goes or ``changed``, and else once a
        tick.
        """
        if self._strength is None:
            self._strength = Strength.of(self.peers.values(), self.roster.expected())
        return self._strength

    def changed(self) -> None:
        """A host has more or fewer slots, or another speed."""
        self._strength = None

    # ---- coming -------------------------------------------------------------------------------------

    def hello(self, peer: bytes, hello: m.Hello, now: float) -> Host | None:
        """A host introduces itself; None if it has to wait, or cannot take part."""
        host = self.hosts.get(hello.host)
        refusal = self._refusal(peer, hello)
        if not refusal and (refusal := self._unfitness(hello)) and (host is None or host.state != "up"):
            self.is_unfit(hello.host, refusal)
        if refusal:
            self._emit(Send(peer=peer, message=m.Refuse(reason=m.clip_text(refusal))))
            return None
        if self.libraries is None:
            if hello.host != self._primary:  # whether it is fit is not known yet
                self._early[hello.host] = peer, hello
                return None
            self.libraries = hello.libraries
            self._record("libraries", libraries=hello.libraries)
        self.unfit.pop(hello.host, None)
        if host is not None and host.peer != peer and host.peer in self.peers:
            host.challenger = peer, hello
            if now - host.challenged_at >= CHALLENGE_S:
                host.challenged_at = now
                self._emit(Send(peer=host.peer, message=m.Alive()))
            return None
        if host is not None and host.incarnation != hello.incarnation:
            self.replaced.add(host.incarnation)
            self.lose(host, "was started again", now)
            host = None
        was_awaited = host is not None and host.is_awaited
        if host is None:
            host = Host.joining(hello, peer, self.hosts.get(hello.host), now)
            self.hosts[hello.host] = host
        self.peers.pop(host.peer, None)
        self.peers[peer] = host
        self.roster.came(host.name)
        self.changed()
        self._leases.freed(host)
        host.peer, host.state, host.last_seen, host.unreachable_since = peer, "up", now, None
        host.challenger = None
        self._record("host_up", host=host.name, incarnation=host.incarnation, slots=host.slots)
        options = self._spec.scheduling
        welcome = m.Welcome(
            job_id=self._spec.job_id, heartbeat_s=options.heartbeat_s, lease_s=options.lease_s
        )
        self._emit(Send(peer=peer, message=welcome))
        if was_awaited and len(hello.running) < m.MAX_RUNNING:
            self._release_unknown(host, hello.running)
        for lease in hello.running:
            self._resume(host, lease, now)
        return host

    def take_early(self) -> list[tuple[bytes, m.Hello]]:
        """The ``Hello`` of those who came before the primary, once that is there."""
        if self.libraries is None:
            return []
        early, self._early = [*self._early.values()], {}
        return early

    def is_unfit(self, host: str, reason: str) -> None:
        """A host cannot take part as it is, and is not waited for."""
        if host not in self.unfit:
            self.unfit[host] = reason
            self._record("host_unfit", host=host, reason=reason)
            self._commits.note(f"host {host} was refused: {reason}")
            self.roster.give_up(host)
            self.changed()

    def _unfitness(self, hello: m.Hello) -> str:
        """Why this host would spoil the job; empty if it would not."""
        if hello.version != m.PROTOCOL_VERSION:
            return (
                f"protocol version {hello.version}, the coordinator speaks {m.PROTOCOL_VERSION}: "
                "run one image on all hosts"
            )
        if hello.libraries is None:
            return "it does not tell with which libraries it makes frames: run one image on all hosts"
        if self.libraries is None or hello.libraries == self.libraries:
            return ""
        return (
            f"its frames might have other bytes than those of the others: it has "
            f"{hello.libraries.unlike(self.libraries)}, and the primary host {self._primary} has "
            f"{self.libraries.unlike(hello.libraries)}: run one image on all hosts, or install the same "
            "versions on all"
        )

    def _refusal(self, peer: bytes, hello: m.Hello) -> str | None:
        if hello.host not in self.roster.names:
            return f"host {hello.host!r} is not in this cluster"
        known = self.peers.get(peer)
        if known is not None and known.name != hello.host:
            return f"this connection is host {known.name!r}'s, not {hello.host!r}'s"
        if hello.incarnation in self.replaced:
            return f"host {hello.host!r} has been started again since; this process is out of date"
        return None

    def _resume(self, host: Host, lease: m.Lease, now: float) -> None:
        unit = self._pool.units.get(lease.unit)
        if unit is not None and unit.held_by(host.name, lease.attempt):
            if unit.state is UnitState.COMMITTING:
                self._commits.send(unit, now)
            return
        if (
            unit is not None
            and unit.state is UnitState.PENDING
            and (unit.host, unit.attempt) == (host.name, lease.attempt)
            and host.running < host.slots
        ):
            self._pool.unqueue(unit)
            self._leases.grant(unit, host, now)
            self._record("resumed", unit=unit.id, attempt=unit.attempt, host=host.name)
            # if it is complete there, this makes the host say so again
            assign = m.Assign(lease=lease, task=task_of(unit, self._pool, again=True))
            self._emit(Send(peer=host.peer, message=assign))
            return
        self._discards.reject(host, lease, may_be_published=True)

    def _release_unknown(self, host: Host, running: Sequence[m.Lease]) -> None:
        """What a host does not name in its first ``Hello`` to this process never reached it, or its answer
        reached only the process before."""
        named = frozenset(running)
        for number in sorted(host.held, reverse=True):
            if self._pool.units[number].lease not in named:
                self.release(self._pool.units[number])

    # ---- going --------------------------------------------------------------------------------------

    def unreachable(self, peer: bytes, now: float) -> tuple[bytes, m.Hello] | None:
        """A message to a peer could not be sent; the answer is the ``Hello`` that has waited for this."""
        host = self.peers.get(peer)
        if host is None:
            return None
        if host.unreachable_since is None:
            host.unreachable_since = now
        if host.challenger is None:
            return None
        del self.peers[peer]  # it is the same host, connected anew, or started again
        return host.challenger

    def lose_silent(self, now: float) -> None:
        """Lose hosts whose lease is over, and those that have been cut off for two heartbeats; wait no longer
        for those that have been missing for too long."""
        options = self._spec.scheduling
        for host in list(self.hosts.values()):
            if host.state != "up":
                continue
            silent_s = now - host.last_seen
            cut_off_s = now - host.unreachable_since if host.unreachable_since is not None else 0.0
            if silent_s > options.lease_s or cut_off_s > 2 * options.heartbeat_s:
                self.lose(host, f"was not heard for {silent_s:.0f} s", now)
        for name in self.roster.overdue(now, options):
            self.give_up_waiting(name)

    def give_up_waiting(self, name: str) -> None:
        """A host has been missing for so long that nothing waits for it any more; it may still come."""
        self._record("host_overdue", host=name)
        self.roster.give_up(name)
        self.changed()
        self._drain.last_resort()

    def lose(self, host: Host, why: str, now: float) -> None:
        """A host is gone; what it has not finished is handed out again."""
        if host.state != "up":
            return
        host.state = "lost"
        self._record("host_lost", host=host.name, incarnation=host.incarnation, reason=why)
        self._commits.note(f"host {host.name} {why}; its unfinished units were done by others")
        self.roster.lost(host.name, now)
        self._gone(host)

    def leave(self, host: Host, reason: str) -> None:
        """A host says ``Bye``."""
        host.state = "left"
        self._record("host_left", host=host.name, reason=reason)
        self._gone(host)

    def _gone(self, host: Host) -> None:
        self.changed()
        self.peers.pop(host.peer, None)
        self._leases.release_all(host)
        self._drain.last_resort()

    def release(self, unit: Unit) -> None:
        """Take a unit back from a host that has nothing of it."""
        self._record("released", unit=unit.id, attempt=unit.attempt)
        self._leases.release(unit)

    def _record(self, what: str, **fields: object) -> None:
        self._emit(Record(entry={"event": what, **fields}))
