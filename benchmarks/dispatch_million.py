"""``python -m benchmarks.dispatch_million``: the memory and time that a job of a million videos takes.

A tree of empty files is listed for real, and the coordinator's server runs the whole job over them,
journal, failures and summary included. Only the sockets are left out: ``Hosts`` stands in for the link and
answers each message as hosts would. It prints what it measured as JSON (``Listed``).
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.dispatch_task import Listed
from framefleet.common.host.layout import Layout
from framefleet.common.job.selection import Selection
from framefleet.common.job.spec import JobSpec, SamplingOptions
from framefleet.common.media import VideoInfo
from framefleet.common.protocol import messages as m
from framefleet.common.protocol.transport import MESSAGES_PER_WAKE, CoordinatorLink
from framefleet.common.status import Summary
from framefleet.coordinator.catalogue import list_videos, select
from framefleet.coordinator.core.core import Core
from framefleet.coordinator.journal import Journal
from framefleet.coordinator.server import Server
from framefleet.coordinator.simulation.hosts import LIBRARIES

FILES_PER_FOLDER: Final = 1000
HOSTS: Final = 1000
SLOTS: Final = 16
COMMIT_BATCH: Final = 16
BROKEN: Final = 100  # every so many files is no video
TICKS: Final = 15_360
SECONDS: Final = 20  # of each video, a keyframe in each two: one unit
BEAT_MESSAGES: Final = 50_000  # between two heartbeats of a host: 5 s at 10,000 units a second


def make_tree(root: Path, files: int) -> None:
    """``files`` empty files, so many to a folder."""
    for first in range(0, files, FILES_PER_FOLDER):
        folder = root / f"camera-{first // FILES_PER_FOLDER:05}"
        folder.mkdir(parents=True)
        inside = os.open(folder, os.O_RDONLY)
        for number in range(first, min(files, first + FILES_PER_FOLDER)):
            os.close(os.open(f"recording-{number:08}.mp4", os.O_CREAT | os.O_WRONLY, dir_fd=inside))
        os.close(inside)


class Hosts(CoordinatorLink):
    """A link whose other end answers at once: all hosts of the job."""

    def __init__(self) -> None:  # it has no socket, so nothing of a link's beginning applies
        self._answers: deque[tuple[bytes, bytes]] = deque()
        self._committing: dict[bytes, list[m.Lease]] = {}
        self._staged: dict[bytes, set[m.Lease]] = {}
        self._until_beat = BEAT_MESSAGES
        self.names = [f"host-{number:05}" for number in range(HOSTS)]
        for name in self.names:
            self._say(
                name.encode(),
                m.Hello(
                    version=m.PROTOCOL_VERSION,
                    host=name,
                    incarnation="1",
                    slots=SLOTS,
                    running=[],
                    libraries=LIBRARIES,
                ),
            )

    def wait(self, timeout_s: float) -> set[int]:
        if not self._answers:  # nobody has anything to do but to publish
            for peer in self._committing:
                self._publish(peer)
        return set()

    def receive(self) -> Iterable[tuple[bytes, bytes]]:
        for _ in range(min(MESSAGES_PER_WAKE, len(self._answers))):
            yield self._answers.popleft()
            self._until_beat -= 1
        if self._until_beat < 0:
            self._until_beat = BEAT_MESSAGES
            for name in self.names:
                staged = self._staged.get(name.encode(), ())
                units = [m.UnitProgress(lease.unit, lease.attempt, 0, 0, 0.0) for lease in staged]
                self._say(name.encode(), m.Progress(units=units))

    def send(self, peer: bytes, *messages: bytes) -> bool:
        for data in messages:
            self._answer(peer, data)
        return True

    def _answer(self, peer: bytes, data: bytes) -> None:
        match m.decode_from_coordinator(data):
            case m.Welcome():
                self._say(peer, m.Ready(slots=SLOTS))
            case m.Assign(lease=lease, task=m.Probe(files=files)):
                self._say(
                    peer,
                    m.Probed(
                        lease=lease,
                        found=[(index, _info(index)) for index, *_ in files if index % BROKEN],
                        refused=[(index, "not a video") for index, *_ in files if not index % BROKEN],
                        seconds=0.05,
                    ),
                )
            case m.Assign(lease=lease):
                self._staged.setdefault(peer, set()).add(lease)
                self._say(
                    peer,
                    m.Done(
                        lease=lease, stop=None, frames=100, suspect=0, bytes=5_000_000, decoded=600, errors=0,
                        saw_end=True, seconds=1.3, notes=[], shown=600,
                    ),
                )  # fmt: skip
            case m.Commit(lease=lease):
                self._staged[peer].discard(lease)
                leases = self._committing.setdefault(peer, [])
                leases.append(lease)
                if len(leases) >= COMMIT_BATCH:
                    self._publish(peer)
            case m.End():
                self._say(peer, m.Bye(reason=""))

    def _publish(self, peer: bytes) -> None:
        leases = self._committing[peer]
        if leases:
            self._say(peer, m.Committed(leases=leases))
            leases.clear()

    def _say(self, peer: bytes, message: m.Message) -> None:
        self._answers.append((peer, m.encode(message)))


def _info(index: int) -> VideoInfo:
    first = index % 7
    return VideoInfo(
        container="mov,mp4,m4a,3gp,3g2,mj2", codec="h264", width=640, height=360, time_base_num=1,
        time_base_den=TICKS, first_pts=first, duration_s=SECONDS + 1e-6 * index, frame_rate=30.0,
        keyframes=[first + second * TICKS for second in range(0, SECONDS, 2)], seekable=True,
        size_bytes=10**6 + index, checksum=f"{index:016x}",
    )  # fmt: skip


def measure(root: Path) -> Listed:
    """List the videos of the tree at ``root`` (a host's) and run their job."""
    layout = Layout(root)
    spec = JobSpec(job_id="million", sampling=SamplingOptions(fps="5"))
    begun, cpu = time.monotonic(), time.process_time()
    selection = Selection(spec.sampling)
    listing = select(list_videos(layout.videos), selection)
    videos, problems = listing.videos, listing.problems
    listed, listed_cpu, listed_rss = time.monotonic(), time.process_time(), peak_bytes()
    hosts = Hosts()
    journal_path = layout.output / "job" / "journal.jsonl"
    with Journal(journal_path) as journal:
        core = Core(
            spec, selection=selection, videos=videos, problems=problems, expected=hosts.names, now=begun
        )
        files = len(videos)
        del listing, videos
        code = Server(core, hosts, layout, journal, should_stop=lambda: None).run()
    summary = msgspec.json.decode((layout.output / "job" / "summary.json").read_bytes(), type=Summary)
    if code or summary.outcome != "completed" or summary.videos_done + summary.failures != files:
        raise SystemExit(f"exit code {code}, {summary.outcome}, {summary.videos_done} of {files} videos")
    return Listed(
        videos=files,
        units=summary.units,
        list_s=listed - begun,
        list_cpu_s=listed_cpu - cpu,
        list_peak_bytes=listed_rss,
        job_s=time.monotonic() - listed,
        job_cpu_s=time.process_time() - listed_cpu,
        peak_bytes=peak_bytes(),
        journal_bytes=journal_path.stat().st_size,
    )


def peak_bytes() -> int:
    """The most resident memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Measure the tree of the argument; status lines go to standard error."""
    out = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    told = measure(Path(sys.argv[1]))
    os.write(out, msgspec.json.encode(told) + b"\n")


if __name__ == "__main__":
    main()
