"""The parts of an output's manifest: which they are, and whether each is as it was written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from common.errors import UserError
from common.manifest import FIELDS, read_part, schema

COLUMNS = [name for name, _, _ in FIELDS]


def manifest_parts(output: Path) -> list[Path]:
    """The parts of an output's manifest, sorted; jobs in S3 have a folder each there.

    Raises:
        UserError: there are none.
    """
    parts = sorted((output / "manifest").rglob("*.parquet"))
    if not parts:
        raise UserError(f"{output} has no manifest/*.parquet: give the --output folder of a job")
    return parts


def read_whole(part: Path) -> pa.Table:
    """All columns of a part, each page compared with its checksum.

    Raises:
        OSError, pa.ArrowException, KeyError: it cannot be read, is damaged, or lacks a column.
    """
    return read_part(part, COLUMNS, checksums=True)


def schema_problems(part: Path) -> Iterator[str]:
    """Sentences on columns of a part that are not those of a manifest."""
    found, wanted = pq.read_schema(part), schema()
    for name in found.names:
        if name not in COLUMNS:
            yield f"manifest/{part.name}: {name!r} is no column of a manifest"
    for field in wanted:
        if field.name in found.names:
            kind = found.field(field.name).type
            if kind != field.type:
                yield f"manifest/{part.name}: {field.name} is {kind}, and a manifest has {field.type}"
