"""A host's images on their way into shards: a row's image is where it says, whatever happens when."""

from __future__ import annotations

import errno
import hashlib
import random
from collections.abc import Collection
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from framefleet.common.host.layout import Layout
from framefleet.common.output import packing
from framefleet.common.output.shard_fields import PackFormat, PackOptions
from framefleet.common.output.shards import Readers
from framefleet.worker.publishing import shard_packer as sealing
from framefleet.worker.publishing.publisher import Publisher
from tests.helpers.packed_outputs import check_packed
from tests.helpers.publishing_hosts import kill_while_publishing, manifest, stage

SMALL = PackOptions(shard_bytes=30)  # an image of ``stage`` has a byte or two, so 15 to 30 of them


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def publish(
    layout: Layout,
    publisher: Publisher,
    unit: int,
    attempt: int = 1,
    *,
    count: int = 10,
    dropped: Collection[int] = (),
) -> None:
    rows = stage(layout, unit, attempt, range(unit * 10, unit * 10 + count), dropped=dropped, bundled=True)
    publisher.add(unit, attempt, "v.mp4", "v.x", rows, 0)
    publisher.flush()


def check_rows(layout: Layout) -> set[int]:
    """Every row's image is where it says, loose or in a shard; the units that have rows."""
    rows = manifest(layout)
    assert len({(row["video"], row["sample"], row["attempt"]) for row in rows}) == len(rows)
    with Readers(layout.output) as readers:
        for row in rows:
            if row["status"] == "duplicate":
                assert (row["file"], row["shard"], row["sha256"], row["bytes"]) == (None, None, None, 0)
                continue
            data = readers.read(row["shard"], row["file"], row["place"], row["bytes"])
            assert hashlib.sha256(data).hexdigest() == row["sha256"]
    return {row["unit"] for row in rows}


@pytest.mark.parametrize("form", ["tar", "parquet"])
def test_all_is_in_shards_of_about_the_size_in_the_end(layout: Layout, form: PackFormat) -> None:
    publisher = Publisher(layout, "algo-1", {"--fps": "5"}, pack=PackOptions(format=form, shard_bytes=30))
    for unit in range(10, 20):
        publish(layout, publisher, unit)
        assert check_rows(layout) == set(range(10, unit + 1))
    publisher.close()
    names = check_packed(layout.output)
    assert set(names) == {f"v%2Ex/{sample:08d}.jpg" for sample in range(100, 200)}
    shards = sorted(path.name for path in (layout.output / "shards").iterdir())
    assert len(shards) > 3
    assert shards[0] == f"algo-1-000000.{form}"
    sizes = [sum(row["bytes"] for row in manifest(layout) if row["shard"] == f"shards/{s}") for s in shards]
    assert max(sizes) <= 60
    assert not (layout.output / "frames").exists()
    for part in (layout.output / "manifest").iterdir():
        assert b"framefleet_options" in pq.read_schema(part).metadata


def test_one_large_unit_is_several_even_shards(layout: Layout) -> None:
    publisher = Publisher(layout, "algo-1", pack=SMALL)
    publish(layout, publisher, 100, count=50)  # 200 bytes
    publisher.close()
    check_packed(layout.output)
    rows = manifest(layout)
    sizes = [
        sum(row["bytes"] for row in rows if row["shard"] == shard) for shard in {r["shard"] for r in rows}
    ]
    assert len(sizes) == 7
    assert max(sizes) - min(sizes) <= 8


@pytest.mark.parametrize("unit", [10, 13, 15])
def test_a_discarded_unit_is_gone_from_its_shard(layout: Layout, unit: int) -> None:
    publisher = Publisher(layout, "algo-1", pack=SMALL)
    for number in range(10, 16):
        publish(layout, publisher, number)
    publisher.discard(unit, 1)
    assert check_rows(layout) == set(range(10, 16)) - {unit}
    publisher.close()
    names = check_packed(layout.output)
    assert len(names) == 50
    assert f"v%2Ex/{unit * 10:08d}.jpg" not in names


def test_discards_of_all_leave_nothing(layout: Layout) -> None:
    publisher = Publisher(layout, "algo-1", pack=SMALL)
    for unit in range(10, 14):
        publish(layout, publisher, unit)
    for unit in range(10, 14):
        publisher.discard(unit, 1)
    publisher.close()
    assert manifest(layout) == []
    assert list((layout.output / "shards").iterdir()) == []


def test_a_file_that_a_later_attempt_has_too_is_not_removed_with_the_first_ones(layout: Layout) -> None:
    publisher = Publisher(layout, "algo-1", pack=SMALL)
    publish(layout, publisher, 10)
    publish(layout, publisher, 11)  # the part is full, and being packed
    publish(layout, publisher, 10, attempt=2)
    publisher.discard(10, 1)
    assert check_rows(layout) == {10, 11}
    publisher.close()
    assert len(check_packed(layout.output)) == 20


def test_what_cannot_be_packed_stays_in_bundles_until_it_can(
    layout: Layout, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    publisher = Publisher(layout, "algo-1", pack=SMALL)
    with monkeypatch.context() as full:
        full.setattr(sealing, "pack", refuse)
        for unit in range(10, 16):
            publish(layout, publisher, unit)
        publisher.discard(10, 1)
        publisher.discard(11, 1)  # now nothing is left of that part
        publisher.close()
    assert check_rows(layout) == set(range(12, 16))
    assert "not packed yet: [Errno 28] No space left on device" in caplog.text
    assert len(list((layout.output / "shards").glob("*.images"))) == 4
    publisher.close()
    assert len(check_packed(layout.output)) == 40
    assert not list((layout.output / "shards").glob("*.images"))


@pytest.mark.parametrize("form", ["tar", "parquet"])
@pytest.mark.parametrize("fails_at", [1, 2])  # of two shards, the last one or the one before
def test_a_disk_that_does_not_take_a_closed_shard_is_what_is_told(
    layout: Layout,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    form: PackFormat,
    fails_at: int,
) -> None:
    synced = 0

    def refuse(path: Path) -> None:
        nonlocal synced
        synced += 1
        if synced >= fails_at:
            raise OSError(errno.EIO, "Input/output error")

    publisher = Publisher(layout, "algo-1", pack=PackOptions(format=form, shard_bytes=20))
    publish(layout, publisher, 10, count=20)
    with monkeypatch.context() as failing:
        failing.setattr(packing, "sync_path", refuse)
        publisher.close()
    assert "not packed yet: [Errno 5] Input/output error" in caplog.text
    left = [path.suffix for path in (layout.output / "shards").iterdir()]
    assert set(left) == {".images"}, "no shard is left that no row names"
    assert check_rows(layout) == {10}
    publisher.close()
    assert len(check_packed(layout.output)) == 20


def test_bundles_without_rows_are_removed_and_others_are_not(layout: Layout) -> None:
    first = Publisher(layout, "algo-1", pack=PackOptions())
    publish(layout, first, 10)  # and it dies
    shards = layout.output / "shards"
    for name in ("algo-1-000005.images", "algo-12-000000.images", "job-2-algo-1-000000.images"):
        (shards / name).write_bytes(b"images")
    publisher = Publisher(layout, "algo-1", pack=PackOptions())
    publish(layout, publisher, 11)
    assert (shards / "algo-1-000006.images").is_file()
    publisher.close()
    assert check_rows(layout) == {10, 11}
    assert {path.name for path in shards.iterdir()} == {
        "algo-1-000000.images", "algo-1-000000.tar", "algo-12-000000.images", "job-2-algo-1-000000.images",
    }  # fmt: skip


def test_numbers_go_on_from_those_of_an_earlier_incarnation(layout: Layout) -> None:
    for unit in (10, 20):
        publisher = Publisher(layout, "algo-1", pack=SMALL)
        publish(layout, publisher, unit)
        publisher.close()
    assert len(check_packed(layout.output)) == 20


def test_runs_that_share_an_output_have_shards_of_their_own(layout: Layout) -> None:
    for run in ("job-1", "job-2"):
        publisher = Publisher(layout.of_run(run), "algo-1", pack=SMALL)
        publish(layout, publisher, 10)
        publisher.close()
        assert (layout.output / "manifest" / run / "algo-1-0.parquet").is_file()
    names = {path.name for path in (layout.output / "shards").iterdir()}
    assert names == {"job-1-algo-1-000000.tar", "job-2-algo-1-000000.tar"}


@pytest.mark.parametrize("form", ["tar", "parquet"])
def test_nothing_of_what_was_dropped_is_in_a_shard(layout: Layout, form: PackFormat) -> None:
    publisher = Publisher(layout, "algo-1", pack=PackOptions(format=form, shard_bytes=30))
    publish(layout, publisher, 10, dropped=range(100, 110))
    publisher.close()
    publisher = Publisher(layout, "algo-1", pack=PackOptions(format=form, shard_bytes=30))
    for unit in range(11, 16):
        publish(layout, publisher, unit, dropped={unit * 10, unit * 10 + 7})
    publisher.discard(13, 1)
    publisher.close()
    assert check_rows(layout) == {10, 11, 12, 14, 15}
    assert len(check_packed(layout.output)) == 32
    assert len(manifest(layout)) == 50


@pytest.mark.parametrize("seed", range(10))
def test_any_order_of_commits_and_discards(layout: Layout, seed: int) -> None:
    chance = random.Random(seed)
    publisher = Publisher(layout, "algo-1", pack=SMALL)
    kept: set[int] = set()
    for unit in range(10, 40):
        dropped = chance.sample(range(unit * 10, unit * 10 + 10), chance.choice([0, 1, 5, 10]))
        publish(layout, publisher, unit, count=chance.randrange(11), dropped=dropped)
        kept.add(unit)
        while kept and chance.random() < 0.3:
            gone = chance.choice(sorted(kept))
            publisher.discard(gone, 1)
            kept.discard(gone)
        assert check_rows(layout) <= kept
    expected = {(row["sample"], row["sha256"]) for row in manifest(layout)}
    publisher.close()
    check_packed(layout.output)
    assert {(row["sample"], row["sha256"]) for row in manifest(layout)} == expected


@pytest.mark.parametrize("seed", range(2))
def test_a_killed_process_leaves_rows_whose_images_are_whole(layout: Layout, seed: int) -> None:
    chance = random.Random(seed)
    for unit in (10, 1001, 2001):
        kill_while_publishing(layout, unit, chance, SMALL)
        check_rows(layout)
    assert any(row["shard"] for row in manifest(layout))
