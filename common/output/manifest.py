"""The manifest's schema, and how a part of it is written.

pyarrow takes 0.2 s to load, so it is loaded where it is needed: a host can spend that time while its first
frames are being made.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from framefleet.common.files.durable import replace_durably
from framefleet.common.output.part_file import PartError, read_table, seal

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_PER_GROUP = 10_000
LATER_COLUMNS = ("shard", "place", "distance", "sharpness", "video_checksum")

FIELDS: tuple[tuple[str, str, str], ...] = (
    ("video", "dictionary", "path of the video below the input folder"),
    (
        "sample",
        "int64",
        "k: of the time k/F under a rate, of a list of times its place there, else of the order of frames",
    ),
    ("target_s", "float64", "time wanted, in seconds of the stream"),
    ("pts", "int64", "presentation time of the frame, in ticks of time_base"),
    ("time_base", "dictionary", "seconds per tick, as a fraction"),
    ("time_s", "float64", "pts in seconds"),
    ("keyframe", "bool", "whether the frame is a keyframe"),
    (
        "file",
        "string?",
        "path of the image below the output folder, or its name in a shard; null: dropped",
    ),
    ("shard", "dictionary?", "path of the shard that holds the image, below the output folder; null: none"),
    (
        "place",
        "int64?",
        "of the image in its shard: its row in a Parquet file, its first byte in others",
    ),
    ("pix_fmt", "dictionary", "the decoder's pixel format; images are 8-bit without tone mapping"),
    ("width", "int32", "of the image, in pixels, after rotation"),
    ("height", "int32", "of the image, in pixels, after rotation"),
    ("rotation", "int32", "degrees clockwise by which the stored picture was turned"),
    ("interlaced", "bool", "whether the picture holds two fields, which are stored as they are"),
    ("bytes", "int64", "size of the image file"),
    ("sha256", "string?", "of the image file, in hexadecimal"),
    (
        "status",
        "dictionary",
        "ok; suspect: after a decoding error, up to the next keyframe; without an image: duplicate, blurred",
    ),
    ("distance", "int32?", "bits of 64 in which its perceptual hash differs from that of the sample before"),
    ("sharpness", "float64?", "variance of the Laplacian of the image's luma"),
    ("unit", "int64", "unit of work that gave the frame"),
    ("attempt", "int32", "attempt of that unit"),
    ("host", "dictionary", "host that wrote the file"),
    ("unit_start", "int64", "first position that the unit covers"),
    ("unit_stop", "int64?", "the position behind its last one; null: it reaches to the video's end"),
    ("unit_frames", "int64", "rows of the unit, all of which this file holds"),
    ("unit_shown", "int64", "frames that are displayed in the unit's range, written or not"),
    ("video_bytes", "int64", "size of the video's file"),
    ("video_checksum", "dictionary?", "CRC-32 of the first and of the last 64 KiB of the video's file"),
)


def schema() -> pa.Schema:
    """The manifest's schema; every field has its description in its metadata."""
    import pyarrow as pa

    types = {
        "dictionary": pa.dictionary(pa.int32(), pa.string()),
        "string": pa.string(),
        "int64": pa.int64(),
        "int32": pa.int32(),
        "float64": pa.float64(),
        "bool": pa.bool_(),
    }
    return pa.schema(
        [
            pa.field(
                name,
                types[kind.rstrip("?")],
                nullable=kind.endswith("?"),
                metadata={"description": description},
            )
            for name, kind, description in FIELDS
        ]
    )


def sortable_schema() -> pa.Schema:
    """The same with plain strings, as Arrow sorts by no dictionary."""
    import pyarrow as pa

    fields = [
        field.with_type(pa.string()) if pa.types.is_dictionary(field.type) else field for field in schema()
    ]
    return pa.schema(fields)


def read_part(path: Path, columns: Sequence[str]) -> pa.Table:
    """Some columns of a part. One of an older version has nulls in ``LATER_COLUMNS``.

    Raises:
        PartError: it is damaged, lacks a column, or has values there that are none of a manifest's.
        OSError: it cannot be read.
    """
    import pyarrow as pa

    table = read_table(path, columns)
    fields = {field.name: field for field in schema()}
    for name in columns:
        if name in table.column_names:
            _check_column(path, fields[name], table.column(name))
        elif name in LATER_COLUMNS:
            table = table.append_column(fields[name], pa.nulls(len(table), fields[name].type))
        else:
            raise PartError(path, f"it has no column {name!r}")
    return table.select(list(columns))


def _check_column(path: Path, field: pa.Field, column: pa.ChunkedArray) -> None:
    """See that values are of the kind of a manifest's; others may have written them in other widths."""
    import pyarrow.types as pt

    kind = column.type.value_type if pt.is_dictionary(column.type) else column.type
    for is_kind in (_is_text, pt.is_integer, pt.is_floating, pt.is_boolean):
        wanted = field.type.value_type if pt.is_dictionary(field.type) else field.type
        if is_kind(wanted) and not is_kind(kind) and not (field.nullable and pt.is_null(kind)):
            raise PartError(path, f"its column {field.name!r} is {column.type}, and should be {field.type}")
    if column.null_count and not field.nullable:
        raise PartError(path, f"its column {field.name!r} lacks {column.null_count:,} values")


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow.types as pt

    return bool(pt.is_string(kind) or pt.is_large_string(kind))


def files_in(table: pa.Table) -> list[str]:
    """The files that rows name; what was dropped has none."""
    files: list[str] = table.column("file").drop_null().to_pylist()
    return files


def write_part(path: Path, table: pa.Table, *, temporary: Path) -> None:
    """Replace the manifest part ``path`` by one of these rows, or write a new one, as a whole. It is on
    the disk then; the images that it names must have been brought there before.

    ``temporary``: a path on the same disk that nobody takes for a part.

    Raises:
        OSError: the disk refuses. The part is as it was.
    """
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary.parent.mkdir(parents=True, exist_ok=True)
    try:
        pq.write_table(
            table,
            temporary,
            row_group_size=ROWS_PER_GROUP,
            compression="zstd",
            write_page_checksum=True,
        )
        seal(temporary)
        replace_durably(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
