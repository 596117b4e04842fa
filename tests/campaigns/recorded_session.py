"""What an honest peer sends, byte for byte, as one who taps the wire sees it: for attacks to send again."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import zmq

from framefleet.common.protocol.keys import JobKeys

PATIENCE_S = 10.0


def record_session(endpoint: str, keys: JobKeys, frame: bytes) -> list[bytes]:
    """What a peer with the job's keys sends from its first byte to the end of one message, as seen by one who
    taps the wire."""
    parts = urlsplit(endpoint)
    assert parts.port is not None
    recorded: list[bytes] = []
    with (
        socket.create_server(("127.0.0.1", 0)) as tap,
        zmq.Context() as context,
        context.socket(zmq.DEALER) as dealer,
    ):
        dealer.setsockopt(zmq.LINGER, 0)
        dealer.setsockopt(zmq.CURVE_SERVERKEY, keys.server_public.encode())
        dealer.setsockopt(zmq.CURVE_PUBLICKEY, keys.client_public.encode())
        dealer.setsockopt(zmq.CURVE_SECRETKEY, keys.client_secret.encode())
        dealer.connect(f"tcp://127.0.0.1:{tap.getsockname()[1]}")
        dealer.send(frame)
        client, _ = tap.accept()
        with client, socket.create_connection((parts.hostname, parts.port), 5) as server:
            for data in _relay(client, server, until=dealer):
                recorded.append(data)
    return recorded


def _relay(client: socket.socket, server: socket.socket, *, until: zmq.Socket[bytes]) -> Iterator[bytes]:
    """Pass bytes on both ways until the client's socket has an answer; yield the client's."""
    poller = zmq.Poller()
    for source in (client, server):
        poller.register(source.fileno(), zmq.POLLIN)
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and not until.poll(0):
        for number, _ in poller.poll(50):
            mine, others = (client, server) if number == client.fileno() else (server, client)
            data = mine.recv(1 << 16)
            if not data:
                return
            others.sendall(data)
            if mine is client:
                yield data
