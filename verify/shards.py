"""Shards against the manifest: each holds the images that rows name, where rows say, and nothing else."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from common.shards import END, TOLD, is_bundle


class Expected(NamedTuple):
    """What a row says of an image in a shard: where it is, and what is ``told`` of it (the values of
    ``TOLD``)."""

    place: int | None
    told: tuple[object, ...]


def check_shard(output: Path, shard: str, expected: dict[str, Expected]) -> Iterator[str]:
    """Sentences on what is wrong with a shard, whose images are to be ``expected``, by their names."""
    path = output / shard
    if is_bundle(shard):  # nothing but the images, which are compared with their rows
        if not path.is_file():
            yield f"{shard}: missing, with {len(expected):,} images"
        else:
            yield f"{shard}: {len(expected):,} images wait in it for a shard: their job was cut short"
        return
    left = dict(expected)
    try:
        for name, place, told in _of_tar(path) if path.suffix == ".tar" else _of_parquet(path):
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
    except (OSError, tarfile.TarError, msgspec.DecodeError, pa.ArrowException) as error:
        yield f"{shard}: cannot be read to its end: {error}"
        return
    yield from (f"{shard}: {name} is not in it" for name in left)


def _differing(told: dict[str, Any], wanted: tuple[object, ...]) -> Iterator[str]:
    return (field for field, value in zip(TOLD, wanted, strict=True) if told.get(field) != value)


def _of_tar(path: Path) -> Iterator[tuple[str, int, dict[str, Any] | None]]:
    """Name, place, and what is told of each image of a tar."""
    with tarfile.open(path, "r:") as tar:
        image: tarfile.TarInfo | None = None
        for member in tar:
            key, _, suffix = member.name.partition(".")
            if suffix != "json":
                if image is not None:
                    yield image.name, image.offset_data, None
                image = member
                continue
            stream = tar.extractfile(member)
            if image is None or stream is None or image.name.partition(".")[0] != key:
                raise tarfile.ReadError(f"{member.name} tells of no image")
            yield image.name, image.offset_data, msgspec.json.decode(stream.read(), type=dict[str, Any])
            image = None
        if image is not None:
            yield image.name, image.offset_data, None
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - len(END)))
        if file.read() != END:
            raise tarfile.ReadError("it has no end")


def _of_parquet(path: Path) -> Iterator[tuple[str, int, dict[str, Any] | None]]:
    with pq.ParquetFile(path) as file:
        place = 0
        for batch in file.iter_batches(columns=["image.path", *TOLD]):
            for row in batch.to_pylist():
                yield row["image"]["path"], place, row
                place += 1
