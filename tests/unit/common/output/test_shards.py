"""Shards hold what they were given, the same bytes always, under names that loaders cut where they should."""

from __future__ import annotations

import io
import random
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from framefleet.common.files.beneath import Below
from framefleet.common.output import shards_parquet
from framefleet.common.output.shard_fields import TOLD, PackFormat, ShardError
from framefleet.common.output.shards import Readers, extent, header, is_shard_path, member_name, open_writer

IMAGES = {
    "a%2Eb/夏/00000000.jpg": b"x" * 700,
    f"{'long' * 60}/00000001.jpg": b"",
    "c/00000002.jpg": b"y" * 512,
}


def told(number: int) -> dict[str, Any]:
    """What a manifest tells of a frame."""
    return dict(
        zip(
            TOLD,
            (f"夏{number}.mp4", number, 0.2, 7, "1/25", 0.28, True, "yuv420p", 8, 4, 90, False, "ok", "ab"),
            strict=True,
        )
    )


def write(path: Path, form: PackFormat) -> list[int]:
    writer = open_writer(path, form)
    places = [writer.add(name, told(place), data) for place, (name, data) in enumerate(IMAGES.items())]
    writer.close()
    return places


@pytest.mark.parametrize("form", ["tar", "parquet"])
def test_images_are_where_the_writer_said(
    tmp_path: Path, form: PackFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards_parquet, "GROUP_BYTES", 500)
    path = tmp_path / f"s.{form}"
    places = write(path, form)
    with Readers(tmp_path) as readers:
        for place, (name, data) in reversed(list(zip(places, IMAGES.items(), strict=True))):
            assert readers.read(path.name, name, place, len(data)) == data
        with pytest.raises(ShardError):
            readers.read(path.name, "", 10**6, 10)
        with pytest.raises(ShardError):
            readers.read(path.name, "", None, 10)


@pytest.mark.parametrize("form", ["tar", "parquet"])
def test_the_same_samples_are_the_same_bytes(tmp_path: Path, form: PackFormat) -> None:
    write(tmp_path / "one", form)
    write(tmp_path / "two", form)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_tar_is_read_by_other_tools(tmp_path: Path) -> None:
    path = tmp_path / "s.tar"
    write(path, "tar")
    with tarfile.open(path) as tar:
        names = [name for image in IMAGES for name in (image, f"{image.rpartition('.')[0]}.json")]
        assert tar.getnames() == names
    done = subprocess.run(["tar", "tf", path], capture_output=True, timeout=20)
    assert (done.returncode, done.stderr) == (0, b"")


def test_headers_are_those_of_nobody_at_no_time() -> None:
    with tarfile.open(fileobj=io.BytesIO(header("a/1.jpg", 0) + bytes(1024))) as tar:
        (member,) = tar.getmembers()
    assert (member.mtime, member.uid, member.gid, member.uname, member.gname) == (0, 0, 0, "", "")


def test_a_parquet_shard_keeps_small_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards_parquet, "GROUP_BYTES", 700)
    write(tmp_path / "s.parquet", "parquet")
    metadata = pq.read_metadata(tmp_path / "s.parquet")
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [1, 2]
    assert pq.read_table(tmp_path / "s.parquet").select(list(TOLD)).to_pylist() == [told(0), told(1), told(2)]


@pytest.fixture
def many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, list[bytes]]:
    """A Parquet shard of several row groups, each of several batches; and its images."""
    monkeypatch.setattr(shards_parquet, "GROUP_BYTES", 3000)
    monkeypatch.setattr(shards_parquet, "BATCH_BYTES", 1000)
    chance = random.Random(1)
    images = [chance.randbytes(chance.choice([0, 10, 200, 900])) for _ in range(80)]
    writer = open_writer(tmp_path / "s.parquet", "parquet")
    for number, data in enumerate(images):
        writer.add(f"{number}.jpg", told(number), data)
    writer.close()
    return tmp_path / "s.parquet", images


def test_rows_of_a_parquet_shard_are_read_in_any_order(many: tuple[Path, list[bytes]]) -> None:
    path, images = many
    chance = random.Random(2)
    order = [*range(80), *chance.choices(range(80), k=300)]
    with Readers(path.parent) as readers:
        for place in order:
            assert readers.read(path.name, "", place, len(images[place])) == images[place]


def test_a_damaged_row_group_costs_its_own_rows_only(many: tuple[Path, list[bytes]]) -> None:
    path, images = many
    group = pq.read_metadata(path).row_group(2)
    column = next(group.column(n) for n in range(99) if group.column(n).path_in_schema == "image.bytes")
    before = sum(pq.read_metadata(path).row_group(number).num_rows for number in range(2))
    data = bytearray(path.read_bytes())
    data[column.data_page_offset : column.data_page_offset + 8] = b"\xff" * 8
    path.write_bytes(data)
    with Readers(path.parent) as readers:
        for place in (before, before + 1, before):
            with pytest.raises(ShardError, match="cannot be read"):
                readers.read(path.name, "", place, len(images[place]))
        for place in (0, before - 1, before + group.num_rows, 79):
            assert readers.read(path.name, "", place, len(images[place])) == images[place]


def test_what_is_no_shard_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.parquet").write_bytes(b"no")
    with Readers(tmp_path) as readers, pytest.raises(ShardError):
        readers.read("s.parquet", "", 0, 1)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("frames/a/00000001.jpg", "a/00000001.jpg"),
        ("frames/a.mp4/b.c/00000001.jpg", "a%2Emp4/b%2Ec/00000001.jpg"),
        ("frames/frames/00000001.png", "frames/00000001.png"),
    ],
)
def test_no_dot_ends_a_key_too_early(file: str, name: str) -> None:
    assert member_name(file) == name


def test_shards_lie_in_their_folder() -> None:
    assert is_shard_path("shards/a-000000.tar")
    for path in (
        "shards/",
        "shards/../a.tar",
        "shards/a/b.tar",
        "frames/a.tar",
        "shards/.a",
        "shards/..",
        "",
    ):
        assert not is_shard_path(path)


@pytest.mark.parametrize("form", ["tar", "parquet"])
def test_of_a_shard_that_is_cut_anywhere_nothing_counts(
    tmp_path: Path, form: PackFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards_parquet, "GROUP_BYTES", 500)
    path = tmp_path / f"s.{form}"
    write(path, form)
    whole = path.read_bytes()
    assert extent_of(path) == (len(whole) if form == "tar" else len(IMAGES))
    for size in {0, 1, 512, len(whole) // 2, len(whole) - 512, len(whole) - 1}:
        path.write_bytes(whole[:size])
        assert extent_of(path) == -1
    path.unlink()
    assert extent_of(path) == -1


def test_a_parquet_shard_that_lacks_its_middle_is_not_whole(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    write(path, "parquet")
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + whole[400:])
    assert pq.read_metadata(path).num_rows == len(IMAGES), "its footer is as it was"
    assert extent_of(path) == -1


def extent_of(path: Path) -> int:
    with Below(path.parent) as below:
        return extent(below, path.name)
