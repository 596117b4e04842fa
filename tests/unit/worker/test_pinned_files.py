"""Files that change on a host are noticed, and no others."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from framefleet.common.protocol import messages as m
from framefleet.worker.pinned_files import Pins
from framefleet.worker.slots.slot_messages import Broken, Looked
from framefleet.worker.video.file_stamp import CHANGED, Stamp, has_stable_inodes
from tests.helpers.core_bench import info

LEASE = m.Lease(3, 1)
EXTRACT = m.Extract(
    path=b"a.mp4",
    size_bytes=1,
    video="a.mp4",
    folder="a",
    start=0,
    stop=None,
    fingerprint=info().fingerprint,
    duration_s=1.0,
)
PROBE = m.Probe(files=[(0, b"a.mp4", 1), (1, b"b.mp4", 1)])


def test_a_file_is_what_it_was_when_it_was_seen_first() -> None:
    pins = Pins()
    assert pins.is_first(b"a", Stamp(1, 5))
    assert pins.is_first(b"a", Stamp(1, 5))
    assert not pins.is_first(b"a", Stamp(1, 6))
    assert not pins.is_first(b"a", Stamp(2, 5))
    assert pins.is_first(b"a", Stamp(1, 5))


def test_the_files_that_were_not_seen_for_long_are_forgotten() -> None:
    pins = Pins(2)
    for path in (b"a", b"b", b"a", b"c"):
        assert pins.is_first(path, Stamp(1, 1))
    assert pins.is_first(b"b", Stamp(1, 2))
    assert pins.is_first(b"c", Stamp(1, 1))


@pytest.mark.parametrize("kind", ["input", "list", "read", "error", "contradiction"])
def test_a_failure_at_a_file_that_changed_is_that_change(kind: m.FailedKind) -> None:
    pins = Pins()
    failed = m.Failed(lease=LEASE, kind=kind, text="x", found=info().fingerprint)
    assert pins.compared(EXTRACT, Broken(failed, Stamp(1, 1))) == failed
    assert pins.compared(EXTRACT, Broken(failed, None)) == failed
    changed = pins.compared(EXTRACT, Broken(failed, Stamp(1, 2)))
    assert changed == m.Failed(lease=LEASE, kind="changed", text=CHANGED)


def test_a_probe_of_a_file_that_changed_is_refused() -> None:
    pins = Pins()
    pins.is_first(b"b.mp4", Stamp(1, 1))
    probed = m.Probed(lease=LEASE, found=[(0, info()), (1, info())], refused=[], seconds=0.0)
    told = pins.compared(PROBE, Looked(probed, [Stamp(7, 7), Stamp(1, 2)]))
    assert told == msgspec.structs.replace(probed, found=[(0, info())], refused=[(1, CHANGED)])
    assert not pins.is_first(b"a.mp4", Stamp(7, 8))


def test_inodes_count_where_they_last(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "36 35 98:0 / /data rw,noatime master:1 - ext4 /dev/sda rw\n"
        "37 35 0:52 / /mnt/s3\\040x rw - fuse.mountpoint-s3 mountpoint-s3 rw\n"
        "38 35 0:53 / /mnt/ntfs rw - fuseblk /dev/sdb rw\n"
        "39 35 0:54 / /nfs rw shared:7 - nfs4 host:/x rw\n"
    )
    stable = [
        has_stable_inodes(os.makedev(*numbers), mounts) for numbers in ((98, 0), (0, 52), (0, 53), (0, 54))
    ]
    assert stable == [True, False, True, True]
    assert has_stable_inodes(os.makedev(1, 1), tmp_path / "none")
