"""Publishing: staged frames become files of the output, and rows of the manifest, for good.

A frame's file and its row are made together: files are renamed into place, then the manifest part that
names them is replaced as a whole. Whatever kills the process, every part is readable and every row's
file is there; a file without a row can only be left by a death between the two, and is written again,
the same, by whoever does the unit next.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.layout import Layout
from common.media import FrameRow
from common.names import safe_component

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_PER_PART = 50_000  # rewriting a part of this size takes some 0.1 s
ROWS_PER_GROUP = 10_000


@dataclass(frozen=True, slots=True)
class Publication:
    """One committed attempt and the manifest rows that it gives."""

    unit: int
    attempt: int
    rows: list[dict[str, Any]]
    staged: list[str]
    """Names in the staging folder, one for each row."""


class Publisher:
    """Makes the committed attempts of one host durable. Not for use by several threads."""

    def __init__(self, layout: Layout, host: str) -> None:
        """Take over the host's output; staging left by an earlier incarnation is removed."""
        self._layout = layout
        self._host = host
        self._prefix = safe_component(host)
        self._queued: dict[tuple[int, int], Publication] = {}
        self._part: dict[tuple[int, int], Publication] = {}
        self._closed_parts: dict[tuple[int, int], int] = {}
        shutil.rmtree(layout.staging, ignore_errors=True)
        self._number = _next_number(layout.output / "manifest", self._prefix)

    def add(
        self, unit: int, attempt: int, video: str, folder: str, rows: list[FrameRow], first_sample: int
    ) -> None:
        """Queue an attempt for the next ``flush``; its files lie in its staging folder."""
        made = []
        for row in rows:
            sample = first_sample + row.sample
            suffix = Path(row.file).suffix
            made.append(
                {
                    "video": video,
                    "sample": sample,
                    "target_s": row.target_s,
                    "pts": row.pts,
                    "time_base": row.time_base,
                    "time_s": row.time_s,
                    "keyframe": row.keyframe,
                    "file": f"frames/{folder}/{sample:08d}{suffix}",
                    "pix_fmt": row.pix_fmt,
                    "width": row.width,
                    "height": row.height,
                    "rotation": row.rotation,
                    "bytes": row.bytes,
                    "sha256": row.sha256,
                    "status": row.status,
                    "unit": unit,
                    "attempt": attempt,
                    "host": self._host,
                }
            )
        self._queued[unit, attempt] = Publication(unit, attempt, made, [row.file for row in rows])

    def flush(self) -> list[tuple[int, int]]:
        """Publish everything queued; return the (unit, attempt) pairs that are durable now.

        Raises:
            OSError: the output cannot be written. Nothing of what was queued counts as published then,
                and it stays queued: flush again, or ``discard`` it.
        """
        if not self._queued:
            return []
        for publication in self._queued.values():
            self._move_into_place(publication)
        part = {**self._part, **self._queued}
        self._write_part(self._number, part)
        published = list(self._queued)
        self._queued = {}
        self._part = part
        if sum(len(publication.rows) for publication in part.values()) >= ROWS_PER_PART:
            for key in part:
                self._closed_parts[key] = self._number
            self._part = {}
            self._number += 1
        for unit, attempt in published:
            shutil.rmtree(self._staging(unit, attempt), ignore_errors=True)
        return published

    def discard(self, unit: int, attempt: int) -> None:
        """Undo an attempt wherever it is: staged, queued, or published.

        Published rows go first, then files, unless another attempt on this host has the same file.
        """
        key = unit, attempt
        shutil.rmtree(self._staging(unit, attempt), ignore_errors=True)
        queued = self._queued.pop(key, None)
        if queued is not None:
            self._remove_files([row["file"] for row in queued.rows])
            return
        published = self._part.pop(key, None)
        if published is not None:
            self._write_part(self._number, self._part)
            self._remove_files([row["file"] for row in published.rows])
            return
        number = self._closed_parts.pop(key, None)
        if number is not None:
            self._remove_files(self._take_out(number, unit, attempt))

    # ---- files --------------------------------------------------------------------------------------

    def _staging(self, unit: int, attempt: int) -> Path:
        return self._layout.staging / f"{unit}-{attempt}"

    def _move_into_place(self, publication: Publication) -> None:
        staging = self._staging(publication.unit, publication.attempt)
        made: set[Path] = set()
        for name, row in zip(publication.staged, publication.rows, strict=True):
            target = self._layout.output / row["file"]
            if target.parent not in made:
                target.parent.mkdir(parents=True, exist_ok=True)
                made.add(target.parent)
            try:
                (staging / name).replace(target)
            except FileNotFoundError:
                if not target.exists():  # moved by an earlier flush that failed further on
                    raise

    def _remove_files(self, files: list[str]) -> None:
        kept = {
            row["file"]
            for publication in (*self._part.values(), *self._queued.values())
            for row in publication.rows
        }
        for file in files:
            if file not in kept:
                (self._layout.output / file).unlink(missing_ok=True)

    # ---- the manifest -------------------------------------------------------------------------------

    def _part_path(self, number: int) -> Path:
        return self._layout.output / "manifest" / f"{self._prefix}-{number}.parquet"

    def _write_part(self, number: int, part: dict[tuple[int, int], Publication]) -> None:
        rows = [row for publication in part.values() for row in publication.rows]
        if not rows:
            self._part_path(number).unlink(missing_ok=True)
            return
        rows.sort(key=lambda row: (row["video"], row["sample"]))
        import pyarrow as pa

        self._replace(number, pa.Table.from_pylist(rows, schema=schema()))

    def _take_out(self, number: int, unit: int, attempt: int) -> list[str]:
        """Remove an attempt's rows from a part that is closed; return the files that they named."""
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        table = pq.read_table(self._part_path(number))
        theirs = pc.and_(pc.equal(table["unit"], unit), pc.equal(table["attempt"], attempt))
        files: list[str] = table.filter(theirs)["file"].to_pylist()
        self._replace(number, table.filter(pc.invert(theirs)))
        return files

    def _replace(self, number: int, table: pa.Table) -> None:
        import pyarrow.parquet as pq

        path = self._part_path(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        # beside the staging folder: on the disk of the output, and not in it while it is not whole
        temporary = self._layout.staging.with_name(f"{path.name}.tmp")
        try:
            pq.write_table(table, temporary, row_group_size=ROWS_PER_GROUP, compression="zstd")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


_FIELDS: tuple[tuple[str, str, str], ...] = (
    ("video", "dictionary", "path of the video below the input folder"),
    (
        "sample",
        "int64",
        "k: the frame wanted k/F seconds after the first one; under native the frame's number",
    ),
    ("target_s", "float64", "time wanted, in seconds of the stream"),
    ("pts", "int64", "presentation time of the frame, in ticks of time_base"),
    ("time_base", "dictionary", "seconds per tick, as a fraction"),
    ("time_s", "float64", "pts in seconds"),
    ("keyframe", "bool", "whether the frame is a keyframe"),
    ("file", "string", "path of the image below the output folder"),
    ("pix_fmt", "dictionary", "the decoder's pixel format; images are 8-bit without tone mapping"),
    ("width", "int32", "of the image, in pixels, after rotation"),
    ("height", "int32", "of the image, in pixels, after rotation"),
    ("rotation", "int32", "degrees clockwise by which the stored picture was turned"),
    ("bytes", "int64", "size of the image file"),
    ("sha256", "string", "of the image file, in hexadecimal"),
    ("status", "dictionary", "ok, or suspect: after a decoding error, up to the next keyframe"),
    ("unit", "int64", "unit of work that gave the frame"),
    ("attempt", "int32", "attempt of that unit"),
    ("host", "dictionary", "host that wrote the file"),
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
            pa.field(name, types[kind], nullable=False, metadata={"description": description})
            for name, kind, description in _FIELDS
        ]
    )


def _next_number(folder: Path, prefix: str) -> int:
    """The first part number that no earlier incarnation of this host has used."""

    def numbers() -> Iterator[int]:
        if folder.is_dir():
            for path in folder.iterdir():
                name, _, number = path.stem.rpartition("-")
                if name == prefix and number.isdecimal():
                    yield int(number)

    return max(numbers(), default=-1) + 1
