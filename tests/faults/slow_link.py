"""A slow and lossy link: delays what a network namespace sends, and drops some of it.

``python -m tests.faults.slow_link PID DELAY_S LOSS`` does for the namespace of process ``PID`` what ``tc``
does with ``netem``, for kernels that have none: a netfilter queue (NFQUEUE) hands every packet to this
process, which lets it go later, or never. It runs until it is ended; needs root and iptables.

The messages are those of ``linux/netfilter/nfnetlink_queue.h``.
"""

from __future__ import annotations

import heapq
import os
import random
import select
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

NETLINK_NETFILTER = 12
SUBSYSTEM_QUEUE = 3 << 8
PACKET, VERDICT, CONFIG = 0, 1, 2
REQUEST = 1
CONFIG_COMMAND, CONFIG_PARAMETERS, CONFIG_MAX_LENGTH = 1, 2, 3
PACKET_HEADER, VERDICT_HEADER = 1, 2
BIND, COPY_METADATA, DROP, ACCEPT = 1, 1, 0, 1
QUEUE, QUEUE_LENGTH = 7, 20_000
BUFFER_BYTES = 8 << 20


def message(kind: int, attribute: int, value: bytes) -> bytes:
    """A netlink message for the queue, with one attribute."""
    payload = struct.pack("=BBH", socket.AF_UNSPEC, 0, socket.htons(QUEUE))
    payload += struct.pack("=HH", 4 + len(value), attribute) + value + bytes(-len(value) % 4)
    return struct.pack("=IHHII", 16 + len(payload), SUBSYSTEM_QUEUE | kind, REQUEST, 0, 0) + payload


def packet_ids(data: bytes) -> list[int]:
    """The numbers, in network byte order, of the packets that a read from the queue told of."""
    found = []
    while len(data) >= 16:
        length, kind = struct.unpack_from("=IH", data)
        if kind == SUBSYSTEM_QUEUE | PACKET:
            attributes = data[20:length]
            while len(attributes) >= 4:
                size, name = struct.unpack_from("=HH", attributes)
                if name & 0x7FFF == PACKET_HEADER:
                    found.append(struct.unpack_from("=I", attributes, 4)[0])
                attributes = attributes[max(4, size + -size % 4) :]
        data = data[max(16, length + -length % 4) :]
    return found


def main() -> None:
    pid, delay_s, loss = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
    with Path(f"/proc/{pid}/ns/net").open() as namespace:
        _enter(namespace.fileno())
    link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    link.bind((0, 0))
    link.send(message(CONFIG, CONFIG_COMMAND, struct.pack("=BBH", BIND, 0, 0)))
    link.send(message(CONFIG, CONFIG_PARAMETERS, struct.pack("!IB", 0, COPY_METADATA)))
    link.send(message(CONFIG, CONFIG_MAX_LENGTH, struct.pack("!I", QUEUE_LENGTH)))
    rule = ["OUTPUT", "!", "-o", "lo", "-j", "NFQUEUE", "--queue-num", str(QUEUE)]
    subprocess.run(["iptables", "-A", *rule], check=True)
    print("the link is slow", flush=True)
    fate = random.Random(1)
    waiting: list[tuple[float, int]] = []
    while True:
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, number = heapq.heappop(waiting)
            _decide(link, number, ACCEPT)
        timeout = max(0.0, waiting[0][0] - now) if waiting else None
        if select.select([link], [], [], timeout)[0]:
            for number in packet_ids(link.recv(1 << 17)):
                if fate.random() < loss:
                    _decide(link, number, DROP)
                else:
                    heapq.heappush(waiting, (time.monotonic() + delay_s, number))


def _decide(link: socket.socket, number: int, verdict: int) -> None:
    link.send(message(VERDICT, VERDICT_HEADER, struct.pack("!I", verdict) + struct.pack("=I", number)))


def _enter(namespace: int) -> None:
    import ctypes  # os.setns came with Python 3.12

    if ctypes.CDLL(None, use_errno=True).setns(namespace, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    main()
