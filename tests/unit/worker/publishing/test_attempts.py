"""When a host says that an extraction is committed: a power cut must leave it as it is."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from framefleet.common.host.layout import Layout
from framefleet.common.media import FrameRow, UnitResult
from framefleet.common.protocol import messages as m
from framefleet.worker.publishing.attempts import Attempts, Held, done_of
from framefleet.worker.publishing.publisher import Publisher
from framefleet.worker.slots.slot_messages import Staged
from framefleet.worker.staging import staging_folder
from framefleet.worker.video.file_stamp import Stamp
from tests.helpers.core_bench import info

NOW = 1e9  # long after anything was committed


class Disk:
    """A file system whose syncing takes until the test lets it end."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gate = threading.Event()
        self.error: OSError | None = None
        self.synced: list[set[str]] = []
        monkeypatch.setattr("framefleet.worker.publishing.attempts.sync_filesystem", self.sync)

    def sync(self, folder: Path) -> None:
        self.synced.append({path.name for path in (folder / "frames").rglob("*.jpg")})
        assert self.gate.wait(60)
        if self.error is not None:
            raise self.error


class Host:
    """A shelf, and what it has said."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root)
        self.said: list[m.FromHost] = []
        self.shelf = Attempts(Publisher(self.layout, "a"), self.layout, say=self.said.append)

    def commit(self, unit: int) -> m.Lease:
        lease = m.Lease(unit, 1)
        folder = staging_folder(self.layout, lease)
        folder.mkdir(parents=True)
        (folder / "0.jpg").write_bytes(b"x")
        row = FrameRow(
            sample=0, target_s=0.0, pts=0, time_base="1/1", time_s=0.0, keyframe=True, pix_fmt="yuv420p",
            width=1, height=1, rotation=0, interlaced=False, file="0.jpg", bytes=1, sha256="00", status="ok",
        )  # fmt: skip
        task = m.Extract(
            path=b"a.mp4",
            size_bytes=1,
            video="a.mp4",
            folder="a",
            start=unit,
            stop=None,
            fingerprint=info().fingerprint,
            duration_s=1.0,
        )
        result = UnitResult(rows=[row], decoded=1, roll_in=0, errors=0, saw_end=True)
        self.shelf.stage(Held(task, result, done_of(Staged(lease, None, result, Stamp(1, 1))), 0.0))
        self.shelf.commit(m.Commit(lease=lease, first_sample=unit))
        self.said.clear()
        return lease

    def step(self) -> None:
        self.shelf.publish(NOW, idle_since=0.0)

    def end_sync(self, disk: Disk) -> None:
        disk.gate.set()
        assert self.shelf._sync is not None
        self.shelf._sync._thread.join()

    def files(self) -> set[str]:
        return {path.name for path in (self.layout.output / "frames").rglob("*.jpg")}

    def rows(self) -> int:
        return sum(pq.read_metadata(path).num_rows for path in self.layout.manifest.glob("*.parquet"))


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    disk = Disk(monkeypatch)
    yield disk
    disk.gate.set()


def test_committed_is_said_and_rows_are_written_when_the_files_are_on_the_disk(
    host: Host, disk: Disk
) -> None:
    first = host.commit(0)
    host.step()
    second = host.commit(1)
    host.step()
    host.step()
    assert (host.said, host.rows()) == ([], 0), "the disk has not answered"
    assert host.files() == {"00000000.jpg"}, "what comes meanwhile waits for the next time"
    assert host.shelf.leases() == [first, second]
    host.end_sync(disk)
    host.step()
    assert host.said == [m.Committed(leases=[first])]
    assert host.rows() == 1
    host.end_sync(disk)
    host.step()
    assert host.said == [m.Committed(leases=[first]), m.Committed(leases=[second])]
    assert host.rows() == 2
    assert disk.synced == [{"00000000.jpg"}, {"00000000.jpg", "00000001.jpg"}]


def test_what_the_disk_does_not_take_has_failed_and_leaves_nothing(host: Host, disk: Disk) -> None:
    lease = host.commit(0)
    host.step()
    later = host.commit(1)
    disk.error = OSError(errno.EIO, "Input/output error")
    host.end_sync(disk)
    disk.error = None
    host.step()
    (failed,) = host.said
    assert isinstance(failed, m.Failed)
    assert (failed.lease, failed.kind) == (lease, "output")
    host.end_sync(disk)
    host.step()
    assert host.said[1:] == [m.Committed(leases=[later])]
    assert (host.files(), host.rows()) == ({"00000001.jpg"}, 1)


def test_what_is_discarded_while_the_disk_works_is_not_committed(host: Host, disk: Disk) -> None:
    lease = host.commit(0)
    host.step()
    host.shelf.discard(lease)
    host.end_sync(disk)
    host.step()
    assert (host.said, host.files(), host.rows()) == ([], set(), 0)


def test_the_end_waits_for_the_disk(host: Host, disk: Disk) -> None:
    lease = host.commit(0)
    host.step()
    later = host.commit(1)
    ended = threading.Thread(target=host.shelf.close)
    ended.start()
    assert (host.said, host.rows()) == ([], 0)
    disk.gate.set()
    ended.join()
    assert host.said == [m.Committed(leases=[lease]), m.Committed(leases=[later])]
    assert host.rows() == 2
