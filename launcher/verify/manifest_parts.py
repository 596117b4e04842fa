"""The parts of an output's manifest: which they are, and whether each is as it was written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from framefleet.common.output.manifest import FIELDS, read_part, schema
from framefleet.common.output.part_file import read_schema

COLUMNS = [name for name, _, _ in FIELDS]


def read_whole(part: Path) -> pa.Table:
    """All columns of a part.

    Raises:
        PartError: it is damaged, or lacks a column.
        OSError: it cannot be read.
    """
    return read_part(part, COLUMNS)


def schema_problems(part: Path, name: str) -> Iterator[str]:
    """Sentences on columns of a part, called ``name``, that are not those of a manifest."""
    found, wanted = read_schema(part), schema()
    for column in found.names:
        if column not in COLUMNS:
            yield f"{name}: {column!r} is no column of a manifest"
    for field in wanted:
        if field.name in found.names:
            kind = found.field(field.name).type
            if kind != field.type:
                yield f"{name}: {field.name} is {kind}, and a manifest has {field.type}"
