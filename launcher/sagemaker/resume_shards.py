"""Shards of earlier jobs in S3: which of them hold what rows say, and which can stay as they are.

The rows of a shard all lie in one part of the manifest. Shards are not made again here: one that is cut, or
holds an image that does not count any more, goes as a whole, and the units of its rows are done again. So are
units whose images a host had not packed yet, as loaders do not read bundles.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from framefleet.common.errors import UserError
from framefleet.common.job.completed import DoneVideo
from framefleet.common.job.selection import Selection
from framefleet.common.output.manifest import read_part
from framefleet.common.output.shards import BLOCK_BYTES, END, is_bundle, is_shard_path
from framefleet.coordinator.listed_video import ListedVideo
from framefleet.launcher.aws.s3 import S3Folder
from framefleet.launcher.output.completed_units import UNIT_COLUMNS, Unit, UnitKey, prove

MAGIC = b"PAR1"
END_OF_FOOTER_BYTES = 8  # its length and the magic, by the Parquet format
TAIL_BYTES = 64 * 2**10  # holds the footer of a shard of 16 row groups

PartKey = tuple[Path, UnitKey]


class Shards:
    """The shards that parts of a manifest name, and what the listing tells of them."""

    def __init__(self, client: Any, output: S3Folder, sizes: Mapping[str, int]) -> None:
        """``sizes``: bytes of what lies below the output, by its path there."""
        self._client = client
        self._output = output
        self._sizes = sizes
        self._sound: set[str] = set()
        self._of_unit: dict[PartKey, set[str]] = {}

    def read(self, part: Path) -> None:
        """Look at the shards that a part names.

        Raises:
            PartError, and what the client raises where it may not read a Parquet shard
        """
        names = ("shard", "place", "bytes", *UNIT_COLUMNS)
        table = read_part(part, names)
        rows: dict[str, list[tuple[int, int]]] = {}
        columns = [table.column(name).to_pylist() for name in names]
        for shard, place, count_bytes, unit, attempt, host in zip(*columns, strict=True):
            if shard is not None:
                rows.setdefault(shard, []).append((-1 if place is None else place, count_bytes))
                self._of_unit.setdefault((part, (unit, attempt, host)), set()).add(shard)
        self._sound.update(shard for shard, images in rows.items() if self._is_sound(shard, images))

    def size(self, shard: str) -> int:
        """Bytes of a shard; -1 if it is not there, or does not hold all that rows place in it."""
        return self._sizes[shard] if shard in self._sound else -1

    def has(self, unit: Unit) -> bool:
        """Whether the images of a unit are there, be it in a bundle."""
        return all(
            shard in self._sound or (is_bundle(shard) and shard in self._sizes) for shard in self.of(unit)
        )

    def of(self, unit: Unit) -> set[str]:
        """The shards that the rows of a unit name."""
        return self._of_unit.get((unit.part, unit.key), set())

    def _is_sound(self, shard: str, images: Sequence[tuple[int, int]]) -> bool:
        size = self._sizes.get(shard, -1)
        last, count_bytes = max(images)
        if min(images)[0] < 0 or not is_shard_path(shard) or is_bundle(shard):
            return False
        if shard.endswith(
            ".tar"
        ):  # behind an image come what is told of it, a header and a block, and the end
            return size >= last + count_bytes + -count_bytes % BLOCK_BYTES + 2 * BLOCK_BYTES + len(END)
        return size > sum(count for _, count in images) and self._rows(shard, size) > last

    def _rows(self, shard: str, size: int) -> int:
        """How many rows the footer of a Parquet shard tells of; -1 if it has none, or lacks some of them."""
        tail = self._tail(shard, TAIL_BYTES)
        length = int.from_bytes(tail[-END_OF_FOOTER_BYTES : -len(MAGIC)], "little") + END_OF_FOOTER_BYTES
        if not tail.endswith(MAGIC) or length > size:
            return -1
        if length > len(tail):
            tail = self._tail(shard, length)
        try:
            told = pq.read_metadata(io.BytesIO(MAGIC + tail[-length:]))
        except (pa.ArrowException, OSError):
            return -1
        groups = [told.row_group(number) for number in range(told.num_row_groups)]
        chunks = (group.column(number) for group in groups for number in range(group.num_columns))
        stored = sum(chunk.total_compressed_size for chunk in chunks)
        return told.num_rows if stored + length <= size else -1

    def _tail(self, shard: str, count_bytes: int) -> bytes:
        told = self._client.get_object(
            Bucket=self._output.bucket, Key=self._output.key(shard), Range=f"bytes=-{count_bytes}"
        )
        body: bytes = told["Body"].read()
        return body


def prove_packed(
    units: Iterable[Unit], shards: Shards, videos: Sequence[ListedVideo], selection: Selection
) -> tuple[list[DoneVideo], list[Unit]]:
    """What is done of ``videos``, and the units whose rows do not count; no shard has images of both.

    Raises:
        UserError: a shard that cannot stay holds frames of a video that could not be done again.
    """
    units = list(units)
    listed = {video.name for video in videos}
    while True:
        done, useless = prove(units, videos, selection)
        useless += [unit for unit in units if unit.video not in listed and not shards.has(unit)]
        known = {id(unit) for unit in useless}
        spoiled = {shard for unit in useless for shard in shards.of(unit)}
        mixed = [unit for unit in units if id(unit) not in known and not spoiled.isdisjoint(shards.of(unit))]
        if not mixed:
            return done, useless
        for unit in mixed:  # what follows from its being done must be looked at again
            if unit.video not in listed:
                shard = min(spoiled & shards.of(unit))
                raise UserError(
                    f"--resume: {shard} holds frames that do not count, and frames of "
                    f"{unit.video}, which is not in the input any more: put that video back, or give another "
                    "--output"
                )
            unit.is_whole = False
