"""Hostile traffic against a live coordinator: what may come over its socket, from whom, and reproducibly.

The folders of a running local job tell where the coordinator listens, with which keys, and, in its journal,
which hosts and leases there are; an insider could know as much.
"""

from __future__ import annotations

import contextlib
import json
import random
import socket
import struct
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import zmq

from framefleet.common.job.spec import read_spec
from framefleet.common.media import MAX_BYTES, MAX_COUNT, MAX_TICK, Timing, VideoInfo
from framefleet.common.protocol import messages as m
from framefleet.common.protocol.keys import JobKeys
from framefleet.common.protocol.transport import make_keys
from framefleet.coordinator.simulation.hosts import LIBRARIES
from tests.campaigns.recorded_session import record_session

PEERS = 8
PEER_FRAMES = 1000  # that a peer with the job's keys sends before it is replaced by a new one
STUCK_S = 2.0  # libzmq reads nothing from a second peer that claims an identity in use
HELD_CONNECTIONS = 150  # more than the coordinator keeps of those that say nothing
REFRESH_S = 0.3
SHARE_RAW, SHARE_STRANGERS = 0.04, 0.003
EDGES = (
    0,
    1,
    2,
    7,
    255,
    4096,
    2**31,
    2**32,
    MAX_COUNT,
    MAX_COUNT + 1,
    MAX_BYTES,
    MAX_TICK,
    2**64 - 1,
    -1,
    -(2**63),
)


@dataclass
class Target:
    """A running job, seen from outside."""

    root: Path
    """The primary host's tree."""
    endpoint: str = field(init=False)
    keys: JobKeys = field(init=False)
    hosts: list[str] = field(init=False)
    incarnations: dict[str, list[str]] = field(default_factory=dict)
    leases: list[m.Lease] = field(default_factory=list)
    _read: int = 0
    _read_at: float = float("-inf")

    def __post_init__(self) -> None:
        spec = read_spec(self.root / "processing" / "input" / "job" / "job.json")
        assert spec.endpoint is not None
        self.endpoint, self.keys = spec.endpoint, spec.link_keys()
        self.hosts = json.loads((self.root / "config" / "resourceconfig.json").read_bytes())["hosts"]

    def refresh(self) -> None:
        """Read what the journal tells that is new."""
        if time.monotonic() - self._read_at < REFRESH_S:
            return
        self._read_at = time.monotonic()
        with contextlib.suppress(OSError):
            data = (self.root / "processing" / "output" / "job" / "journal.jsonl").read_bytes()
            whole = data[self._read : data.rfind(b"\n") + 1]
            self._read += len(whole)
            for entry in map(json.loads, whole.splitlines()):
                if entry["event"] == "host_up":
                    self.incarnations.setdefault(entry["host"], []).append(entry["incarnation"])
                elif entry["event"] == "leased":
                    self.leases.append(m.Lease(entry["unit"], entry["attempt"]))


class Forger:
    """Makes frames: noise, real messages, real ones that were tampered with, and lies in due form."""

    def __init__(self, target: Target, chance: random.Random) -> None:
        self._target = target
        self._chance = chance
        self._real: list[bytes] = []

    def frame(self) -> bytes:
        """One frame of any kind."""
        chance = self._chance
        kind = chance.random()
        if kind < 0.15:
            return chance.randbytes(int(chance.expovariate(1 / 60)))
        if kind < 0.17:
            return chance.choice(
                [b"\x91", b"\x81\xa1a", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xc1"]
            ) * (chance.randrange(1, 3000))
        if kind < 0.30:
            return self._odd_map()
        if kind < 0.45 or not self._real:
            frame = m.encode(self.message())
            if len(self._real) < 500:
                self._real.append(frame)
            else:
                self._real[chance.randrange(500)] = frame
            return frame
        frame = chance.choice(self._real)
        if kind < 0.65:
            return frame
        if kind < 0.75:
            return frame[: chance.randrange(len(frame))]
        tampered = bytearray(frame)
        for _ in range(chance.randrange(1, 4)):
            tampered[chance.randrange(len(tampered))] = chance.randrange(256)
        return bytes(tampered) if kind < 0.95 else bytes(tampered) + chance.choice(self._real)

    def message(self) -> m.FromHost:
        """A message in due form, about the job that runs."""
        chance, lease = self._chance, self._lease
        match chance.randrange(9):
            case 0:
                host = chance.choice([*self._target.hosts, "algo-99", "é" * 40, "../x"])
                known = self._target.incarnations.get(host, [])
                return m.Hello(
                    version=chance.choice([m.PROTOCOL_VERSION] * 9 + [0]),
                    host=host,
                    incarnation=chance.choice([*known, "0" * 32, f"{chance.getrandbits(128):032x}"]),
                    slots=chance.choice([1, 2, m.MAX_SLOTS]),
                    running=[lease() for _ in range(chance.choice([0, 1, 3, 300]))],
                    libraries=LIBRARIES,
                )
            case 1:
                return m.Ready(slots=chance.choice([0, 1, m.MAX_SLOTS]))
            case 2:
                units = [self._progress() for _ in range(chance.choice([0, 1, 5]))]
                return m.Progress(units=units)
            case 3:
                found = [(self._count(), self._info()) for _ in range(chance.choice([0, 1, 3]))]
                return m.Probed(lease=lease(), found=found, refused=[(self._count(), "no")], seconds=1.0)
            case 4:
                return m.Done(
                    lease=lease(), stop=chance.choice([None, self._count()]), frames=self._count(),
                    suspect=self._count(), bytes=self._count(), decoded=self._count(), errors=self._count(),
                    saw_end=chance.random() < 0.5, seconds=chance.choice([0.0, 1.0, 1e9]), notes=["x" * 4096],
                    shown=self._count(), timing=chance.choice([None, Timing(4096, 1e9, write_s=1e9)]),
                )  # fmt: skip
            case 5:
                return m.Shrunk(lease=lease(), stop=chance.choice([None, self._count()]))
            case 6:
                kind = chance.choice(["input", "error", "crash", "output", "list"])
                return m.Failed(lease=lease(), kind=kind, text="x" * 100)  # type: ignore[arg-type]
            case 7:
                trimmed = [m.Trimmed(lease(), self._count(), self._count())]
                return m.Committed(leases=[lease() for _ in range(3)], trimmed=trimmed)
            case _:
                return m.Bye(reason="x")

    def _odd_map(self) -> bytes:
        """A message's map with a value or two of another type or beyond all bounds."""
        chance = self._chance
        fields: Any = msgspec.msgpack.decode(m.encode(self.message()))
        for _ in range(chance.randrange(1, 3)):
            values: list[Any] = [None, float("nan"), float("inf"), "x", b"x", [], {}, True]
            value = chance.choice([*values, *EDGES])
            fields[chance.choice([*fields, "more"])] = value
        return msgspec.msgpack.encode(fields)

    def _lease(self) -> m.Lease:
        chance, leases = self._chance, self._target.leases
        if leases and chance.random() < 0.7:
            lease = chance.choice(leases[-30:])
            return m.Lease(lease.unit, max(1, lease.attempt + chance.choice([-1, 0, 0, 0, 1])))
        return m.Lease(self._count(), max(1, self._count()))

    def _progress(self) -> m.UnitProgress:
        lease = self._lease()
        return m.UnitProgress(lease.unit, lease.attempt, self._count(), self._count(), 1.0)

    def _info(self) -> VideoInfo:
        chance, most = self._chance, 2**31 - 1
        return VideoInfo(
            container="mp4", codec="h264", width=chance.choice([1, most]), height=1, time_base_num=1,
            time_base_den=chance.choice([1, most]), first_pts=-(2**63), duration_s=1e9, frame_rate=1e6,
            keyframes=[5, 4, 3], seekable=True, size_bytes=0, checksum="x",
        )  # fmt: skip

    def _count(self) -> int:
        chance = self._chance
        return chance.choice([0, 1, 2, chance.randrange(100), chance.randrange(MAX_COUNT), MAX_COUNT])


class Attack:
    """Throws frames at a target from peers of every kind."""

    def __init__(self, target: Target, *, seed: int) -> None:
        self._target = target
        self._chance = random.Random(seed)
        self._forger = Forger(target, self._chance)
        self._context = zmq.Context()
        self._peers: list[tuple[zmq.Socket[bytes], int, float]] = []
        self._strangers: list[zmq.Socket[bytes]] = []
        self._held: list[socket.socket] = []
        self._recorded: list[bytes] = []
        parts = urlsplit(target.endpoint)
        assert parts.hostname is not None
        assert parts.port is not None
        self._address = parts.hostname, parts.port
        self.thrown: Counter[str] = Counter()

    def throw(self, count: int) -> int:
        """Throw ``count`` frames (a message of many parts is one), or fewer if the coordinator ends.

        Returns: how many it were.
        """
        before = self.thrown.total()
        if not self._recorded:
            self._recorded = record_session(self._target.endpoint, self._target.keys, self._forger.frame())
        while (thrown := self.thrown.total() - before) < count:
            if thrown % 100 == 0:
                self._target.refresh()
            kind = self._chance.random()
            try:
                if kind < SHARE_STRANGERS:
                    self._stranger()
                elif kind < SHARE_STRANGERS + SHARE_RAW:
                    self._raw()
                else:
                    self._insider()
            except (ConnectionRefusedError, FileNotFoundError):
                break  # the job is over
        return self.thrown.total() - before

    def close(self) -> None:
        for connection in self._held:
            connection.close()
        for peer, *_ in self._peers:
            peer.close(0)
        self._context.destroy(0)

    def __enter__(self) -> Attack:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- peers with the job's keys ------------------------------------------------------------------

    def _insider(self) -> None:
        """Send something from one of the peers; one that is stuck is replaced."""
        chance = self._chance
        while len(self._peers) < PEERS:
            dealer = self._dealer(self._target.keys, self._identity())
            self._peers.append((dealer, 0, time.monotonic()))
        place = chance.randrange(PEERS)
        peer, sent, came_at = self._peers[place]
        frames = [self._forger.frame()]
        shape = chance.random()
        if shape < 0.03:
            frames += [self._forger.frame() for _ in range(chance.randrange(1, 8))]
        elif shape < 0.0301:
            frames = [b"x"] * 20_000
        elif shape < 0.0303:
            frames = [chance.randbytes(chance.choice([2**20, m.MAX_MESSAGE_BYTES, m.MAX_MESSAGE_BYTES + 1]))]
        try:
            peer.send_multipart(frames, zmq.NOBLOCK)
        except zmq.Again:
            if not peer.poll(1, zmq.POLLOUT) and time.monotonic() - came_at > STUCK_S:
                socket.create_connection(self._address, 1).close()  # or it is refused: the job is over
                peer.close(0)
                del self._peers[place]
            return
        self.thrown["with the keys"] += 1
        if place % 2:  # the others never read
            with contextlib.suppress(zmq.Again):
                while True:
                    peer.recv(zmq.NOBLOCK)
        if sent > PEER_FRAMES:
            peer.close(1000)
            del self._peers[place]
        else:
            self._peers[place] = peer, sent + 1, came_at

    def _identity(self) -> bytes:
        chance = self._chance
        hosts = [
            f"{host}/{name}".encode() for host, names in self._target.incarnations.items() for name in names
        ]
        return chance.choice(
            [b"", b"", b"same", b"x" * 255, struct.pack(">BI", 1, chance.getrandbits(32)), *hosts]
        )

    def _dealer(self, keys: JobKeys | None, identity: bytes = b"") -> zmq.Socket[bytes]:
        dealer = self._context.socket(zmq.DEALER)
        dealer.setsockopt(zmq.SNDHWM, 100)
        if identity:
            dealer.setsockopt(zmq.IDENTITY, identity)
        if keys is not None:
            dealer.setsockopt(zmq.CURVE_SERVERKEY, keys.server_public.encode())
            dealer.setsockopt(zmq.CURVE_PUBLICKEY, keys.client_public.encode())
            dealer.setsockopt(zmq.CURVE_SECRETKEY, keys.client_secret.encode())
        dealer.connect(self._target.endpoint)
        return dealer

    # ---- peers without ------------------------------------------------------------------------------

    def _stranger(self) -> None:
        """ZeroMQ without CURVE, with another job's keys, or with the server's key and an unknown client's."""
        other = make_keys()
        half = msgspec.structs.replace(other, server_public=self._target.keys.server_public)
        dealer = self._dealer(self._chance.choice([None, other, half]))
        with contextlib.suppress(zmq.Again):  # it has been refused by now
            dealer.send(self._forger.frame(), zmq.NOBLOCK)
        self.thrown["without the keys"] += 1
        self._strangers.append(dealer)
        if len(self._strangers) > PEERS:
            self._strangers.pop(0).close(0)

    def _raw(self) -> None:
        """Bytes on a connection of our own: noise, greetings, broken handshakes, other people's sessions."""
        chance = self._chance
        connection = socket.create_connection(self._address, 5)
        version = chance.choice([b"\x03\x00", b"\x03\x01", b"\x01", b"\x00", b"\xff\xff"])
        mechanism = chance.choice([b"NULL", b"PLAIN", b"CURVE", chance.randbytes(20)]).ljust(20, b"\0")
        greeting = (
            b"\xff" + bytes(8) + b"\x7f" + version + mechanism + chance.choice([b"\0", b"\x01"]) + bytes(31)
        )
        hello = b"\x04\xc8\x05HELLO\x01\x00" + chance.randbytes(192)
        bursts = {
            "noise": [chance.randbytes(chance.randrange(1, 500))],
            "greeting": [greeting[: chance.randrange(1, 65)], chance.randbytes(50)],
            "half a handshake": [greeting, hello[: chance.choice([10, 100, 202])], chance.randbytes(300)],
            "a huge command": [
                greeting, b"\x06" + struct.pack(">Q", chance.choice([2**20, 2**40, 2**63])), bytes(70_000)
            ],
            "messages at once": [greeting, b"\x00\x05hello" * 50],
            "replay": self._recorded,
        }  # fmt: skip
        kind = chance.choice([*bursts, "silence"])
        with contextlib.suppress(OSError):  # it may hang up on us at any byte
            for burst in bursts.get(kind, []):
                connection.sendall(burst)
                self.thrown["raw bytes"] += 1
        self.thrown["raw bytes"] += kind == "silence"
        if kind in ("silence", "half a handshake") or chance.random() < 0.2:
            self._held.append(connection)
            if len(self._held) > HELD_CONNECTIONS:
                self._held.pop(0).close()
        else:
            connection.close()
