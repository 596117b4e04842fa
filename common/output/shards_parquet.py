"""Parquet shards, in the layout that Hugging Face's ``datasets`` takes for an ``Image`` feature.

The column ``image`` is a struct of ``bytes`` and ``path``; beside it is what the manifest tells of a frame.
The features are in the schema's metadata, where ``datasets`` looks for them.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from itertools import accumulate
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from framefleet.common.output.manifest import FIELDS
from framefleet.common.output.part_file import ALSO_DAMAGE
from framefleet.common.output.shard_fields import TOLD, ShardError

GROUP_BYTES = 8 * 2**20  # of images: what a writer holds, and others who read one row read
BATCH_BYTES = 2**20  # of images: what our reader holds
BATCH = 4  # images between looks at a page's size; at the default, 1,024, pages grow at thrice the CPU time
FEATURES_KEY = "huggingface"

DAMAGE = (pa.ArrowException, *ALSO_DAMAGE)

_KINDS = {name: kind for name, kind, _ in FIELDS}


def schema() -> pa.Schema:
    """The columns: ``image``, then what is told of it."""
    types = {
        "dictionary": pa.string(),
        "string": pa.string(),
        "int64": pa.int64(),
        "int32": pa.int32(),
        "float64": pa.float64(),
        "bool": pa.bool_(),
    }
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    told = [(name, types[_KINDS[name].rstrip("?")]) for name in TOLD]
    features: dict[str, dict[str, str]] = {"image": {"_type": "Image"}}
    for name, kind in told:
        features[name] = {"dtype": _dtype(kind), "_type": "Value"}
    metadata = {FEATURES_KEY: msgspec.json.encode({"info": {"features": features}})}
    return pa.schema([("image", image), *told], metadata=metadata)


def _dtype(kind: pa.DataType) -> str:
    """The type's name in ``datasets``."""
    return {"double": "float64"}.get(str(kind), str(kind))


def whole_rows(file: BinaryIO) -> int:
    """The rows of a Parquet file, by its footer; -1 if that is not there, or tells of bytes that are not.

    Raises:
        OSError: it cannot be read.
    """
    try:
        metadata = pq.read_metadata(file)
        end = os.fstat(file.fileno()).st_size - metadata.serialized_size
        for group in map(metadata.row_group, range(metadata.num_row_groups)):
            for column in map(group.column, range(group.num_columns)):
                start = column.dictionary_page_offset or column.data_page_offset
                if start + column.total_compressed_size > end:
                    return -1
        return int(metadata.num_rows)
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno:  # the disk's, and none of Arrow's
            raise
        return -1


class ParquetWriter:
    """Writes a shard in row groups of about ``GROUP_BYTES``."""

    def __init__(self, path: Path) -> None:
        self._schema = schema()
        self._writer = pq.ParquetWriter(
            path,
            self._schema,
            compression={**dict.fromkeys(TOLD, "zstd"), "image.bytes": "none", "image.path": "zstd"},
            use_dictionary=[name for name in TOLD if _KINDS[name] == "dictionary"],
            write_statistics=list(TOLD),
            write_batch_size=BATCH,
        )
        self._images: list[bytes] = []
        self._columns: dict[str, list[object]] = {name: [] for name in ("path", *TOLD)}
        self._bytes = 0
        self._count = 0

    def add(self, name: str, told: Mapping[str, object], data: bytes) -> int:
        """Append a row; its place is its number."""
        self._images.append(data)
        self._columns["path"].append(name)
        for field in TOLD:
            self._columns[field].append(told[field])
        self._bytes += len(data)
        self._count += 1
        if self._bytes >= GROUP_BYTES:
            self._write_group()
        return self._count - 1

    def close(self) -> None:
        """Write what is held, and the end."""
        try:
            if self._images:
                self._write_group()
        finally:
            self._writer.close()

    def _write_group(self) -> None:
        # one copy: a builder would copy again whenever it grows
        ends = np.cumsum([0, *map(len, self._images)], dtype=np.int32)
        data = pa.py_buffer(b"".join(self._images))
        images = pa.Array.from_buffers(pa.binary(), len(self._images), [None, pa.py_buffer(ends), data])
        paths = pa.array(self._columns.pop("path"), pa.string())
        image = pa.StructArray.from_arrays([images, paths], fields=list(self._schema.field("image").type))
        told = [pa.array(self._columns[name], self._schema.field(name).type) for name in TOLD]
        self._writer.write_table(pa.Table.from_arrays([image, *told], schema=self._schema))
        self._images, self._bytes = [], 0
        self._columns = {name: [] for name in ("path", *TOLD)}


class ParquetReader:
    """Gives images by the numbers of their rows. Of a row group no more is read than up to that row, and the
    few images around the row that was read last are kept: rows in their order are read once."""

    def __init__(self, file: BinaryIO, shard: str) -> None:
        self._path = shard
        try:
            with file:
                mapped = mmap(file.fileno(), 0, access=ACCESS_READ)  # it goes with the last who looks into it
            self._file = pq.ParquetFile(pa.BufferReader(pa.py_buffer(mapped)))
        except DAMAGE as error:
            raise ShardError(f"{shard} is no Parquet file: {error}") from error
        metadata = self._file.metadata
        counts = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        self._starts = list(accumulate(counts, initial=0))
        self._group = -1
        self._batches: Iterator[pa.RecordBatch] = iter(())
        self._first = self._end = 0
        """The rows of ``_images``."""
        self._images: pa.Array | None = None  # no empty array: pa.array() loads pandas where there is one

    def read(self, place: int, count_bytes: int) -> bytes:
        """The image of row ``place``."""
        images = self._images_at(place)
        data: bytes = images[place - self._first].as_py() or b""
        if len(data) != count_bytes:
            raise ShardError(f"row {place} of {self._path} has {len(data)} bytes, not {count_bytes}")
        return data

    def _images_at(self, place: int) -> pa.Array:
        if not 0 <= place < self._starts[-1]:
            raise ShardError(f"{self._path} has no row {place}")
        group = bisect_right(self._starts, place) - 1
        if group != self._group or place < self._first:
            told = self._file.metadata.row_group(group)
            size = max(1, told.num_rows * BATCH_BYTES // max(1, told.total_byte_size))
            self._batches = self._file.iter_batches(size, [group], columns=["image.bytes"], use_threads=False)
            self._group, self._first, self._end = group, self._starts[group], self._starts[group]
        while place >= self._end:
            try:
                batch = next(self._batches)
            except (*DAMAGE, StopIteration) as error:
                self._group = -1
                raise ShardError(f"{self._path} cannot be read: {error!r}") from error
            self._images = batch.column("image").field("bytes")
            self._first, self._end = self._end, self._end + len(self._images)
        return self._images

    def close(self) -> None:
        self._file.close()
