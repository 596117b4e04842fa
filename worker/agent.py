"""The agent of a host: it takes units from the coordinator, gives them to its slots, and publishes.

One thread, one loop over the socket and the slots' pipes. What the host holds of a unit is queued, running
in a slot, or complete and on the shelf. The coordinator may ask about, or discard, any of it at any time.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections import Counter, deque
from collections.abc import Callable

import msgspec

from framefleet.common.errors import UserError
from framefleet.common.host.layout import Layout
from framefleet.common.job.spec import JobSpec
from framefleet.common.log import LOG
from framefleet.common.protocol import messages as m
from framefleet.common.protocol.transport import HostLink
from framefleet.worker.coordinator_silence import Silence
from framefleet.worker.job_outcome import Account
from framefleet.worker.pinned_files import Pins
from framefleet.worker.publishing.attempts import Attempts, Held, done_of
from framefleet.worker.publishing.publisher import Publisher, warm_up
from framefleet.worker.slot_limits import LOOK_S, host_memory_bytes, limits_for
from framefleet.worker.slots.slot_messages import Broken, Looked, Running, SlotUp, Staged
from framefleet.worker.slots.slot_process import SlotProcess
from framefleet.worker.staging import staging_folder
from framefleet.worker.video.file_stamp import CHANGED

HELLO_S = 2.0
RESEND_S = 10.0
LOOP_S = 0.25
MAX_FAILED_STARTS = 3
GOODBYE_S = 2.0


class Agent:
    """One host's part in a job; ``run`` returns when the job is over."""

    def __init__(
        self,
        *,
        host: str,
        incarnation: str,
        layout: Layout,
        spec: JobSpec,
        slots: int,
        link: HostLink,
        should_stop: Callable[[], str | None],
        account: Account | None = None,
    ) -> None:
        """``account``: where the end can be read, for a host that the coordinator cannot tell."""
        self._host = host
        self._incarnation = incarnation
        self._layout = layout
        self._spec = spec
        self._link = link
        self._should_stop = should_stop
        self._silence = Silence(spec.scheduling, account)
        names = spec.image.name_template
        self._publisher = Publisher(layout, host, spec.frame_options, pack=spec.pack, names=names)
        self._attempts = Attempts(self._publisher, layout, say=self._send)
        self._limits = limits_for(spec.limits, slots=slots, host_bytes=host_memory_bytes())
        self._looked_at = float("-inf")
        self._slots = [self._new_slot(number) for number in range(slots)]
        for slot in self._slots:
            link.watch(slot.descriptor)
        self._is_warming = False
        self._failed_starts: Counter[int] = Counter()
        """In a row, by the slot's number: when what slots are forked from dies, they all die once."""
        self._queue: deque[m.Assign] = deque()
        self._progress: dict[m.Lease, m.UnitProgress] = {}
        self._pins = Pins()
        self._cancelled: set[m.Lease] = set()
        self._welcome: m.Welcome | None = None
        self._was_welcome = False
        self._idle_since = time.monotonic()
        self._hello_at = self._beat_at = float("-inf")
        self._end: m.End | None = None

    # ---- the loop -----------------------------------------------------------------------------------

    def run(self) -> m.End | None:
        """Take part until the coordinator's ``End``; None when told to stop before.

        Raises:
            UserError: the coordinator refused this host, never answered, or vanished; or slots cannot start.
        """
        try:
            while self._end is None:
                reason = self._should_stop()
                if reason is not None:
                    break
                self._step(time.monotonic())
            self._leave(reason="the job is over" if self._end else reason or "")
            return self._end
        finally:
            for slot in self._slots:
                slot.end()

    def _step(self, now: float) -> None:
        self._link.wait(self._timeout_s())
        for slot in self._slots:
            self._hear_slot(slot)
        self._watch_slots(now)
        for data in self._link.receive():
            self._silence.end()
            try:
                message = m.decode_from_coordinator(data)
            except m.MessageError as error:
                LOG.warning("ignored a message that is none: %s", error)
                continue
            self._hear(message)
            if self._end is not None:
                return
        now = time.monotonic()
        self._silence.step(now)
        self._feed_slots(now)
        self._keep_in_touch(now)
        self._attempts.publish(now, idle_since=self._idle_since)
        self._link.flush()

    def _timeout_s(self) -> float:
        return self._attempts.look_again_s or LOOP_S

    def _keep_in_touch(self, now: float) -> None:
        if self._publisher.libraries is None:
            self._silence.end()  # nobody has been asked anything
            return
        self._end = self._end or self._silence.bear(now, was_welcome=self._was_welcome)
        if self._welcome is None:
            if now - self._hello_at > HELLO_S:
                self._hello_at = now
                self._link.forget()
                self._say_hello()
            return
        if now - self._beat_at > self._welcome.heartbeat_s:
            self._beat_at = now
            self._beat()
            self._say_ready()  # the last one may have been lost with its connection
            self._attempts.say_staged(now, after_s=RESEND_S)

    def _say_hello(self) -> None:
        running = [*self._unfinished(), *self._attempts.leases()]
        self._send(
            m.Hello(
                version=m.PROTOCOL_VERSION,
                host=self._host,
                incarnation=self._incarnation,
                slots=len(self._slots),
                running=[lease for lease in running if lease not in self._cancelled][: m.MAX_RUNNING],
                libraries=self._publisher.libraries,
            )
        )

    def _unfinished(self) -> list[m.Lease]:
        """What waits for a slot or is in one."""
        running = [slot.running.lease for slot in self._slots if slot.running is not None]
        return [*running, *(assign.lease for assign in self._queue)]

    def _beat(self) -> None:
        units = [m.UnitProgress(assign.lease.unit, assign.lease.attempt, 0, 0, 0.0) for assign in self._queue]
        for slot in self._slots:
            if slot.running is not None and slot.running.lease not in self._cancelled:
                lease = slot.running.lease
                units.append(
                    self._progress.get(lease) or m.UnitProgress(lease.unit, lease.attempt, 0, 0, 0.0)
                )
        units.extend(self._attempts.progress())
        self._send(m.Progress(units=units[: m.MAX_SLOTS]))

    def _send(self, message: m.Message) -> None:
        LOG.debug("sends %s", message)
        self._link.send(m.encode(message))

    # ---- the coordinator's messages -----------------------------------------------------------------

    def _hear(self, message: m.FromCoordinator) -> None:
        LOG.debug("gets %s", message)
        match message:
            case m.Welcome():
                self._welcome, self._was_welcome = message, True
                self._say_ready()
                self._attempts.say_all()
            case m.ReHello():
                if self._welcome is not None:  # else Hello has been said, and this answers what was before
                    self._welcome, self._hello_at = None, float("-inf")
            case m.Refuse(reason=reason):
                raise UserError(f"the coordinator refused host {self._host!r}: {reason}")
            case m.Assign():
                self._assigned(message)
            case m.Shrink():
                self._shrink(message)
            case m.Commit():
                self._attempts.commit(message)
            case m.Discard(lease=lease):
                self._discard(lease)
                self._send(m.Discarded(lease=lease))
            case m.End():
                self._end = message
            case m.Alive():
                pass

    def _say_ready(self) -> None:
        self._send(m.Ready(slots=sum(1 for slot in self._slots if slot.up)))

    def _assigned(self, assign: m.Assign) -> None:
        lease = assign.lease
        held = self._attempts.find(lease)
        if held is not None:
            self._send(held.done)  # the coordinator was started again, or had lost this host
        elif lease not in self._unfinished():
            self._queue.append(assign)

    def _shrink(self, shrink: m.Shrink) -> None:
        for place, assign in enumerate(self._queue):
            task = assign.task
            if assign.lease == shrink.lease and isinstance(task, m.Extract):
                stop = shrink.stop if task.stop is None else min(task.stop, shrink.stop)
                task = msgspec.structs.replace(task, stop=max(stop, task.start))
                self._queue[place] = m.Assign(lease=assign.lease, task=task)
                self._send(m.Shrunk(lease=shrink.lease, stop=task.stop))
                return
        for slot in self._slots:
            if slot.running is not None and slot.running.lease == shrink.lease:
                slot.shrink(shrink)

    def _discard(self, lease: m.Lease) -> None:
        self._queue = deque(assign for assign in self._queue if assign.lease != lease)
        for slot in self._slots:
            if slot.running is not None and slot.running.lease == lease:
                self._cancelled.add(lease)
                slot.cancel(lease)
                return  # its files go when it has stopped
        self._attempts.discard(lease)

    # ---- slots --------------------------------------------------------------------------------------

    def _feed_slots(self, now: float) -> None:
        while self._queue:
            free = [slot for slot in self._slots if slot.free]
            if not free:
                break
            assign = self._queue.popleft()
            path = assign.task.path if isinstance(assign.task, m.Extract) else None
            slot = next((slot for slot in free if path is not None and slot.path == path), free[0])
            slot.path = path or slot.path
            slot.give(assign)
        if any(slot.running for slot in self._slots):
            self._idle_since = now

    def _new_slot(self, number: int) -> SlotProcess:
        return SlotProcess(number, self._layout, self._spec, self._limits)

    def _hear_slot(self, slot: SlotProcess) -> None:
        try:
            for message in slot.messages():
                self._on_slot_message(slot, message)
        except (EOFError, ConnectionError):
            self._on_slot_death(slot)

    def _watch_slots(self, now: float) -> None:
        if now - self._looked_at < LOOK_S:
            return
        self._looked_at = now
        for slot in list(self._slots):
            beyond = slot.beyond_limit(now)
            if beyond is not None:
                self._on_slot_death(slot, beyond)

    def _on_slot_message(self, slot: SlotProcess, message: object) -> None:
        match message:
            case SlotUp(libraries=libraries):
                self._publisher.made_with(libraries)
                slot.up = True
                self._failed_starts.clear()
                if self._welcome is not None:
                    self._say_ready()
            case Running(progress=progress):
                self._progress[m.Lease(progress.unit, progress.attempt)] = progress
                self._warm_up()
            case Staged():
                self._warm_up()
                self._on_staged(slot, message)
            case m.Shrunk(lease=lease):
                if lease not in self._cancelled:
                    self._send(message)
            case Looked() | Broken():
                assert slot.running is not None
                self._answer(slot, self._pins.compared(slot.running.task, message))
            case _:
                raise AssertionError(message)

    def _answer(self, slot: SlotProcess, message: m.Probed | m.Failed) -> None:
        """A slot's attempt has left no files."""
        slot.running = None
        shutil.rmtree(staging_folder(self._layout, message.lease), ignore_errors=True)
        if not self._was_cancelled(message.lease):
            self._send(msgspec.structs.replace(message, timing=slot.timing()))

    def _warm_up(self) -> None:
        """Load what a flush needs aside: the first one, perhaps that of a Ctrl-C, must not wait for it, nor
        the host's first frames for the loading."""
        if not self._is_warming:
            self._is_warming = True
            threading.Thread(target=warm_up, daemon=True).start()

    def _on_staged(self, slot: SlotProcess, staged: Staged) -> None:
        lease = staged.lease
        assert slot.running is not None
        task = slot.running.task
        assert isinstance(task, m.Extract)
        slot.running = None
        self._progress.pop(lease, None)
        if self._was_cancelled(lease):
            shutil.rmtree(staging_folder(self._layout, lease), ignore_errors=True)
            return
        spent = slot.timing(staged.result.timing)
        if not self._pins.is_first(task.path, staged.stamp):
            shutil.rmtree(staging_folder(self._layout, lease), ignore_errors=True)
            seconds = staged.result.seconds
            self._send(m.Failed(lease=lease, kind="changed", text=CHANGED, seconds=seconds, timing=spent))
            return
        self._attempts.stage(Held(task, staged.result, done_of(staged, spent), time.monotonic()))

    def _was_cancelled(self, lease: m.Lease) -> bool:
        self._progress.pop(lease, None)
        if lease not in self._cancelled:
            return False
        self._cancelled.discard(lease)
        return True

    def _on_slot_death(self, slot: SlotProcess, beyond: str | None = None) -> None:
        """A slot has died, or is beyond a limit and is ended here; its unit comes to nothing."""
        self._link.unwatch(slot.descriptor)
        died = slot.end()
        how = beyond or died
        if not slot.up:
            self._failed_starts[slot.number] += 1
            if self._failed_starts[slot.number] >= MAX_FAILED_STARTS:
                raise UserError(f"slot processes of host {self._host!r} cannot start: the last one {how}")
        assign = slot.running
        fresh = self._slots[slot.number] = self._new_slot(slot.number)
        self._link.watch(fresh.descriptor)
        if self._welcome is not None:
            self._say_ready()
        if assign is None:
            return
        lease, task = assign.lease, assign.task
        shutil.rmtree(staging_folder(self._layout, lease), ignore_errors=True)
        if self._was_cancelled(lease):
            return
        what = "probing" if isinstance(task, m.Probe) else f"extracting [{task.start}, {task.stop or 'end'})"
        text = f"the slot process {how} while {what}"
        seconds = time.monotonic() - slot.since
        self._send(m.Failed(lease=lease, kind="crash", text=text, seconds=seconds, timing=slot.timing()))

    def _leave(self, *, reason: str) -> None:
        """Drop what is not committed, publish what is, and say goodbye; bounded in time."""
        for slot in self._slots:
            slot.end()
        self._attempts.close()
        self._layout.remove_staging()
        self._send(m.Bye(reason=m.clip_text(reason)))
        deadline = time.monotonic() + GOODBYE_S
        while not self._link.flush() and time.monotonic() < deadline:
            self._link.wait(0.01)
