"""``python -m benchmarks.dispatch_fleet``: hosts that do nothing, on real sockets, as cheaply as can be.

One process holds the DEALER sockets of all hosts. Probes are answered with a video that need not exist,
extractions with ``Done`` at once (or after ``hold_s``), commits with ``Committed`` in batches. Answers are
put together from bytes that were encoded beforehand, and of what the coordinator says little more than probes
is decoded. It ends with the job, and prints what it measured as JSON (``Told``).
"""

from __future__ import annotations

import heapq
import os
import random
import resource
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import zmq

from benchmarks.dispatch_task import Fleet, Told
from framefleet.common.job.spec import read_spec
from framefleet.common.media import Timing, VideoInfo
from framefleet.common.protocol import messages as m
from framefleet.coordinator.simulation.hosts import LIBRARIES

COMMIT_BATCH: Final = (
    16  # attempts that a host publishes at once: what 16 slots have done after 3 s of units of 3 s
)
COMMIT_WAIT_S: Final = 0.5  # and no attempt waits longer than this
BEAT_S: Final = 5.0
SETTLED: Final = (0.1, 0.9)  # shares of the units between which time, CPU and latency are taken
UNIT_SECONDS: Final = 1.0  # what a unit claims to have taken: long enough to be learned from
HOLD_SPREAD: Final = (0.5, 1.5)  # times ``hold_s``, so that slots do not become free together
TICKS: Final = 15_360  # a second of the videos, and the distance of their keyframes
PERCENTILES: Final = (50, 90, 99, 99.9)

ASSIGN: Final = m.encode(m.Assign(lease=m.Lease(0, 1), task=m.Probe(files=[(0, b"x", 0)])))
LEASE_AT: Final = ASSIGN.index(b"\xa5lease") + 6
TASK: Final = b"\xa4task"
PROBE: Final = b"\xa5probe"
STOP, BEHIND_STOP = b"\xa4stop", b"\xa9first_pts"


class Host:
    """One host: its socket and what it has to do."""

    __slots__ = ("asked_at", "committing", "held", "name", "since", "socket")

    def __init__(self, name: str, socket: zmq.Socket[bytes]) -> None:
        self.name = name
        self.socket = socket
        self.asked_at: deque[float] = deque()
        """When each slot became free."""
        self.committing: list[bytes] = []
        """Leases that are to be said ``Committed``."""
        self.since = 0.0
        """When the first of them was added."""
        self.held: dict[bytes, bytes] = {}
        """Running leases."""


class Simulation:
    """All hosts of the fleet; ``run`` returns when the coordinator has ended the job."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._keys = read_spec(Path(fleet.spec)).link_keys()
        self._context = zmq.Context()
        self._context.set(zmq.MAX_SOCKETS, fleet.hosts + 16)
        self._poller = zmq.Poller()
        self._hosts: dict[zmq.Socket[bytes], Host] = {}
        self._due: list[tuple[float, int, Host, bytes, bytes]] = []
        self._random = random.Random(1)
        self._sent = 0
        self._done = 0
        self._latencies: list[float] = []
        self._marks: list[tuple[float, float, float, float]] = []
        self._marks_at = [round(share * fleet.units) for share in SETTLED]
        self._ended = 0
        self._before, self._after = _cut_around_lease(
            m.Done(
                lease=m.Lease(0, 1), stop=None, frames=5, suspect=0, bytes=500_000, decoded=30, errors=0,
                saw_end=False, seconds=UNIT_SECONDS, notes=[], shown=30,
                timing=Timing(3, 42559.3363, 0.0021, 0.1, 1.0783, 0.0461, 0.2769, 0.069),
            )
        )  # fmt: skip
        length = fleet.units_per_video
        self._info = VideoInfo(
            container="mov,mp4", codec="h264", width=1920, height=1080, time_base_num=1, time_base_den=TICKS,
            first_pts=0, duration_s=float(length), frame_rate=30.0,
            keyframes=[second * TICKS for second in range(length)], seekable=True, size_bytes=10**6,
            checksum=16 * "0",
        )  # fmt: skip

    def run(self) -> Told:
        """Join, work until ``End`` has come to every host, and tell."""
        for number in range(self._fleet.hosts):
            self._join(f"host-{number:05}")
        beat_at = time.monotonic() + BEAT_S
        while self._ended < self._fleet.hosts:
            if os.getppid() != self._fleet.parent:
                raise SystemExit("the benchmark has died")
            for socket, _ in self._poller.poll(self._timeout_ms()):
                self._hear(self._hosts[socket])
            now = time.monotonic()
            while self._due and self._due[0][0] <= now:
                _, _, host, lease, stop = heapq.heappop(self._due)
                self._finish(host, lease, stop, now)
            for host in self._hosts.values():
                if host.committing and now - host.since > COMMIT_WAIT_S:
                    self._say_committed(host)
            if now >= beat_at:
                beat_at = now + BEAT_S
                for host in self._hosts.values():
                    self._beat(host)
        for socket in self._hosts:
            socket.close()
        self._context.term()
        return self._told()

    def _timeout_ms(self) -> int:
        if not self._due:
            return 50
        return max(0, min(50, int(1000 * (self._due[0][0] - time.monotonic()))))

    def _join(self, name: str) -> None:
        socket = self._context.socket(zmq.DEALER)
        socket.setsockopt(zmq.CURVE_SERVERKEY, self._keys.server_public.encode())
        socket.setsockopt(zmq.CURVE_PUBLICKEY, self._keys.client_public.encode())
        socket.setsockopt(zmq.CURVE_SECRETKEY, self._keys.client_secret.encode())
        socket.setsockopt(zmq.SNDHWM, 0)
        socket.setsockopt(zmq.RCVHWM, 0)
        socket.setsockopt(zmq.LINGER, 2000)
        socket.connect(self._fleet.endpoint)
        self._poller.register(socket, zmq.POLLIN)
        self._hosts[socket] = Host(name, socket)
        hello = m.Hello(
            version=m.PROTOCOL_VERSION,
            host=name,
            incarnation=name,
            slots=self._fleet.slots,
            running=[],
            libraries=LIBRARIES,
        )
        socket.send(m.encode(hello))

    # ---- one host -----------------------------------------------------------------------------------

    def _hear(self, host: Host) -> None:
        receive = host.socket.recv
        while True:
            try:
                data = receive(zmq.NOBLOCK)
            except zmq.Again:
                return
            # all messages begin with a map of 1 to 15 fields, of which "type" is the first
            kind = data[6:11]
            if kind == b"\xa6Assi":
                self._on_assign(host, data)
            elif kind == b"\xa6Comm":
                end = data.find(b"\xacfirst_sample", LEASE_AT)
                if not host.committing:
                    host.since = time.monotonic()
                host.committing.append(data[LEASE_AT:end])
                if len(host.committing) >= COMMIT_BATCH:
                    self._say_committed(host)
            else:
                self._on_other(host, data)

    def _on_assign(self, host: Host, data: bytes) -> None:
        now = time.monotonic()
        self._latencies.append(now - host.asked_at.popleft())
        end = data.find(TASK, LEASE_AT)
        lease = data[LEASE_AT:end]
        if data.find(PROBE, end, end + 24) >= 0:
            self._answer_probe(host, data)
            return
        behind = data.rfind(BEHIND_STOP)
        stop = data[data.rfind(STOP, end, behind) : behind]
        if self._fleet.hold_s:
            host.held[lease] = lease
            self._sent += 1
            due_at = now + self._fleet.hold_s * self._random.uniform(*HOLD_SPREAD)
            heapq.heappush(self._due, (due_at, self._sent, host, lease, stop))
        else:
            self._finish(host, lease, stop, now)

    def _finish(self, host: Host, lease: bytes, stop: bytes, now: float) -> None:
        host.held.pop(lease, None)
        host.asked_at.append(now)
        host.socket.send(self._before + lease + stop + self._after)
        self._done += 1
        if self._done in self._marks_at:
            self._mark(now)

    def _answer_probe(self, host: Host, data: bytes) -> None:
        message = m.decode_from_coordinator(data)
        assert isinstance(message, m.Assign)
        assert isinstance(message.task, m.Probe)
        found = [(index, self._info) for index, *_ in message.task.files]
        host.asked_at.append(time.monotonic())
        host.socket.send(m.encode(m.Probed(lease=message.lease, found=found, refused=[], seconds=0.01)))

    def _on_other(self, host: Host, data: bytes) -> None:
        match m.decode_from_coordinator(data):
            case m.Welcome():
                host.asked_at.extend([time.monotonic()] * self._fleet.slots)
                host.socket.send(m.encode(m.Ready(slots=self._fleet.slots)))
            case m.End():
                host.socket.send(m.encode(m.Bye(reason="")))
                self._ended += 1
            case m.Refuse(reason=reason):
                raise SystemExit(f"{host.name} was refused: {reason}")

    def _say_committed(self, host: Host) -> None:
        leases = [msgspec.msgpack.decode(lease, type=m.Lease) for lease in host.committing]
        host.committing.clear()
        host.socket.send(m.encode(m.Committed(leases=leases)))

    def _beat(self, host: Host) -> None:
        leases = [msgspec.msgpack.decode(lease, type=m.Lease) for lease in (*host.held, *host.committing)]
        units = [m.UnitProgress(lease.unit, lease.attempt, 0, 0, 0.0) for lease in leases[: m.MAX_SLOTS]]
        host.socket.send(m.encode(m.Progress(units=units)))

    # ---- what was measured --------------------------------------------------------------------------

    def _mark(self, now: float) -> None:
        process = self._fleet.coordinator
        cpu = cpu_s(Path("/proc", str(process)))
        own = cpu_s(Path("/proc", str(process), "task", str(process)))
        self._marks.append((now, cpu, cpu - own, time.process_time()))
        if len(self._marks) == 1:
            self._latencies.clear()
        else:
            self._latencies = _percentiles(self._latencies)

    def _told(self) -> Told:
        if len(self._marks) < len(SETTLED):
            raise SystemExit(f"the job ended after {self._done} units of {self._fleet.units}")
        (begin, cpu, io, own), (end, cpu_after, io_after, own_after) = self._marks
        units = self._marks_at[1] - self._marks_at[0]
        return Told(
            units=units,
            is_paced=self._fleet.hold_s > 0,
            seconds=end - begin,
            coordinator_cpu_s=cpu_after - cpu,
            coordinator_io_s=io_after - io,
            fleet_cpu_s=own_after - own,
            latency_s=self._latencies[: len(PERCENTILES)],
        )


def cpu_s(task: Path) -> float:
    """User and system seconds so far of a process with all its threads, or of one thread, by its folder in
    /proc."""
    with open(task / "stat", "rb") as file:  # noqa: PTH123 - this is timed
        fields = file.read().rpartition(b")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _percentiles(values: Sequence[float]) -> list[float]:
    ordered = sorted(values)
    return [ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] for percent in PERCENTILES]


def _cut_around_lease(message: m.Done) -> tuple[bytes, bytes]:
    """The encoded message before its lease and behind its stop, which is None."""
    data = m.encode(message)
    before, found, after = data.partition(msgspec.msgpack.encode(message.lease) + STOP + b"\xc0")
    assert found
    return before, after


def main() -> None:
    """Take part in the job that the argument (JSON, ``Fleet``) tells of."""
    fleet = msgspec.json.decode(sys.argv[1], type=Fleet)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(msgspec.json.encode(Simulation(fleet).run()).decode(), flush=True)


if __name__ == "__main__":
    main()
