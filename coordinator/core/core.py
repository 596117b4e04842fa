"""The coordinator's state machine: events in, actions out, and nothing else.

No socket, clock, file, thread, log or random source is used here; ``now`` (seconds of any monotonic
clock) comes with each event. ``handle`` takes what happened; ``schedule`` hands out work, once per wake
of the loop that drives it. Neither raises for anything that a peer may send.

Theory of operation:

1. A unit belongs to one (host, attempt) at a time. A message about a unit counts only if it comes
   from the incarnation that holds that attempt; anything else is answered with ``Discard``.
2. Frames become real in two steps: a host stages them (``Done``), is told to publish (``Commit``), and says
   when they are on its disk (``Committed``). A host lost in between has its units done again elsewhere.
3. Every wait is bounded: for a host by its lease, for a reply by resending, for the end by a deadline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from framefleet.common.job.completed import DoneVideo
from framefleet.common.job.selection import Selection
from framefleet.common.job.spec import JobSpec
from framefleet.common.libraries import Libraries, otherwise_made
from framefleet.common.protocol import messages as m
from framefleet.common.status import Failure, Outcome
from framefleet.coordinator.core.assign import assign_all
from framefleet.coordinator.core.commits import Commits
from framefleet.coordinator.core.contradictions import Contradictions
from framefleet.coordinator.core.discards import Discards
from framefleet.coordinator.core.drain import Drain
from framefleet.coordinator.core.failures import Failures
from framefleet.coordinator.core.leases import Leases
from framefleet.coordinator.core.membership import Membership
from framefleet.coordinator.core.roster import Roster
from framefleet.coordinator.core.shutdown import Shutdown
from framefleet.coordinator.core.stragglers import Stragglers
from framefleet.coordinator.events import (
    Action,
    Event,
    Garbled,
    Received,
    Record,
    Send,
    Stop,
    Tick,
    Unreachable,
)
from framefleet.coordinator.listed_video import ListedVideo
from framefleet.coordinator.scheduling.pool import Pool
from framefleet.coordinator.state import Host, Unit, UnitState
from framefleet.coordinator.totals import Totals

RESEND_S = 10.0
TICK_S = 0.5


class Core:
    """One job's state. ``expected`` names the hosts of the cluster; others are refused."""

    def __init__(
        self,
        spec: JobSpec,
        *,
        selection: Selection,
        videos: Sequence[ListedVideo],
        problems: Sequence[Failure],
        expected: Sequence[str],
        now: float,
        done: Mapping[str, DoneVideo] | None = None,
        made_with: Libraries | None = None,
        is_account_shared: bool = False,
    ) -> None:
        """``made_with``: what made the frames of ``done``; hosts must have the same libraries.
        ``is_account_shared``: hosts can read the account, and so how the job ended, without asking."""
        self.spec = spec
        self.made_with = made_with
        self._is_account_shared = is_account_shared
        self.options = spec.scheduling
        self.pool = Pool(videos, selection, spec.scheduling, done)
        self.hosts: dict[str, Host] = {}
        self.started_at = now
        self.last_commit_at = now
        self.garbled = 0
        self.restarts = 0  # of the process that drives this
        self.was_replayed = False
        self._alive_at = self._resent_at = now
        self._out: list[Action] = []
        self._leases = Leases(self.pool, self.hosts)
        self._commits = Commits(self.pool, self._leases, self.hosts, emit=self._out.append)
        roster = Roster(expected, self.hosts, now=now)
        self.failures = Failures(self.pool, self._leases, roster, problems, emit=self._out.append)
        self._drain = Drain(self.hosts, roster, use_again=self._leases.freed, emit=self._out.append)
        self._discards = Discards(self.pool, self.hosts, emit=self._out.append)
        self._contradictions = Contradictions(
            self.pool,
            self._leases,
            self._commits,
            self._discards,
            self.failures,
            self._drain,
            roster,
            emit=self._out.append,
        )
        self._stragglers = Stragglers(self.pool, self._leases, self.hosts, emit=self._out.append)
        self.pool.on_split = self._on_split
        self.members = Membership(
            spec,
            self.pool,
            self._leases,
            self._commits,
            self._drain,
            self.hosts,
            roster,
            self._discards,
            emit=self._out.append,
        )
        self._shutdown = Shutdown(spec.scheduling, emit=self._out.append)

    @property
    def notes(self) -> list[str]:
        """Remarks on single videos and hosts, for the user."""
        return [*self._commits.notes, *self._drain.notes]

    def written(self) -> Totals:
        """What is published so far, with what an earlier run has left."""
        return Totals().add(self.pool.taken_over).add(self._commits.totals)

    @property
    def outcome(self) -> Outcome | None:
        """How the job ended; None while it has not."""
        return self._shutdown.outcome

    # ---- the two entries ----------------------------------------------------------------------------

    def handle(self, event: Event, now: float) -> list[Action]:
        """Take one event; return what is to be done, in order."""
        match event:
            case Received(peer=peer, message=m.Hello() as hello):
                self._on_hello(peer, hello, now)
            case Received(peer=peer, message=message):
                self._on_message(peer, message, now)
            case Garbled(peer=peer):
                self.garbled += 1
                if peer not in self.members.peers:
                    self._send(peer, m.ReHello())
            case Unreachable(peer=peer):
                waiting = self.members.unreachable(peer, now)
                if waiting is not None:
                    self._on_hello(*waiting, now)
            case Stop(reason=reason):
                self._shutdown.stop(reason, self.members.peers.keys(), now)
            case Tick():
                self._on_tick(now)
        return self._flush()

    def schedule(self, now: float) -> list[Action]:
        """Hand out work to every host that has credit, or end the job if none is left."""
        if not self._shutdown.begun:
            if spoilt := otherwise_made(self.made_with, self.members.libraries):
                self._shutdown.conclude("failed", f"--resume: {spoilt}", self.members.peers.keys(), now)
            elif not self.pool.unsettled and not self.pool.probes_open and self._discards.is_over:
                nothing = self.failures.nothing_made(self.written().frames, self.spec.mode)
                self._shutdown.complete(nothing, self.members.peers.keys(), now)
            else:
                idle = self._assign_all(now)
                if idle:
                    self._stragglers.relieve(idle, now)
        if self._shutdown.begun:
            hosts_remain = bool(self.members.peers) or any(host.is_awaited for host in self.hosts.values())
            absent = not self._is_account_shared and self.members.roster.listens(now, self.options)
            self._shutdown.check(hosts_remain, now, absent=absent)
        return self._flush()

    # ---- hosts --------------------------------------------------------------------------------------

    def _on_hello(self, peer: bytes, hello: m.Hello, now: float) -> None:
        if (host := self.members.hello(peer, hello, now)) is not None:
            self._send_end(host)
        for waiting in self.members.take_early():
            self._on_hello(*waiting, now)

    def _send_end(self, host: Host) -> None:
        """A host that comes when all is over is to leave, once it has heard what does not count."""
        if self._shutdown.begun and not host.taken_back:
            self._send(host.peer, self._shutdown.message)

    def _on_tick(self, now: float) -> None:
        self.members.changed()
        self.members.lose_silent(now)
        if now - self._alive_at >= self.options.heartbeat_s:
            self._alive_at = now
            for peer in self.members.peers:
                self._send(peer, m.Alive())
        if now - self._resent_at >= RESEND_S / 4:  # it looks at all that is held
            self._resent_at = now
            self._resend(now)
        if not self._shutdown.begun and not self.members.peers:
            last_heard = max((host.last_seen for host in self.hosts.values()), default=self.started_at)
            if now - last_heard > self.options.host_wait_s:
                self._shutdown.conclude(
                    "failed",
                    f"no host was left for {self.options.host_wait_s:.0f} s",
                    self.members.peers.keys(),
                    now,
                )

    def _resend(self, now: float) -> None:
        """Repeat what went unanswered: the host may have reconnected in between."""
        for host in self.members.peers.values():
            self._discards.resend(host)
            for number in host.held:
                unit = self.pool.units[number]
                if unit.state is UnitState.COMMITTING and now - unit.changed_at > RESEND_S:
                    self._commits.send(unit, now)

    # ---- messages of known hosts --------------------------------------------------------------------

    def _on_message(self, peer: bytes, message: m.FromHost, now: float) -> None:
        host = self.members.peers.get(peer)
        if host is None:
            if not isinstance(message, m.Bye):
                self._send(peer, m.ReHello())
            return
        host.last_seen, host.unreachable_since = now, None
        match message:  # what comes for each unit first
            case m.Done(lease=lease):
                if (unit := self._held(host, lease)) is not None:
                    self._on_done(host, unit, message, now)
            case m.Committed(leases=leases, trimmed=trimmed):
                for each in trimmed:
                    if (unit := self._held(host, each.lease)) is not None:
                        self._commits.trimmed(unit, each)
                for lease in leases:
                    if (unit := self._held(host, lease)) is not None:
                        self._on_committed(host, unit, now)
            case m.Ready(slots=slots):
                if host.capacity != min(slots, host.slots):
                    host.capacity = min(slots, host.slots)
                    self._record("ready", host=host.name, slots=host.capacity)
                    self.members.changed()
                    self._leases.freed(host)
            case m.Progress():
                self._on_progress(host, message, now)
            case m.Probed(lease=lease):
                if (unit := self._held(host, lease)) is not None:
                    self._on_probed(host, unit, message)
            case m.Shrunk(lease=lease, stop=stop):
                if (unit := self._held(host, lease)) is not None:
                    self._on_shrunk(unit, stop)
            case m.Failed(lease=lease):
                if (unit := self._held(host, lease)) is not None:
                    self._on_failed(host, unit, message, now)
            case m.Discarded(lease=lease):
                if self._discards.answered(host, lease):
                    self._send_end(host)
            case m.Bye():
                self.members.leave(host, message.reason)
            case m.Hello():
                raise AssertionError("handled before")

    def _held(self, host: Host, lease: m.Lease) -> Unit | None:
        """The unit of an attempt that counts; of another one, the host is told to forget it."""
        unit = self.pool.units.get(lease.unit)
        if unit is not None and unit.held_by(host.name, lease.attempt):
            return unit
        self._discards.reject(host, lease)
        return None

    def _on_progress(self, host: Host, message: m.Progress, now: float) -> None:
        known = set()
        for progress in message.units:
            unit = self.pool.units.get(progress.unit)
            known.add(progress.unit)
            if unit is not None and unit.held_by(host.name, progress.attempt):
                self._on_unit_progress(host, unit, progress, now)
            else:
                self._discards.reject(host, m.Lease(progress.unit, progress.attempt))
        overdue_s = 2 * self.options.heartbeat_s
        for number in host.held - known:
            unit = self.pool.units[number]
            if unit.state is UnitState.LEASED and now - unit.changed_at > overdue_s:
                self.members.release(unit)  # the assignment never arrived

    def _on_unit_progress(self, host: Host, unit: Unit, progress: m.UnitProgress, now: float) -> None:
        unit.progress_frames = progress.frames
        if unit.state is not UnitState.LEASED or unit.is_probe or progress.done_to <= unit.done_to:
            return
        unit.done_to, unit.busy_s, unit.progress_at = progress.done_to, progress.busy_s, now
        self.pool.workload.reached(unit)
        if not host.units:
            video, done_px = self.pool.videos[unit.video], self.pool.workload.done_px(unit)
            host.learn_speed(self.pool.rates.learn_early(video, done_px, unit.busy_s, host.speed))
        self._stragglers.split_overlong(
            unit, self.pool.remaining_s() / max(self.members.strength.speed, 1e-9), now
        )

    def _on_shrunk(self, unit: Unit, stop: int | None) -> None:
        if unit.state is UnitState.LEASED and not unit.is_probe:
            self._stragglers.shrunk(unit, stop)

    def _on_split(self, unit: Unit, rest: Unit) -> None:
        self._record("split", unit=unit.id, stop=unit.stop, rest=rest.id)

    def _on_probed(self, host: Host, unit: Unit, message: m.Probed) -> None:
        answered = [index for index, _ in message.found] + [index for index, _ in message.refused]
        if not unit.is_probe or sorted(answered) != sorted(unit.files):
            self._on_misfit(host, unit, message.lease, "the answer does not fit the probe", host.last_seen)
            return
        self._record(
            "probed", unit=unit.id, attempt=unit.attempt, host=host.name, seconds=message.seconds,
            found=message.found, refused=message.refused, timing=message.timing,
            names=[(index, self.pool.videos[index].listed.name) for index, _ in message.found],
        )  # fmt: skip
        host.busy_s += message.seconds
        self._leases.settle(unit, host, "answered")
        others = self._contradictions.probed(host, unit, message.found)
        self.failures.refused(host, unit, [*message.refused, *others])

    def _on_done(self, host: Host, unit: Unit, done: m.Done, now: float) -> None:
        if unit.is_probe:
            self._on_misfit(host, unit, done.lease, "a probe was answered as extraction", now)
            return
        if unit.state is not UnitState.LEASED:  # said again: the reply was lost, or is still to come
            if unit.state is UnitState.COMMITTING:
                self._commits.send(unit, now)
            return
        self._commits.record_staged(unit, done)
        self._stragglers.first_done(unit)
        if not self._stragglers.accepts(unit, done):
            self._send(host.peer, m.Discard(lease=done.lease))
            text = f"the answer ends at position {done.stop}, the unit at {unit.stop}"
            self._on_misfit(host, unit, done.lease, text, now)
            return
        host.busy_s += done.seconds
        video = self.pool.videos[unit.video]
        self._contradictions.agreed(host, video)
        contradiction = self.pool.numbering.count(unit, done)
        if contradiction is not None:
            self._send(host.peer, m.Discard(lease=done.lease))
            self.failures.give_up(unit, kind="lost", reason=f"two attempts gave {contradiction}")
            self._commits.after_giving_up(unit, now)
            return
        self._leases.stage(unit, host, done)
        host.learn_speed(self.pool.rates.learn(video, unit, done, host.speed))
        if done.saw_end:
            video.saw_end = True
            self.pool.stop_cutting(video)
        self._commits.go_on(unit, now)

    def _on_committed(self, host: Host, unit: Unit, now: float) -> None:
        if self._commits.committed(host, unit) is not None:
            self.last_commit_at = now
            self._drain.committed(host, unit)

    def _on_misfit(self, host: Host, unit: Unit, lease: m.Lease, why: str, now: float) -> None:
        """An answer that is none to the question is a failure of the attempt."""
        self._on_failed(host, unit, m.Failed(lease=lease, kind="error", text=why), now)

    def _on_failed(self, host: Host, unit: Unit, failed: m.Failed, now: float) -> None:
        host.busy_s += failed.seconds
        self._record(
            "failed", unit=unit.id, attempt=unit.attempt, host=host.name, kind=failed.kind,
            reason=failed.text, seconds=failed.seconds, timing=failed.timing, found=failed.found,
        )  # fmt: skip
        self._drain.failed(host, failed)
        if not unit.is_probe and self._contradictions.end(host, unit, failed):
            return
        if not self.failures.attempt_failed(host, unit, failed):
            return
        if not unit.is_probe:
            self._commits.after_giving_up(unit, now)
        if failed.kind == "output":
            self._shutdown.conclude("failed", failed.text, self.members.peers.keys(), now)

    # ---- handing out --------------------------------------------------------------------------------

    def hosts_with_free_slots(self) -> list[Host]:
        """The hosts that have credit."""
        return self._leases.hosts_with_free_slots()

    def _assign_all(self, now: float) -> list[Host]:
        strength = self.members.strength
        return assign_all(self.pool, self._leases, strength, now, emit=self._out.append)

    # ---- small things -------------------------------------------------------------------------------

    def _send(self, peer: bytes, message: m.FromCoordinator) -> None:
        self._out.append(Send(peer=peer, message=message))

    def _record(self, what: str, **fields: object) -> None:
        self._out.append(Record(entry={"event": what, **fields}))

    def _flush(self) -> list[Action]:
        self._stragglers.drop_orphans()
        out = self._out.copy()
        self._out.clear()
        if self.was_replayed:  # hosts that are awaited are told what concerns them when they say Hello
            return [action for action in out if not isinstance(action, Send) or action.peer]
        return out
