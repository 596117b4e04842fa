"""The shards of all hosts made one output.

First every part of a manifest is put right where it lies, in its host's folder: rows that do not count go,
and with them their images, and what a host that died had not packed yet is packed. Then its shards are
linked into the output, and the part is moved there, which is the one step that counts. So a merge that is
cut short can begin again: what it has linked and not named yet is removed, and made again.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from common.errors import UserError
from common.manifest import read_part, write_part
from common.packing import ShardNames, has_unpacked, remove, remove_unnamed, repack_part, shards_of
from common.part_file import PartError, read_table
from common.shards import is_bundle
from common.spec import PackFormat, PackOptions
from targets.moving import move

OnProgress = Callable[[int, int], None]


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
    """A part in the folder ``root`` of its host; ``keep`` tells which of its rows count."""

    path: Path
    root: Path
    keep: list[bool]


def merge_packed(
    parts: Sequence[PackedPart], output: Path, options: PackOptions, *, on_progress: OnProgress
) -> tuple[int, list[str]]:
    """Move what counts to ``output``: how many frames, and the names of those that no host has.

    Raises:
        UserError: hosts made different images of one sample; nothing has been moved.
        OSError: the disk refuses.
    """
    missing = _choose(parts)
    _remove_nameless(output)
    frames = 0
    for count, part in enumerate(parts, start=1):
        if any(part.keep):
            frames += _put_right(part, options)
            _rename(part, output, options.format)
            _move(part, output)
        on_progress(count, len(parts))
    return frames, missing


def _choose(parts: Sequence[PackedPart]) -> list[str]:
    """Clear ``keep`` of rows whose image is not there, or is another row's too; the images that are lost."""
    owners: dict[tuple[str, int], tuple[str | None, Path]] = {}
    seen: set[tuple[str, int]] = set()
    absent: dict[tuple[str, int], str] = {}
    for part in parts:
        sizes: dict[str, int] = {}
        for number, row in enumerate(_rows(part.path)):
            if not part.keep[number]:
                continue
            key = row.video, row.sample
            if row.file is None:
                there = True  # it was dropped
            elif row.shard is None:
                there = _size(f"{part.root}/{row.file}") == row.bytes
            else:
                if row.shard not in sizes:
                    sizes[row.shard] = _size(f"{part.root}/{row.shard}")
                least = (row.place or 0) + row.bytes if is_bundle(row.shard) else 0
                there = sizes[row.shard] >= least
            if not there:
                part.keep[number] = False
                absent[key] = row.file or ""
                continue
            digest, path = owners.setdefault(key, (row.sha256, part.path))
            if digest != row.sha256:
                raise UserError(
                    f"two hosts made different images of sample {row.sample} of {row.video!r}: see {path} "
                    f"and {part.path}; nothing was merged, compare the two"
                )
            part.keep[number] = key not in seen
            seen.add(key)
    return [file for key, file in absent.items() if key not in owners]


def _rows(path: Path) -> Iterator[_Row]:
    table = read_part(path, _Row._fields)
    columns = [table.column(name).to_pylist() for name in _Row._fields]
    yield from (_Row(*values) for values in zip(*columns, strict=True))


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116 - a Path for each frame is slow
    except FileNotFoundError:
        return -1


def _remove_nameless(output: Path) -> None:
    """Remove shards of the output that no row names: a merge or a host was cut short behind them."""
    named: set[str] = set()
    for path in (output / "manifest").glob("*.parquet"):
        try:
            named |= shards_of(read_part(path, ["shard"]))
        except PartError:
            continue  # a damaged part names nothing
    if (output / "shards").is_dir():
        found = (f"shards/{path.name}" for path in list((output / "shards").iterdir()))
        remove(output, (shard for shard in found if shard not in named))


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


def _rename(part: PackedPart, output: Path, form: PackFormat) -> None:
    """Give a part and its shards names that the output does not have: hosts of each run count from 0."""
    table = read_table(part.path)
    names = {shard: shard for shard in sorted(shards_of(table))}
    here, there = part.root / "shards", output / "shards"
    for shard in names:
        if not (output / shard).exists():
            continue
        mine, theirs = (ShardNames(folder, _prefix(part.path), form) for folder in (here, there))
        names[shard] = max(mine(), theirs())
        _link(str(part.root / shard), str(part.root / names[shard]))
    renamed = {old: new for old, new in names.items() if old != new}
    if renamed:
        index = table.schema.get_field_index("shard")
        field = table.schema.field(index)
        shards = pa.array([names.get(shard) for shard in table.column("shard").to_pylist()], pa.string())
        table = table.set_column(index, field, shards.cast(field.type))
        write_part(part.path, table, temporary=part.root / ".staging" / f"{part.path.name}.tmp")
        remove(part.root, renamed)


def _move(part: PackedPart, output: Path) -> None:
    """Link a part's shards into the output, then move the part there."""
    (output / "shards").mkdir(parents=True, exist_ok=True)
    (output / "manifest").mkdir(parents=True, exist_ok=True)
    shards = sorted(shards_of(read_part(part.path, ["shard"])))
    for shard in shards:
        _link(f"{part.root}/{shard}", f"{output}/{shard}")
    number, target = 0, output / "manifest" / part.path.name
    while target.exists():
        number += 1
        target = target.with_name(f"{_prefix(part.path)}-{number}.parquet")
    move(str(part.path), str(target))
    remove(part.root, shards)


def _link(source: str, target: str) -> None:
    """A second name for a file; a copy where the system gives it none (another disk, another's file)."""
    try:
        os.link(source, target)
    except OSError:
        whole = f"{target}.part"
        shutil.copyfile(source, whole)
        os.replace(whole, target)  # noqa: PTH105
