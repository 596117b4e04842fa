"""The agent's view of its slot processes: start, talk, notice that one died, start it again."""

from __future__ import annotations

import ctypes
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Final

import msgspec

from framefleet.common.host.layout import Layout
from framefleet.common.job.spec import JobSpec
from framefleet.common.media import Timing
from framefleet.common.protocol.messages import Assign, Lease, Shrink
from framefleet.worker.slot_limits import EXIT_OUT_OF_MEMORY, Limits, Watch, in_gib, resident_bytes
from framefleet.worker.slots.fork_server import start_forked
from framefleet.worker.slots.slot_messages import Cancel, FromSlot, Running, ToSlot

DEATH_S: Final = 5.0  # a process that is blocked in the system, by a dead file server say, does not die

_decoder: msgspec.msgpack.Decoder[FromSlot] = msgspec.msgpack.Decoder(FromSlot)
_encoder = msgspec.msgpack.Encoder()


def _enter(
    connection: Connection, layout: Layout, spec: JobSpec, limits: Limits, beats: ctypes.c_uint64
) -> None:
    """In the slot process. The agent itself never loads the media libraries."""
    from framefleet.worker.slots.slot_main import run_slot

    run_slot(connection, layout, spec, limits, beats)


Entry = Callable[[Connection, Layout, JobSpec, Limits, ctypes.c_uint64], None]


class SlotProcess:
    """One slot process and what it is doing."""

    def __init__(
        self, number: int, layout: Layout, spec: JobSpec, limits: Limits, *, entry: Entry = _enter
    ) -> None:
        self.number = number
        self.up = False
        self.running: Assign | None = None
        self.since = 0.0
        self.path: bytes | None = None
        """The file that it has open."""
        self._limits = limits
        self._watch = Watch(limits)
        self._beats = multiprocessing.get_context("forkserver").RawValue(ctypes.c_uint64)
        self._heard = 0
        self._reached: tuple[Lease, int, int] | None = None
        self._connection, self._process = start_forked(
            entry, (layout, spec, limits, self._beats), name=f"slot-{number}"
        )

    @property
    def pid(self) -> int:
        pid = self._process.pid
        assert pid is not None
        return pid

    @property
    def descriptor(self) -> int:
        """Readable when there are messages, or when the process has died."""
        return self._connection.fileno()

    @property
    def beats(self) -> int:
        """Grows while the slot makes progress."""
        return self._beats.value + self._heard

    @property
    def free(self) -> bool:
        return self.up and self.running is None

    def give(self, assign: Assign) -> None:
        """Hand it a task; it must be free."""
        assert self.free
        self.running, self.since = assign, time.monotonic()
        self._send(assign)

    def timing(self, spent: Timing = Timing()) -> Timing:  # noqa: B008 - it is frozen
        """Where the time of its latest task went: what the slot ``spent``, and when it began here."""
        return msgspec.structs.replace(spent, slot=self.number, since_s=round(self.since, 4))

    def cancel(self, lease: Lease) -> None:
        """Ask it to drop a running attempt."""
        self._send(Cancel(lease))

    def shrink(self, shrink: Shrink) -> None:
        """Ask it to end a running attempt earlier; ``Shrunk`` answers, or ``Staged`` if it is complete."""
        self._send(shrink)

    def messages(self) -> Iterator[FromSlot]:
        """What it has said since; ends with ``EOFError`` when the process is dead."""
        while self._connection.poll():
            self._heard += 1
            try:
                message = _decoder.decode(self._connection.recv_bytes())
            except msgspec.DecodeError as error:  # numbers that no sane file leads to
                raise EOFError(f"the slot said what is no message: {error}") from error
            if isinstance(message, Running):
                told = message.progress
                self._reached = Lease(told.unit, told.attempt), told.done_to, told.frames
            yield message

    def beyond_limit(self, now: float) -> str | None:
        """In words, which limit it is beyond, if it is; to be asked about twice a second."""
        return self._watch.look(
            now,
            up=self.up,
            busy=self.running is not None,
            beats=self.beats,
            reached=(self.running.lease if self.running is not None else None, self._reached),
            resident_bytes=resident_bytes(self.pid),
        )

    def _send(self, message: ToSlot) -> None:
        try:
            self._connection.send_bytes(_encoder.encode(message))
        except BrokenPipeError:
            return  # its death is noticed by the end of its pipe, and accounted for there

    def end(self) -> str:
        """Make sure that it is dead, as far as that can be; return how it died: "was killed by SIGSEGV"."""
        self._process.kill()
        self._process.join(DEATH_S)
        code = self._process.exitcode
        self._connection.close()
        if code is None:
            return "is blocked in the system and cannot be ended"
        if code == EXIT_OUT_OF_MEMORY:
            return f"ran out of memory (the limit for a slot is {in_gib(self._limits.memory_bytes)})"
        if code < 0:
            return f"was killed by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"
