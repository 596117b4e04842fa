"""The only module that knows ZeroMQ: one ROUTER for the coordinator, one DEALER for each host.

Both ends move bytes; ``messages`` says what the bytes mean. Endpoints hold addresses: ``resolve_host`` has
resolved the names before.

Every connection is CURVE's: encrypted, and between holders of the job's keys only (docs/security.md). The
coordinator's end answers libzmq's questions about client keys (ZAP) in its own loop, so that there is no
thread to start, to end or to fork by mistake; a handshake waits until the loop comes round.
"""

from __future__ import annotations

import contextlib
import resource
import socket
import struct
import time
from collections import deque
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

import zmq
from zmq.utils import z85

from framefleet.common.errors import UserError
from framefleet.common.protocol.keys import JobKeys
from framefleet.common.protocol.messages import MAX_MESSAGE_BYTES

MESSAGES_PER_WAKE = 256
HIGH_WATER = 10_000  # messages for one peer; credits keep it far below
RECEIVE_HIGH_WATER = 64  # of the coordinator: what it has not read yet stays with the host
BACKLOG = 4096  # a thousand hosts connect within one second
# A peer whose machine or network is gone is noticed by TCP itself, after about DEAD_S. Not by ZeroMQ's own
# heartbeats: libzmq 4.3.5 aborts the process when one is due, or a PING is read, on a connection that has
# ended while its input waited for the reader (stream_engine_base.cpp: out_event).
DEAD_S, KEEPALIVE_S = 15, 5
LINGER_S = 2
# short at first, as a coordinator that starts with its host is there after some tenths of a second; and never
# long, as whoever was up before the coordinator idles until then
RECONNECT_S, RECONNECT_MAX_S = 0.05, 1.0

ZAP_ENDPOINT, ZAP_VERSION, ZAP_DOMAIN = "inproc://zeromq.zap.01", b"1.0", b"framefleet"  # ZeroMQ RFC 27
ADMITTED, REFUSED, TRY_LATER = b"200", b"400", b"300"
HANDSHAKE_S = 10  # libzmq's default is 30; a client that finds the loop busy comes again
SPARE_PEERS = 64  # connections beyond those of the hosts: old ones that nobody has noticed the end of
BURST_DESCRIPTORS = 4096  # connections that the I/O thread may accept before the loop comes round
OTHER_DESCRIPTORS = 128
AT_ONCE_S = 1.0  # a connection that ends so soon was not closed by a coordinator that is busy
WRONG_KEYS_S, WRONG_KEYS_TRIES = 20.0, 5  # in a row; a flood may break some handshakes of an honest host
REDIAL_S = 1.0

# plain numbers: what is done for every message should not take Python's arithmetic of enumerations
_NOBLOCK, _NOBLOCK_MORE = int(zmq.NOBLOCK), int(zmq.NOBLOCK | zmq.SNDMORE)
_MONITOR_EVENT = struct.Struct("=hi")  # zmq_socket_monitor(3); zmq.utils.monitor would load all of asyncio
_FAILURES = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL


def make_key_pair() -> tuple[str, str]:
    """A new CURVE key pair in Z85: public, secret."""
    public, secret = zmq.curve_keypair()
    return public.decode(), secret.decode()


class _Link:
    """What both ends share: a socket, its options, and how to close it."""

    def __init__(self, kind: int, keys: JobKeys, events: int) -> None:
        for public, secret in (
            (keys.server_public, keys.server_secret),
            (keys.client_public, keys.client_secret),
        ):
            if zmq.curve_public(secret.encode()) != public.encode():
                raise UserError(
                    "the keys in the job specification are no pairs: use the file as the launcher wrote it"
                )
        self._context = zmq.Context()
        self._socket: zmq.Socket[bytes] = self._context.socket(kind)
        self._poller = zmq.Poller()
        options = {
            zmq.IPV6: 1,
            zmq.LINGER: LINGER_S * 1000,
            zmq.MAXMSGSIZE: MAX_MESSAGE_BYTES,
            zmq.SNDHWM: HIGH_WATER,
            zmq.RCVHWM: HIGH_WATER,
            zmq.TCP_KEEPALIVE: 1,
            zmq.TCP_KEEPALIVE_IDLE: KEEPALIVE_S,
            zmq.TCP_KEEPALIVE_INTVL: KEEPALIVE_S,
            zmq.TCP_KEEPALIVE_CNT: DEAD_S // KEEPALIVE_S - 1,
            zmq.TCP_MAXRT: DEAD_S * 1000,  # the same for data that nobody acknowledges
            zmq.HANDSHAKE_IVL: round(HANDSHAKE_S * 1000),
        }
        for option, value in options.items():
            self._socket.setsockopt(option, value)
        self._poller.register(self._socket, zmq.POLLIN)
        # without a high-water mark, as libzmq's threads would wait for this one to read
        self._socket.monitor("inproc://monitor", events)
        self._monitor: zmq.Socket[bytes] = self._context.socket(zmq.PAIR)
        self._monitor.setsockopt(zmq.RCVHWM, 0)
        self._monitor.connect("inproc://monitor")
        self._poller.register(self._monitor, zmq.POLLIN)

    def wait(self, timeout_s: float) -> set[int]:
        """Sleep until something can be read, or the time is over; return the file descriptors of
        ``watch`` that are ready."""
        ready = [source for source, _ in self._poller.poll(max(0, round(timeout_s * 1000)))]
        if self._must_attend(ready):
            self._handle_socket_events()
        return {source for source in ready if isinstance(source, int)}

    def _must_attend(self, ready: list[object]) -> bool:
        """Whether there may be something to take notice of, when these sources can be read."""
        return True

    def _handle_socket_events(self) -> None:
        """Take notice of what became of connections."""
        raise NotImplementedError

    def _events(self) -> Iterator[tuple[int, int]]:
        """What has become of connections: (event, its value)."""
        while True:
            try:
                told, _ = self._monitor.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            yield _MONITOR_EVENT.unpack(told)

    def watch(self, descriptor: int) -> None:
        """Let ``wait`` wake for this descriptor as well."""
        self._poller.register(descriptor, zmq.POLLIN)

    def unwatch(self, descriptor: int) -> None:
        """Undo ``watch``."""
        self._poller.unregister(descriptor)

    def close(self) -> None:
        """Send what can still be sent within the linger time, and close."""
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close()
        self._context.term()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class CoordinatorLink(_Link):
    """The coordinator's end, for a cluster of so many ``hosts``.

    Routing ids are libzmq's own choice and new for each connection: none is anybody's to claim.
    """

    def __init__(self, endpoint: str, *, keys: JobKeys, hosts: int) -> None:
        events = zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED
        super().__init__(zmq.ROUTER, keys, events)
        self._max_silent = SPARE_PEERS + hosts
        self._max_known = SPARE_PEERS + 2 * hosts
        _raise_descriptor_limit(self._max_silent + self._max_known + BURST_DESCRIPTORS + OTHER_DESCRIPTORS)
        # connections by descriptor, oldest first: those that have said nothing yet, and the others
        self._silent: dict[int, None] = {}
        self._known: dict[int, bytes] = {}
        self._peers: set[bytes] = set()
        self._client_key = z85.decode(keys.client_public)
        self._zap: zmq.Socket[bytes] = self._context.socket(zmq.REP)
        self._zap.setsockopt(zmq.LINGER, 0)
        self._zap.bind(ZAP_ENDPOINT)
        self._poller.register(self._zap, zmq.POLLIN)
        self._socket.setsockopt(zmq.CURVE_SERVER, 1)
        self._socket.setsockopt(zmq.CURVE_SECRETKEY, keys.server_secret.encode())
        self._socket.setsockopt(zmq.ZAP_DOMAIN, ZAP_DOMAIN)
        self._socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)  # without a handler nobody is admitted
        self._socket.setsockopt(zmq.RCVHWM, RECEIVE_HIGH_WATER)
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
        recv = self._socket.recv
        for _ in range(MESSAGES_PER_WAKE):
            try:
                peer = recv(_NOBLOCK)
            except zmq.Again:
                return
            frame = recv(copy=False)  # a frame knows whether it is the last, sooner than the socket tells
            data = frame.bytes
            if peer not in self._peers:
                self._admit(peer, frame)
            if frame.more:
                # a peer that is no DEALER of ours may send any number of frames: they are no message
                while frame.more:
                    frame = recv(copy=False)
                data = b""
            yield peer, data

    def close(self) -> None:
        self._zap.close(0)
        super().close()

    def _admit(self, peer: bytes, frame: zmq.Frame) -> None:
        descriptor = int(frame.get("__fd"))
        self._forget(descriptor)
        self._known[descriptor] = peer
        self._peers.add(peer)

    def _forget(self, descriptor: int) -> None:
        self._silent.pop(descriptor, None)
        peer = self._known.pop(descriptor, None)
        if peer is not None:
            self._peers.discard(peer)

    def _must_attend(self, ready: list[object]) -> bool:
        return self._monitor in ready or self._zap in ready

    def _handle_socket_events(self) -> None:
        for event, descriptor in self._events():
            self._forget(descriptor)  # an earlier connection with this number is over either way
            if event == zmq.EVENT_ACCEPTED:
                self._silent[descriptor] = None
        while len(self._silent) > self._max_silent:
            oldest = next(iter(self._silent))
            del self._silent[oldest]
            _hang_up(oldest)
        self._answer_zap()

    def _answer_zap(self) -> None:
        while True:
            try:
                request = self._zap.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            version, number, domain, _, _, mechanism, *credentials = request
            is_ours = (version, domain, mechanism) == (ZAP_VERSION, ZAP_DOMAIN, b"CURVE")
            if not is_ours or credentials != [self._client_key]:
                status = REFUSED
            else:
                status = ADMITTED if len(self._known) < self._max_known else TRY_LATER
            self._zap.send_multipart([ZAP_VERSION, number, status, b"", b"", b""])

    def send(self, peer: bytes, *messages: bytes) -> bool:
        """Queue messages for a peer, to travel together; False when it is not connected or does not read."""
        # as ``send_multipart`` does it, which joins flags of an Enum for each part
        send, *following, last = self._socket.send, peer, *messages
        try:
            for part in following:
                send(part, _NOBLOCK_MORE)
            send(last, _NOBLOCK)
        except zmq.ZMQError:
            return False
        return True


class HostLink(_Link):
    """A host's end. Messages wait in an outbox while there is no connection."""

    def __init__(self, endpoint: str, *, keys: JobKeys) -> None:
        super().__init__(zmq.DEALER, keys, zmq.EVENT_ALL)
        self._endpoint = endpoint
        self._outbox: deque[bytes] = deque()
        self._had_handshake = False
        self._connected_at = float("-inf")
        self._failing_since: float | None = None
        self._failures = 0
        self._redial_at: float | None = None
        self._socket.setsockopt(zmq.CURVE_SERVERKEY, keys.server_public.encode())
        self._socket.setsockopt(zmq.CURVE_PUBLICKEY, keys.client_public.encode())
        self._socket.setsockopt(zmq.CURVE_SECRETKEY, keys.client_secret.encode())
        self._socket.setsockopt(zmq.IMMEDIATE, 1)
        self._socket.setsockopt(zmq.RECONNECT_IVL, round(RECONNECT_S * 1000))
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, round(RECONNECT_MAX_S * 1000))
        self._socket.connect(endpoint)

    def _handle_socket_events(self) -> None:
        """Raises ``UserError`` when the coordinator does not have the keys of this host."""
        now = time.monotonic()
        for event, _ in self._events():
            if event == zmq.EVENT_CONNECTED:
                self._connected_at = now
            elif event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._had_handshake, self._failing_since = True, None
            elif event == zmq.EVENT_HANDSHAKE_FAILED_AUTH and not self._had_handshake:
                raise UserError(self._wrong_keys("it refused this host's key"))
            elif event & _FAILURES and now - self._connected_at < AT_ONCE_S:
                self._note_failure(now)
            elif event == zmq.EVENT_CLOSED:  # nobody listens there, which no key changes
                self._failing_since = None
            # libzmq comes again after an ordinary end, but never after an error of the protocol
            if event == zmq.EVENT_DISCONNECTED:
                self._redial_at = now + REDIAL_S
            elif event in (zmq.EVENT_CONNECT_RETRIED, zmq.EVENT_CONNECT_DELAYED, zmq.EVENT_CONNECTED):
                self._redial_at = None
        if self._redial_at is not None and now >= self._redial_at:
            self._redial_at = None
            with contextlib.suppress(zmq.ZMQError):
                self._socket.disconnect(self._endpoint)
            self._socket.connect(self._endpoint)

    def _note_failure(self, now: float) -> None:
        if self._had_handshake:
            return
        if self._failing_since is None:
            self._failing_since, self._failures = now, 0
        self._failures += 1
        if self._failures >= WRONG_KEYS_TRIES and now - self._failing_since >= WRONG_KEYS_S:
            raise UserError(
                self._wrong_keys(f"it has closed {self._failures} connections during the handshake")
            )

    def _wrong_keys(self, what: str) -> str:
        return (
            f"the coordinator at {self._endpoint} has other keys than this host: {what}; "
            "give all hosts of a job the same job specification, as the launcher wrote it"
        )

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


def _raise_descriptor_limit(needed: int) -> None:
    """Let this process have so many descriptors, or as many as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _hang_up(descriptor: int) -> None:
    """End a connection that libzmq owns: it notices, and closes it.

    If libzmq has closed it in between, the number may be another connection's by now, whose peer comes again;
    a file takes no harm.
    """
    with contextlib.suppress(OSError):
        connection = socket.socket(fileno=descriptor)  # no copy: there may be no descriptor left for one
        try:
            connection.shutdown(socket.SHUT_RDWR)
        finally:
            connection.detach()


def make_keys() -> JobKeys:
    """New keys, from the system's random source."""
    server_public, server_secret = make_key_pair()
    client_public, client_secret = make_key_pair()
    return JobKeys(
        server_public=server_public,
        server_secret=server_secret,
        client_public=client_public,
        client_secret=client_secret,
    )
