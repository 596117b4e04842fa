"""The only module that knows ZeroMQ: one ROUTER for the coordinator, one DEALER for each host.

Both ends move bytes; what the bytes mean is ``common.messages``. Names are resolved here, in Python and
with retries: libzmq would resolve in its I/O thread, and stall every socket while a name server is slow.
"""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import zmq

from common.errors import UserError
from common.messages import MAX_MESSAGE_BYTES

MESSAGES_PER_WAKE = 256
HIGH_WATER = 10_000  # messages for one peer; credits keep it far below
BACKLOG = 4096  # a thousand hosts connect within one second
PING_S, PING_TIMEOUT_S, PING_TTL_S = 5, 15, 20  # a TTL of 65.5 s or more overflows in libzmq 4.3
LINGER_S = 2
RECONNECT_S, RECONNECT_MAX_S = 0.1, 5.0
RESOLVE_FIRST_S, RESOLVE_MAX_S = 0.1, 5.0  # waits between tries; AWS's toolkits try for up to 15 min


class _Link:
    """What both ends share: a socket, its options, and how to close it."""

    def __init__(self, kind: int) -> None:
        self._context = zmq.Context()
        self._socket: zmq.Socket[bytes] = self._context.socket(kind)
        self._poller = zmq.Poller()
        options = {
            zmq.LINGER: LINGER_S * 1000,
            zmq.MAXMSGSIZE: MAX_MESSAGE_BYTES,
            zmq.SNDHWM: HIGH_WATER,
            zmq.RCVHWM: HIGH_WATER,
            zmq.HEARTBEAT_IVL: PING_S * 1000,
            zmq.HEARTBEAT_TIMEOUT: PING_TIMEOUT_S * 1000,
            zmq.HEARTBEAT_TTL: PING_TTL_S * 1000,
        }
        for option, value in options.items():
            self._socket.setsockopt(option, value)
        self._poller.register(self._socket, zmq.POLLIN)

    def wait(self, timeout_s: float) -> set[int]:
        """Sleep until something can be read, or the time is over; return the file descriptors of
        ``watch`` that are ready."""
        ready = self._poller.poll(max(0, round(timeout_s * 1000)))
        return {source for source, _ in ready if isinstance(source, int)}

    def watch(self, descriptor: int) -> None:
        """Let ``wait`` wake for this descriptor as well."""
        self._poller.register(descriptor, zmq.POLLIN)

    def unwatch(self, descriptor: int) -> None:
        """Undo ``watch``."""
        self._poller.unregister(descriptor)

    def close(self) -> None:
        """Send what can still be sent within the linger time, and close."""
        self._socket.close()
        self._context.term()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class CoordinatorLink(_Link):
    """The coordinator's end."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(zmq.ROUTER)
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._socket.setsockopt(zmq.BACKLOG, BACKLOG)
        try:
            self._socket.bind(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise UserError(
                f"the coordinator cannot listen on {endpoint} ({error.strerror}): "
                "choose another port in the job specification"
            ) from error

    def receive(self) -> Iterable[tuple[bytes, bytes]]:
        """Up to ``MESSAGES_PER_WAKE`` messages that have arrived: (routing id, bytes)."""
        for _ in range(MESSAGES_PER_WAKE):
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            # a peer that is no DEALER of ours may send any number of frames
            yield frames[0], b"".join(frames[1:])

    def send(self, peer: bytes, *messages: bytes) -> bool:
        """Queue messages for a peer, to travel together; False when it is not connected or does not read."""
        try:
            self._socket.send_multipart((peer, *messages), zmq.NOBLOCK)
        except (zmq.Again, zmq.ZMQError):
            return False
        return True


class HostLink(_Link):
    """A host's end. Messages wait in an outbox while there is no connection."""

    def __init__(self, endpoint: str, *, identity: str) -> None:
        super().__init__(zmq.DEALER)
        self._socket.setsockopt(zmq.IDENTITY, identity.encode()[:255])
        self._socket.setsockopt(zmq.IMMEDIATE, 1)
        self._socket.setsockopt(zmq.RECONNECT_IVL, round(RECONNECT_S * 1000))
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, round(RECONNECT_MAX_S * 1000))
        self._socket.connect(endpoint)
        self._outbox: deque[bytes] = deque()

    def receive(self) -> Iterable[bytes]:
        """Messages that have arrived, of up to ``MESSAGES_PER_WAKE`` sendings."""
        for _ in range(MESSAGES_PER_WAKE):
            try:
                yield from self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return

    def send(self, data: bytes) -> None:
        """Send a message, or keep it for ``flush``."""
        self._outbox.append(data)
        self.flush()

    def flush(self) -> bool:
        """Send what waits in the outbox; False when some of it still has to."""
        while self._outbox:
            try:
                self._socket.send(self._outbox[0], zmq.NOBLOCK)
            except zmq.Again:
                return False
            self._outbox.popleft()
        return True

    def forget(self) -> None:
        """Drop what waits in the outbox: it was meant for a connection that is gone."""
        self._outbox.clear()


def resolve(
    endpoint: str,
    *,
    budget_s: float,
    should_stop: Callable[[], bool],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """``tcp://name:port`` with the name's address in its place, retried while the name is not known yet.

    Raises:
        UserError: the name did not resolve within ``budget_s`` seconds, or ``should_stop`` said so.
    """
    parts = urlsplit(endpoint)
    if parts.scheme != "tcp" or not parts.hostname or parts.port is None:
        raise UserError(f"the coordinator's endpoint {endpoint!r} is not of the form tcp://host:port")
    deadline, wait_s = clock() + budget_s, RESOLVE_FIRST_S
    while True:
        try:
            found = socket.getaddrinfo(parts.hostname, parts.port, socket.AF_INET, socket.SOCK_STREAM)
            return f"tcp://{found[0][4][0]}:{parts.port}"
        except OSError as error:
            if clock() + wait_s > deadline or should_stop():
                raise UserError(
                    f"the primary host {parts.hostname!r} did not resolve to an address within "
                    f"{budget_s:.0f} s ({error})"
                ) from error
        sleep(wait_s)
        wait_s = min(2 * wait_s, RESOLVE_MAX_S)
