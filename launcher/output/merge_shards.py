"""The shards of all hosts made one output.

First every part of a manifest is put right where it lies, in its host's folder: rows that do not count go,
and with them their images, and what a host that died had not packed yet is packed. Then its shards are
linked into the output, and the part is moved there, which is the one step that counts. So a merge that is
cut short can begin again: what it has linked and not named yet is removed, and made again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from framefleet.common.files.beneath import Below
from framefleet.common.output.frame_names import SHARD
from framefleet.common.output.manifest import read_part, write_part
from framefleet.common.output.packing import (
    ShardNames,
    has_unpacked,
    remove,
    remove_unnamed,
    repack_part,
    shards_of,
)
from framefleet.common.output.part_file import PartError, read_table
from framefleet.common.output.shard_fields import PackFormat, PackOptions
from framefleet.common.output.shards import is_bundle

OnProgress = Callable[[int, int], None]
_Key = tuple[str, int]  # video and sample


class _Row(NamedTuple):
    """The columns of the manifest that matter here."""

    video: str
    sample: int
    file: str | None
    shard: str | None
    place: int | None
    bytes: int
    sha256: str | None


@dataclass(slots=True)
class PackedPart:
    """A part in its host's folder; ``keep`` tells which of its rows count."""

    path: Path
    host: Below
    keep: list[bool]

    @property
    def root(self) -> Path:
        """The host's folder."""
        return self.path.parent.parent


@dataclass(slots=True)
class PackedMerge:
    """How many ``frames`` were merged, the names of those that no host has, how many were not taken as hosts
    have different images of one sample, and sentences on these."""

    frames: int = 0
    missing: list[str] = field(default_factory=list)
    disputed: int = 0
    sentences: list[str] = field(default_factory=list)


def merge_packed(
    parts: Sequence[PackedPart], output: Path, there: Below, options: PackOptions, *, on_progress: OnProgress
) -> PackedMerge:
    """Move what counts to ``output``, which is open as ``there``.

    Raises:
        OSError: the disk refuses.
    """
    merged = PackedMerge()
    _choose(parts, merged)
    there.make_folder("shards")
    there.make_folder("manifest")
    _remove_nameless(output, there)
    for count, part in enumerate(parts, start=1):
        if any(part.keep):
            merged.frames += _put_right(part, options)
            _rename(part, there, output, options.format)
            _move(part, there)
        on_progress(count, len(parts))
    return merged


def _choose(parts: Sequence[PackedPart], merged: PackedMerge) -> None:
    """Clear ``keep`` of rows whose image is not there, or is another row's too."""
    owners: dict[_Key, tuple[str | None, PackedPart, int]] = {}
    absent: dict[_Key, str] = {}
    nobodys: set[_Key] = set()
    for part in parts:
        sizes: dict[str, int] = {}
        for number, row in enumerate(_rows(part.path)):
            if not part.keep[number]:
                continue
            key = row.video, row.sample
            if not _is_there(part.host, row, sizes):
                part.keep[number] = False
                absent[key] = row.file or ""
                continue
            if key in nobodys:
                part.keep[number] = False
                merged.disputed += 1
                continue
            if key not in owners:
                owners[key] = row.sha256, part, number
                continue
            part.keep[number] = False
            digest, other, place = owners[key]
            if digest != row.sha256:
                other.keep[place] = False
                nobodys.add(key)
                merged.disputed += 2
                merged.sentences.append(
                    f"{row.file}: {other.path.name} and {part.path.name} have different images of it, and "
                    "neither is taken"
                )
    merged.missing = [file for key, file in absent.items() if key not in owners]


def _is_there(host: Below, row: _Row, sizes: dict[str, int]) -> bool:
    if row.file is None:
        return True  # it was dropped
    if row.shard is None:
        return host.size(row.file) == row.bytes
    if row.shard not in sizes:
        sizes[row.shard] = host.size(row.shard)
    least = (row.place or 0) + row.bytes if is_bundle(row.shard) else 0
    return sizes[row.shard] >= least


def _rows(path: Path) -> Iterator[_Row]:
    table = read_part(path, _Row._fields)
    columns = [table.column(name).to_pylist() for name in _Row._fields]
    yield from (_Row(*values) for values in zip(*columns, strict=True))


def _remove_nameless(output: Path, there: Below) -> None:
    """Remove shards of the output that no row names: a merge or a host was cut short behind them."""
    named: set[str] = set()
    for path in (output / "manifest").glob("*.parquet"):
        try:
            named |= shards_of(read_part(path, ["shard"]))
        except PartError:
            continue  # a damaged part names nothing
    for name, _ in list(there.files("shards")):
        if name not in named and SHARD.fullmatch(name.removesuffix(".part").removesuffix(".tmp")):
            there.remove(name)


def _prefix(path: Path) -> str:
    return path.stem.rpartition("-")[0]


def _put_right(part: PackedPart, options: PackOptions) -> int:
    """Make a part, in its host's folder, one of rows that count and lie in shards; their number."""
    table = read_table(part.path)
    if not all(part.keep) or has_unpacked(table):
        before = repack_part(
            part.root,
            part.path,
            table.filter(pa.array(part.keep)),
            options,
            name=ShardNames(part.root / "shards", _prefix(part.path), options.format),
            temporary=part.root / ".staging",
        )
        remove_unnamed(part.root, before, part.path.parent.glob("*.parquet"))
    return sum(part.keep)


def _rename(part: PackedPart, there: Below, output: Path, form: PackFormat) -> None:
    """Give a part and its shards names that the output does not have: hosts of each run count from 0."""
    table = read_table(part.path)
    names = {shard: shard for shard in sorted(shards_of(table))}
    for shard in names:
        if there.size(shard) < 0:
            continue
        mine, theirs = (
            ShardNames(folder / "shards", _prefix(part.path), form) for folder in (part.root, output)
        )
        names[shard] = max(mine(), theirs())
        part.host.link(shard, part.host, names[shard])
    renamed = {old: new for old, new in names.items() if old != new}
    if renamed:
        index = table.schema.get_field_index("shard")
        column = table.schema.field(index)
        shards = pa.array([names.get(shard) for shard in table.column("shard").to_pylist()], pa.string())
        table = table.set_column(index, column, shards.cast(column.type))
        write_part(part.path, table, temporary=part.root / ".staging" / f"{part.path.name}.tmp")
        remove(part.root, renamed)


def _move(part: PackedPart, there: Below) -> None:
    """Link a part's shards into the output, then move the part there."""
    shards = sorted(shards_of(read_part(part.path, ["shard"])))
    for shard in shards:
        part.host.link(shard, there, shard)
    number, target = 0, f"manifest/{part.path.name}"
    while there.size(target) >= 0:
        number += 1
        target = f"manifest/{_prefix(part.path)}-{number}.parquet"
    part.host.move(f"manifest/{part.path.name}", there, target)
    remove(part.root, shards)
