"""The images of a manifest part put into shards, so that whatever ends the process, part and shards agree.

Shards are made under other names, then renamed; then the part that names them is replaced as a whole; what it
named before goes last. So a row's image is where its row says at every moment. What a death can leave is a
shard, or loose files, that no row names: nobody who goes by rows takes them for part of the output.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from framefleet.common.files.beneath import Below, UnsafePathError
from framefleet.common.files.durable import sync_path
from framefleet.common.output.manifest import files_in, read_part, write_part
from framefleet.common.output.shard_fields import TOLD, PackOptions
from framefleet.common.output.shards import BUNDLE, Readers, ShardWriter, is_bundle, member_name, open_writer

if TYPE_CHECKING:
    import pyarrow as pa

DIGITS = 6  # of a shard's number: names sort as numbers up to a million


@dataclass(slots=True)
class Packed:
    """Rows whose images lie in new shards, which are whole but do not have their names yet: ``shards`` is
    a list of (present path, path below the output). ``source`` are the rows as they were."""

    source: pa.Table
    table: pa.Table
    shards: list[tuple[Path, str]] = field(default_factory=list)


class ShardNames:
    """Names of new shards or bundles of one host, numbered on from those that are there."""

    def __init__(self, folder: Path, prefix: str, suffix: str) -> None:
        """``folder``: ``shards/`` itself."""
        self._prefix, self._suffix = prefix, suffix
        self._number = next_number(folder, prefix, suffix)

    def __call__(self) -> str:
        name = f"shards/{self._prefix}-{self._number:0{DIGITS}d}.{self._suffix}"
        self._number += 1
        return name

    def made(self, path: Path) -> bool:
        """Whether a file has such a name."""
        return _number_of(path, self._prefix, self._suffix) is not None


def next_number(folder: Path, prefix: str, suffix: str) -> int:
    """The first number that no file ``<prefix>-<number>.<suffix>`` of a folder has."""
    found = [_number_of(path, prefix, suffix) for path in folder.iterdir()] if folder.is_dir() else []
    return max((number for number in found if number is not None), default=-1) + 1


def _number_of(path: Path, prefix: str, suffix: str) -> int | None:
    name, _, number = path.stem.rpartition("-")
    if name != prefix or path.suffix != f".{suffix}" or not number.isdecimal():
        return None
    return int(number)


def pack(
    root: Path, table: pa.Table, options: PackOptions, *, name: Callable[[], str], temporary: Path
) -> Packed:
    """Write the images of ``table`` into new shards, in the order of its rows, and bring these to the disk;
    nothing else is changed.

    ``root``: the output that paths of rows are below; the images may be loose, in bundles or in shards.
    ``name`` gives the path below it of the next shard, which is made in the folder ``temporary``. Shards
    differ little in size, and none has less than one image.

    Raises:
        OSError: an image is not there or not of its size, or the disk refuses. No new shard is left.
    """
    packed = Packed(table, table)
    sizes: list[int] = table.column("bytes").to_pylist()
    total = sum(sizes)
    share = total / max(1, round(total / options.shard_bytes))
    old = list(
        zip(*(table.column(name).to_pylist() for name in ("shard", "file", "place", "bytes")), strict=True)
    )
    told = [table.column(name).to_pylist() for name in TOLD]
    shards: list[str | None] = []
    places: list[int | None] = []
    names: list[str | None] = []
    writer: ShardWriter | None = None
    temporary.mkdir(parents=True, exist_ok=True)
    done = 0
    try:
        with Readers(root) as readers:
            for (shard, file, place, count_bytes), values in zip(old, zip(*told, strict=True), strict=True):
                if file is None:  # it was dropped
                    shards.append(None)
                    places.append(None)
                    names.append(None)
                    continue
                data = readers.read(shard, file, place, count_bytes)
                if writer is not None and done >= share * len(packed.shards):
                    full, writer = writer, None  # a writer is closed once, also where that fails
                    full.close()
                    sync_path(packed.shards[-1][0])
                if writer is None:
                    target = name()
                    path = temporary / f"{target.rpartition('/')[2]}.tmp"
                    packed.shards.append((path, target))
                    writer = open_writer(path, options.format)
                member = member_name(file) if shard is None or is_bundle(shard) else file
                places.append(writer.add(member, dict(zip(TOLD, values, strict=True)), data))
                shards.append(packed.shards[-1][1])
                names.append(member)
                done += count_bytes
        if writer is not None:
            last, writer = writer, None
            last.close()
            sync_path(packed.shards[-1][0])
    except OSError:
        if writer is not None:
            with contextlib.suppress(OSError):
                writer.close()
        withdraw(root, packed)
        raise
    if len(table):
        packed.table = _with(table, file=names, shard=shards, place=places)
    return packed


def _with(table: pa.Table, **columns: Sequence[object]) -> pa.Table:
    import pyarrow as pa

    for name, values in columns.items():
        index = table.schema.get_field_index(name)
        kept = table.schema.field(index)
        table = table.set_column(index, kept, pa.array(values).cast(kept.type))
    return table


def withdraw(root: Path, packed: Packed) -> None:
    """Remove new shards that no part names, as far as the disk allows."""
    for path, target in packed.shards:
        for each in (path, root / target):
            with contextlib.suppress(OSError):
                each.unlink()


def name_shards(root: Path, packed: Packed) -> None:
    """Give new shards their names; the part is to be replaced next.

    Raises:
        OSError: the disk refuses.
    """
    (root / "shards").mkdir(parents=True, exist_ok=True)
    for path, target in packed.shards:
        os.replace(path, root / target)  # noqa: PTH105
    sync_path(root / "shards")


def shards_of(table: pa.Table) -> set[str]:
    """The shards and bundles that rows name."""
    return {shard for shard in table.column("shard").unique().to_pylist() if shard is not None}


def has_unpacked(table: pa.Table) -> bool:
    """Whether the image of any row lies in no shard: it is a file of its own, or in a bundle."""
    if table.column("shard").null_count > table.column("file").null_count:
        return True
    return any(map(is_bundle, shards_of(table)))


def remove(root: Path, paths: Iterable[str]) -> None:
    """Remove files that no row names any more; one that is reached by a link alone stays.

    Raises:
        OSError: the disk refuses.
    """
    with Below(root) as below:
        for path in paths:
            with contextlib.suppress(UnsafePathError):
                below.remove(path)


def remove_unnamed(root: Path, paths: Iterable[str], parts: Iterable[Path]) -> None:
    """Remove those of ``paths`` that no row of the manifest ``parts`` names, as its file or as its shard.

    Raises:
        OSError: a part cannot be read, or the disk refuses.
        PartError: a part is damaged; nothing has been removed.
    """
    left = set(paths)
    for part in parts if left else ():
        table = read_part(part, ["file", "shard"])
        left.difference_update(files_in(table), shards_of(table))
    remove(root, sorted(left))


def remove_nameless_bundles(root: Path, manifest: Path, names: ShardNames) -> None:
    """Remove bundles of a host that no row of ``manifest`` names: an earlier incarnation died behind them.

    Raises:
        OSError: the disk refuses.
    """
    found = {f"shards/{path.name}" for path in (root / "shards").glob(f"*.{BUNDLE}") if names.made(path)}
    if found:
        named = (shards_of(read_part(path, ["shard"])) for path in manifest.glob("*.parquet"))
        remove(root, found.difference(*named))


def repack_part(
    root: Path,
    part: Path,
    table: pa.Table,
    options: PackOptions,
    *,
    name: Callable[[], str],
    temporary: Path,
) -> set[str]:
    """Make ``table`` the rows of a part, and put their images into new shards; what it has named before.

    ``table``: some rows of the part, or all. What no row names then is the caller's to remove.

    Returns: the shards and bundles that the part has named.

    Raises:
        OSError: an image is not there or not of its size, or the disk refuses. The part is as it was.
    """
    before = read_part(part, ["shard"])
    packed = pack(root, table, options, name=name, temporary=temporary)
    try:
        name_shards(root, packed)
        write_part(part, packed.table, temporary=temporary / f"{part.name}.tmp")
    except OSError:
        withdraw(root, packed)
        raise
    return shards_of(before)
