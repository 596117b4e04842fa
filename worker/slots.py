"""The agent's view of its slot processes: start, talk, notice that one died, start it again."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Iterator
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

import msgspec

from common.errors import UserError
from common.layout import Layout
from common.messages import Assign, Lease
from common.spec import JobSpec
from worker.pipe import Cancel, FromSlot, ToSlot

_decoder: msgspec.msgpack.Decoder[FromSlot] = msgspec.msgpack.Decoder(FromSlot)
_encoder = msgspec.msgpack.Encoder()


def start_fork_server() -> None:
    """Start the process that slots are forked from: it loads the libraries once, and has no threads.

    A signal to the whole process group is the agent's to answer: it and all its forks block the usual ones.
    """
    multiprocessing.get_context("forkserver").set_forkserver_preload(["worker.slot"])
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _enter(connection: Connection, layout: Layout, spec: JobSpec) -> None:
    """In the slot process. The agent itself never loads the media libraries."""
    from worker.slot import run_slot

    run_slot(connection, layout, spec)


class SlotProcess:
    """One slot process and what it is doing."""

    def __init__(self, number: int, layout: Layout, spec: JobSpec) -> None:
        self.number = number
        self.up = False
        self.running: Assign | None = None
        self.since = 0.0
        self.path: bytes | None = None
        """The file that it has open."""
        context = multiprocessing.get_context("forkserver")
        self._connection, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(
            target=_enter, args=(theirs, layout, spec), name=f"slot-{number}", daemon=True
        )
        try:
            self._process.start()
        except (EOFError, OSError) as error:
            raise UserError(
                f"slot processes cannot be started ({error or type(error).__name__}): "
                "see the lines above, and whether memory and process limits allow it"
            ) from error
        theirs.close()

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
    def free(self) -> bool:
        return self.up and self.running is None

    def give(self, assign: Assign) -> None:
        """Hand it a task; it must be free."""
        assert self.free
        self.running, self.since = assign, time.monotonic()
        self._send(assign)

    def cancel(self, lease: Lease) -> None:
        """Ask it to drop a running attempt."""
        self._send(Cancel(lease))

    def messages(self) -> Iterator[FromSlot]:
        """What it has said since; ends with ``EOFError`` when the process is dead."""
        while self._connection.poll():
            yield _decoder.decode(self._connection.recv_bytes())

    def _send(self, message: ToSlot) -> None:
        try:
            self._connection.send_bytes(_encoder.encode(message))
        except BrokenPipeError:
            return  # its death is noticed by the end of its pipe, and accounted for there

    def end(self) -> str:
        """Make sure that it is dead; return how it died, in words."""
        self._process.kill()
        self._process.join()
        code = self._process.exitcode
        self._connection.close()
        if code is not None and code < 0:
            return f"killed by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"
