"""A virtual host: what ``worker/agent.py`` says and does, without processes and files.

What it holds of a unit is in one of the agent's places: queued or running in a slot, staged, committing,
published. It says its messages to ``say`` and plans what takes time on the timeline.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from framefleet.common.job.selection import Selection
from framefleet.common.job.spec import SchedulingOptions
from framefleet.common.libraries import Libraries
from framefleet.common.media import Fingerprint, VideoInfo
from framefleet.common.protocol import messages as m
from framefleet.coordinator.simulation.attempts import Held, VirtualAttempts
from framefleet.coordinator.simulation.footage import Footage
from framefleet.coordinator.simulation.slots import Costs, Spent, VirtualSlot, Work
from framefleet.coordinator.simulation.timeline import Timeline

# as in worker/agent.py, which may not be imported here: it knows sockets and processes
HELLO_S = 2.0
RESEND_S = 10.0
FLUSH_S = 3.0
IDLE_FLUSH_S = 0.05
LIBRARIES = Libraries(**dict.fromkeys(Libraries.__struct_fields__, "1.0"))
BROKEN_S = 0.05  # a unit fails so soon on a host that cannot write


class VirtualHost:
    """One incarnation of a host's agent, and its slots."""

    def __init__(
        self,
        name: str,
        incarnation: int,
        *,
        speeds: Sequence[float],
        timeline: Timeline,
        footage: Sequence[Footage],
        selection: Selection,
        options: SchedulingOptions,
        costs: Costs,
        spent: Spent,
        say: Callable[[VirtualHost, m.FromHost], None],
        fate: random.Random,
        error_rate: float = 0.0,
    ) -> None:
        self.name = name
        self.incarnation = incarnation
        self.alive = True
        self.paused = False
        self.broken_disk = False
        self.lies = False
        """What it tells of videos that it probes is wrong; what it finds when it extracts is not."""
        self.bad_copies = False
        """Its files are not those of the other hosts, as far as their checksums tell."""
        self.welcome = False
        self.queue: deque[m.Assign] = deque()
        self.attempts = VirtualAttempts()
        self.slots = [
            VirtualSlot(
                timeline,
                speed=speed,
                costs=costs,
                spent=spent,
                on_end=self._on_slot_end,
                on_shrunk=self._on_shrunk,
            )
            for speed in speeds
        ]
        for slot in self.slots:
            slot.error_rate, slot.fate = error_rate, fate
        self._speeds = list(speeds)
        self._timeline = timeline
        self._footage = footage
        self._selection = selection
        self._options = options
        self._costs = costs
        self._say = say
        self._heard_at = timeline.now
        self._touch = 0
        self._flush_planned_at: float | None = None
        self._waiting: list[m.FromCoordinator] = []

    @property
    def peer(self) -> bytes:
        """Its routing id: a fresh one for each incarnation."""
        return f"{self.name}/{self.incarnation}".encode()

    @property
    def running(self) -> list[Work]:
        return [slot.work for slot in self.slots if slot.work is not None]

    # ---- its life -----------------------------------------------------------------------------------

    def start(self) -> None:
        """The agent is there, and says ``Hello`` until it is answered."""
        self._keep_in_touch(self._touch)

    def die(self) -> None:
        """The host is gone, with all that was not published."""
        self.alive = False
        for slot in self.slots:
            slot.drop()

    def pause(self) -> None:
        """The whole host stands still, as a virtual machine that is moved."""
        self.paused = True
        for slot in self.slots:
            slot.set_speed(0.0)

    def go_on(self) -> None:
        """It goes on, and finds what has come meanwhile."""
        if not self.alive:
            return
        self.paused = False
        for slot, speed in zip(self.slots, self._speeds, strict=True):
            slot.set_speed(speed)
        waiting, self._waiting = self._waiting, []
        for message in waiting:
            self.hear(message)
        self._touch += 1
        self._keep_in_touch(self._touch)

    def slow_down(self, factor: float) -> None:
        """From now on everything takes ``1 / factor`` times as long."""
        self._speeds = [speed * factor for speed in self._speeds]
        for slot, speed in zip(self.slots, self._speeds, strict=True):
            slot.set_speed(0.0 if self.paused else speed)

    def crash_slot(self, number: int) -> None:
        """A slot's process dies."""
        slot = self.slots[number]
        if not self.alive or not slot.up:
            return
        work = slot.work
        slot.drop()
        if work is not None:
            self._on_slot_end(slot, work, "crash")
        else:
            self._restart(slot)

    def _restart(self, slot: VirtualSlot) -> None:
        slot.up = False
        self._say_ready()
        self._timeline.after(self._costs.restart_s, self._slot_up, slot)

    def _slot_up(self, slot: VirtualSlot) -> None:
        slot.up = True
        if self.alive:
            self._say_ready()
            self._feed_slots()

    # ---- keeping in touch ---------------------------------------------------------------------------

    def _keep_in_touch(self, version: int) -> None:
        if not self.alive or self.paused or version != self._touch:
            return
        now, options = self._timeline.now, self._options
        silent_s = now - self._heard_at
        patience_s = options.silence_s if self.welcome else options.host_wait_s
        if silent_s > patience_s:
            self.die()
            return
        if self.welcome:
            self._beat(now)
            self._timeline.after(options.heartbeat_s, self._keep_in_touch, version)
        else:
            self._say_hello()
            self._timeline.after(HELLO_S, self._keep_in_touch, version)

    def _say_hello(self) -> None:
        running = [work.lease for work in self.running if not work.cancelled]
        running += [assign.lease for assign in self.queue]
        running += self.attempts.leases()
        self._say(
            self,
            m.Hello(
                version=m.PROTOCOL_VERSION,
                host=self.name,
                incarnation=self.peer.decode(),
                slots=len(self.slots),
                running=running[: m.MAX_RUNNING],
                libraries=LIBRARIES,
            ),
        )

    def _beat(self, now: float) -> None:
        units = [m.UnitProgress(assign.lease.unit, assign.lease.attempt, 0, 0, 0.0) for assign in self.queue]
        for slot in self.slots:
            if slot.work is not None and not slot.work.cancelled:
                units.append(slot.progress())
        for lease, held in self.attempts.unpublished().items():
            frames = len(held.picked.frames)
            units.append(m.UnitProgress(lease.unit, lease.attempt, 0, frames, held.done.seconds))
        self._say(self, m.Progress(units=units[: m.MAX_SLOTS]))
        self._say_ready()
        for held in self.attempts.staged.values():
            if now - held.said_at > RESEND_S:
                held.said_at = now
                self._say(self, held.done)

    def _say_ready(self) -> None:
        if self.welcome:
            self._say(self, m.Ready(slots=sum(1 for slot in self.slots if slot.up)))

    # ---- the coordinator's messages -----------------------------------------------------------------

    def hear(self, message: m.FromCoordinator) -> None:
        """A message has arrived."""
        if not self.alive:
            return
        if self.paused:
            self._waiting.append(message)
            return
        self._heard_at = self._timeline.now
        match message:
            case m.Welcome():
                self.welcome = True
                self._touch += 1
                self._timeline.after(self._options.heartbeat_s, self._keep_in_touch, self._touch)
                self._say_ready()
                for held in self.attempts.unpublished().values():
                    self._say(self, held.done)
            case m.ReHello():
                if self.welcome:
                    self.welcome = False
                    self._touch += 1
                    self._keep_in_touch(self._touch)
            case m.Refuse():
                self.die()
            case m.Assign(lease=lease):
                if (known := self.attempts.find(lease)) is not None:
                    self._say(self, known.done)
                elif not self._holds(lease):
                    self.queue.append(message)
                    self._feed_slots()
            case m.Shrink():
                self._shrink(message)
            case m.Commit():
                self._commit(message)
            case m.Discard(lease=lease):
                self._discard(lease)
                self._say(self, m.Discarded(lease=lease))
            case m.End():
                self._leave()
            case m.Alive():
                pass

    def _holds(self, lease: m.Lease) -> bool:
        return (
            self.attempts.find(lease) is not None
            or any(assign.lease == lease for assign in self.queue)
            or any(work.lease == lease for work in self.running)
        )

    def _shrink(self, shrink: m.Shrink) -> None:
        for place, assign in enumerate(self.queue):
            task = assign.task
            if assign.lease == shrink.lease and isinstance(task, m.Extract):
                stop = shrink.stop if task.stop is None else min(task.stop, shrink.stop)
                task = msgspec.structs.replace(task, stop=max(stop, task.start))
                self.queue[place] = m.Assign(lease=assign.lease, task=task)
                self._say(self, m.Shrunk(lease=shrink.lease, stop=task.stop))
                return
        for slot in self.slots:
            if slot.work is not None and slot.work.lease == shrink.lease:
                slot.shrink(shrink.stop)

    def _commit(self, commit: m.Commit) -> None:
        if commit.lease in self.attempts.published:
            self._say(self, self.attempts.committed([commit.lease]))
        elif commit.lease in self.attempts.staged:
            self.attempts.commit(commit)
            self._plan_flush(FLUSH_S if any(slot.work for slot in self.slots) else IDLE_FLUSH_S)

    def _discard(self, lease: m.Lease) -> None:
        self.queue = deque(assign for assign in self.queue if assign.lease != lease)
        for slot in self.slots:
            if slot.work is not None and slot.work.lease == lease:
                slot.cancel()
                return
        self.attempts.discard(lease)

    # ---- slots --------------------------------------------------------------------------------------

    def _feed_slots(self) -> None:
        while self.queue and not self.paused:
            free = [slot for slot in self.slots if slot.free]
            if not free:
                return
            assign = self.queue.popleft()
            video = sampling = None
            if isinstance(assign.task, m.Extract):
                video = self._footage[int(assign.task.video)]
                sampling = self._selection.of(video.name)
            slot = free[0]
            if video is not None:
                slot = next((slot for slot in free if slot.open_video == video.index), slot)
            if self.broken_disk and video is not None:
                self._timeline.after(BROKEN_S, self._fail, assign.lease, "output")
            elif video is not None and self._contradicts(assign.task, found := self._look(video).fingerprint):
                self._timeline.after(BROKEN_S, self._fail, assign.lease, "contradiction", found)
            else:
                slot.give(Work(assign, video, sampling))

    def _look(self, video: Footage) -> VideoInfo:
        """What this host finds when it opens a video."""
        info = video.info()
        return msgspec.structs.replace(info, checksum=f"{self.name}'s") if self.bad_copies else info

    def _probe(self, video: Footage) -> VideoInfo:
        info = self._look(video)
        return msgspec.structs.replace(info, first_pts=info.first_pts + video.step) if self.lies else info

    @staticmethod
    def _contradicts(task: m.Probe | m.Extract, found: Fingerprint) -> bool:
        return isinstance(task, m.Extract) and task.fingerprint != found

    def _fail(self, lease: m.Lease, kind: m.FailedKind, found: Fingerprint | None = None) -> None:
        if self.alive:
            self._say(self, m.Failed(lease=lease, kind=kind, text=kind, seconds=BROKEN_S, found=found))

    def _on_shrunk(self, work: Work) -> None:
        if not work.cancelled:
            self._say(self, m.Shrunk(lease=work.lease, stop=work.stop))

    def _on_slot_end(self, slot: VirtualSlot, work: Work, failed: m.FailedKind | None) -> None:
        now = self._timeline.now
        seconds = now - work.began_at
        if failed == "crash":
            self._restart(slot)
        if work.cancelled:
            pass
        elif failed is not None:
            self._say(self, m.Failed(lease=work.lease, kind=failed, text=failed, seconds=seconds))
        elif isinstance(work.task, m.Probe):
            videos = [self._footage[index] for index, *_ in work.task.files]
            found = [(video.index, self._probe(video)) for video in videos if video.is_video]
            refused = [(video.index, "not a video") for video in videos if not video.is_video]
            self._say(self, m.Probed(lease=work.lease, found=found, refused=refused, seconds=seconds))
        else:
            held = self.attempts.staged[work.lease] = Held(*work.done(seconds), now)
            self._say(self, held.done)
        self._feed_slots()
        if self.attempts.committing and not any(slot.work for slot in self.slots):
            self._plan_flush(IDLE_FLUSH_S)

    # ---- publishing ---------------------------------------------------------------------------------

    def _plan_flush(self, delay_s: float) -> None:
        at = self._timeline.now + delay_s
        if self._flush_planned_at is None or at < self._flush_planned_at:
            self._flush_planned_at = at
            self._timeline.at(at, self._flush_if_due, at)

    def _flush_if_due(self, planned_at: float) -> None:
        if planned_at == self._flush_planned_at and self.alive:
            if self.paused:
                self._timeline.after(1.0, self._flush_if_due, planned_at)
                return
            self._flush()

    def _flush(self) -> None:
        self._flush_planned_at = None
        if self.broken_disk:
            for lease in list(self.attempts.committing):
                self._discard(lease)
                self._fail(lease, "output")
        elif leases := self.attempts.publish():
            self._say(self, self.attempts.committed(leases))

    def _leave(self) -> None:
        for slot in self.slots:
            slot.drop()
        self._flush()
        self._say(self, m.Bye(reason="the job is over"))
        self.alive = False
