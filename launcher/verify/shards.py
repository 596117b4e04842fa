"""Shards against the manifest: each holds the images that rows name, where rows say, and nothing else."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import msgspec
import pyarrow.parquet as pq

from framefleet.common.decoding import NOT_DECODED
from framefleet.common.files.beneath import Below
from framefleet.common.output.shard_fields import TOLD
from framefleet.common.output.shards import BLOCK_BYTES, END, is_bundle
from framefleet.common.output.shards_parquet import DAMAGE

MAX_READ: Final = 2**20  # bytes: a header, or what is told of an image


class Expected(NamedTuple):
    """What a row says of an image in a shard: where it is, and what is ``told`` of it (the values of
    ``TOLD``)."""

    place: int | None
    told: tuple[object, ...]


def check_shard(output: Path, shard: str, expected: dict[str, Expected]) -> Iterator[str]:
    """Sentences on what is wrong with a shard, whose images are to be ``expected``, by their names."""
    left = dict(expected)
    try:
        with Below(output) as below, below.open(shard) as file:
            if is_bundle(shard):  # nothing but the images, which are compared with their rows
                yield f"{shard}: {len(expected):,} images wait in it for a shard: their job was cut short"
                return
            for name, place, told in _of_tar(file) if shard.endswith(".tar") else _of_parquet(file):
                row = left.pop(name, None)
                if row is None:
                    yield f"{shard}: no row of the manifest names {name} in it, or it is there twice"
                elif place != row.place:
                    yield f"{shard}: {name} is at {place}, and the manifest says {row.place}"
                elif told is None:
                    yield f"{shard}: nothing tells of {name}"
                elif wrong := ", ".join(_differing(told, row.told)):
                    yield f"{shard}: what it tells of {name} is not what the manifest says: {wrong}"
    except FileNotFoundError:
        yield f"{shard}: missing, with {len(expected):,} images"
        return
    except (*DAMAGE, tarfile.TarError, *NOT_DECODED) as error:
        yield f"{shard}: cannot be read to its end: {error}"
        return
    yield from (f"{shard}: {name} is not in it" for name in left)


def _differing(told: dict[str, Any], wanted: tuple[object, ...]) -> Iterator[str]:
    return (field for field, value in zip(TOLD, wanted, strict=True) if told.get(field) != value)


class _Bounded(io.RawIOBase):
    """A file of which no more is read at once than a header or what is told of an image takes: a tar says
    itself how long they are."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_READ:
            raise tarfile.ReadError(f"a header or text in it has {size:,} bytes")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def _of_tar(file: BinaryIO) -> Iterator[tuple[str, int, dict[str, Any] | None]]:
    """Name, place, and what is told of each image of a tar."""
    with tarfile.open(fileobj=_Bounded(file), mode="r:") as tar:
        image: tarfile.TarInfo | None = None
        end = 0  # of the last member
        for member in tar:
            end = member.offset_data + -(-member.size // BLOCK_BYTES) * BLOCK_BYTES
            key, _, suffix = member.name.partition(".")
            if suffix != "json":
                if image is not None:
                    yield image.name, image.offset_data, None
                image = member
                continue
            if image is None or not member.isreg() or image.name.partition(".")[0] != key:
                raise tarfile.ReadError(f"{member.name} tells of no image")
            at = file.tell()
            file.seek(member.offset_data)
            told = msgspec.json.decode(_Bounded(file).read(member.size), type=dict[str, Any])
            file.seek(at)
            yield image.name, image.offset_data, told
            image = None
        if image is not None:
            yield image.name, image.offset_data, None
    file.seek(end)
    if os.fstat(file.fileno()).st_size != end + len(END) or file.read(len(END)) != END:
        raise tarfile.ReadError("it does not end behind its last image")


def _of_parquet(shard: BinaryIO) -> Iterator[tuple[str, int, dict[str, Any] | None]]:
    with pq.ParquetFile(shard) as file:
        place = 0
        for batch in file.iter_batches(columns=["image.path", *TOLD]):
            for row in batch.to_pylist():
                yield row["image"]["path"], place, row
                place += 1
