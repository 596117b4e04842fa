"""Shards: many images, each with what the manifest tells of it, in one file that the usual loaders read.

A tar follows the WebDataset convention: an image and a ``.json`` of one name are one sample, and the
first dot ends the key. A Parquet shard has what Hugging Face's ``datasets`` takes for an ``Image`` feature:
``common/output/shards_parquet.py``. The bytes of a sample depend on the video and the options alone.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

import msgspec

from framefleet.common.files.beneath import Below, is_relative
from framefleet.common.output.shard_fields import PackFormat, ShardError

BLOCK_BYTES = 512  # of a tar: what headers take, and data is filled up to
END = bytes(2 * BLOCK_BYTES)  # of an archive, by POSIX
MODE = 0o644
BUNDLE = "images"  # suffix of what a host has not packed yet


class ShardWriter(Protocol):
    """Writes one shard; it is whole after ``close``."""

    def add(self, name: str, told: Mapping[str, object], data: bytes) -> int:
        """Append an image named ``name`` with what is ``told`` of it (the fields ``TOLD``); its place."""

    def close(self) -> None: ...


class ShardReader(Protocol):
    """Gives the images of one shard."""

    def read(self, place: int, count_bytes: int) -> bytes:
        """The image at ``place``.

        Raises:
            ShardError: there is none of this size.
        """

    def close(self) -> None: ...


def open_writer(path: Path, form: PackFormat) -> ShardWriter:
    """A new shard at ``path``."""
    if form == "tar":
        return TarWriter(path)
    from framefleet.common.output.shards_parquet import ParquetWriter

    return ParquetWriter(path)


def open_reader(below: Below, shard: str) -> ShardReader:
    """A shard or bundle; its suffix tells its kind.

    Raises:
        OSError: it cannot be opened, or is no regular file.
    """
    file = below.open(shard)
    if shard.endswith(".tar") or is_bundle(shard):
        return TarReader(file, shard)
    from framefleet.common.output.shards_parquet import ParquetReader

    return ParquetReader(file, shard)


def extent(below: Below, shard: str) -> int:
    """Where the places of images end in a shard or bundle: its bytes, or of a Parquet file its rows. -1: it
    is not there, is no regular file, or has been cut, and nothing of it counts.

    Raises:
        OSError: it cannot be read.
    """
    if below.size(shard) < 0:
        return -1
    with below.open(shard) as file:
        if shard.endswith(".parquet"):
            from framefleet.common.output.shards_parquet import whole_rows

            return whole_rows(file)
        size = os.fstat(file.fileno()).st_size
        if not is_bundle(shard):
            file.seek(max(0, size - len(END)))
            if size % BLOCK_BYTES or file.read() != END:
                return -1
    return size


class Readers:
    """The shards of an output, the last one used being open: rows lie in the order of shards."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._below: Below | None = None
        self._shard = ""
        self._open: ShardReader | None = None

    def read(self, shard: str | None, file: str, place: int | None, count_bytes: int) -> bytes:
        """The bytes of an image, as its row (``shard``, ``file``, ``place``, ``bytes``) says. No link is
        followed, and what is no regular file is not waited for.

        Raises:
            OSError: it is not there, or not of this size.
        """
        if self._below is None:
            self._below = Below(self._root)
        if shard is None:
            return _read_loose(self._below, file, count_bytes)
        if self._open is None or shard != self._shard:
            self._close_shard()
            self._open, self._shard = open_reader(self._below, shard), shard
        return self._open.read(-1 if place is None else place, count_bytes)

    def close(self) -> None:
        self._close_shard()
        if self._below is not None:
            self._below.close()
            self._below = None

    def _close_shard(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _read_loose(below: Below, file: str, count_bytes: int) -> bytes:
    with below.open(file) as loose:
        size = os.fstat(loose.fileno()).st_size
        data = loose.read(size) if size == count_bytes else b""  # no memory is taken for another file
        if len(data) != count_bytes:
            raise ShardError(f"{file}: {size:,} bytes, and the manifest says {count_bytes:,}")
        return data


def member_name(file: str) -> str:
    """The name in a shard of the image that is ``file`` among loose ones: a dot before the suffix would end
    its key. Different files have different names, as a literal ``%2E`` is escaped in the names of folders.
    """
    stem, _, suffix = file.removeprefix("frames/").rpartition(".")
    return f"{stem.replace('.', '%2E')}.{suffix}"


def is_shard_path(shard: str) -> bool:
    """Whether a row's ``shard`` is what it may be, a file in ``shards/``."""
    folder, slash, name = shard.partition("/")
    return f"{folder}{slash}" == "shards/" and "/" not in name and is_relative(name) and name[0] != "."


def is_bundle(shard: str) -> bool:
    """Whether a row's ``shard`` is a bundle: the bytes of images and nothing else, which wait for a shard."""
    return shard.endswith(f".{BUNDLE}")


class TarWriter:
    """A tar of the WebDataset convention."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("wb")
        self._at = 0

    def add(self, name: str, told: Mapping[str, object], data: bytes) -> int:
        key = name.rpartition(".")[0]
        place = self._append(name, data)
        self._append(f"{key}.json", msgspec.json.encode(told))
        return place

    def close(self) -> None:
        try:
            self._file.write(END)
        finally:
            self._file.close()

    def _append(self, name: str, data: bytes) -> int:
        head = header(name, len(data))
        fill = bytes(-len(data) % BLOCK_BYTES)
        self._file.write(head)
        self._file.write(data)
        self._file.write(fill)
        place = self._at + len(head)
        self._at = place + len(data) + len(fill)
        return place


def header(name: str, count_bytes: int) -> bytes:
    """A tar header in which nothing but name and size differs, whoever writes it, wherever and when."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = count_bytes, MODE
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


class TarReader:
    """Reads images of a tar or bundle at the places that the manifest tells, without going through it."""

    def __init__(self, file: BinaryIO, shard: str) -> None:
        self._path = shard
        self._file = file
        self._size = os.fstat(file.fileno()).st_size

    def read(self, place: int, count_bytes: int) -> bytes:
        if place < 0 or count_bytes < 0:
            raise ShardError(f"{self._path} has no place {place} of {count_bytes} bytes")
        if place + count_bytes > self._size:  # before a buffer is made for it
            raise ShardError(f"{self._path} ends at byte {self._size}, before {place + count_bytes}")
        self._file.seek(place)
        data = self._file.read(count_bytes)
        if len(data) != count_bytes:
            raise ShardError(f"{self._path} has been cut at byte {place + len(data)} while it was read")
        return data

    def close(self) -> None:
        self._file.close()
