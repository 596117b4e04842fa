"""Publishing: staged frames become files of the output, and rows of the manifest, for good.

A frame's file and its row are made together: files are renamed into place, then the manifest part that
names them is replaced as a whole. Whatever kills the process, every part is readable and every row's
file is there; a file without a row can only be left by a death between the two, and is written again,
the same, by whoever does the unit next.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from common.layout import OPTIONS_KEY, Layout
from common.media import FrameRow
from common.names import safe_component

# It takes 0.2 s to load, which a host can spend while its first frames are being made.
if TYPE_CHECKING:
    import pyarrow as pa

ROWS_PER_PART = 50_000  # rewriting a part of this size takes some 0.1 s
ROWS_PER_GROUP = 10_000
HOST_BYTES = 200  # of a part's name; the rest is for its number and suffix

Key = tuple[int, int]  # unit, attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """The range that a unit covers: positions ``[start, stop)`` of its video, None being the video's end."""

    start: int = 0
    stop: int | None = None
    shown: int = 0
    video_bytes: int = 0


@dataclass(slots=True)
class Publication:
    """A committed attempt that waits for its rows; the first ``moved`` files are in place already."""

    key: Key
    video: str
    rows: list[FrameRow]
    samples: list[int]
    files: list[str]
    extent: Extent
    moved: int = 0


def warm_up() -> None:
    """Load the libraries that a flush needs; they take some tenths of a second."""
    import pyarrow.compute
    import pyarrow.parquet  # noqa: F401


class Publisher:
    """Makes the committed attempts of one host durable. Not for use by several threads."""

    def __init__(self, layout: Layout, host: str, options: Mapping[str, str] | None = None) -> None:
        """Take over the host's output; staging left by an earlier incarnation is removed.

        ``options``: those that decided on the frames, for the manifest's metadata.
        """
        self._metadata = {OPTIONS_KEY: msgspec.json.encode(options)} if options else None
        self._layout = layout
        self._host = host
        self._prefix = safe_component(host, limit_bytes=HOST_BYTES)
        self._queued: dict[Key, Publication] = {}
        self._part_of: dict[Key, int] = {}
        self._doomed: set[Key] = set()
        self._open: pa.Table | None = None
        shutil.rmtree(layout.staging, ignore_errors=True)
        self._number = _next_number(layout.output / "manifest", self._prefix)

    def add(
        self,
        unit: int,
        attempt: int,
        video: str,
        folder: str,
        rows: list[FrameRow],
        first_sample: int,
        *,
        extent: Extent = Extent(),
    ) -> None:
        """Queue an attempt for the next ``flush``; its files lie in its staging folder.

        ``folder`` is the video's below ``frames/``; ``first_sample`` is added to each row's sample. Staged
        files that no row names are dropped. ``extent`` is what the rows prove to be done.
        """
        samples = [first_sample + row.sample for row in rows]
        files = [
            f"frames/{folder}/{sample:08d}.{row.file.rpartition('.')[2]}"
            for sample, row in zip(samples, rows, strict=True)
        ]
        self._queued[unit, attempt] = Publication((unit, attempt), video, rows, samples, files, extent)

    def flush(self) -> list[Key]:
        """Publish everything queued; return the (unit, attempt) pairs that are durable now.

        Raises:
            OSError: the output cannot be written. Nothing of what was queued counts as published then,
                and it stays queued: flush again, or ``discard`` it.
        """
        self._take_out_doomed()
        if not self._queued:
            return []
        publications = list(self._queued.values())
        for publication in publications:
            self._move_into_place(publication)
        part = self._with_rows_of(publications)
        self._write_part(self._number, part)
        # Against a kill, not a power cut, so nothing is synced: an output is uploaded by a living host.
        self._open = part
        published = list(self._queued)
        self._queued = {}
        self._part_of.update((publication.key, self._number) for publication in publications)
        if part.num_rows >= ROWS_PER_PART:
            self._open = None
            self._number += 1
        for key in published:
            shutil.rmtree(self._staging(key), ignore_errors=True)
        return published

    def discard(self, unit: int, attempt: int) -> None:
        """Undo an attempt wherever it is: staged, queued, or published.

        Published rows go first, then files, unless another attempt on this host has the same file. What
        the disk refuses now stays as it is, files and rows, and the next ``flush`` tries it again.
        """
        key = unit, attempt
        shutil.rmtree(self._staging(key), ignore_errors=True)
        publication = self._queued.pop(key, None)
        if key in self._part_of:
            self._doomed.add(key)
        with contextlib.suppress(OSError):
            if publication is not None and publication.moved:
                self._remove_files(publication.video, publication.files[: publication.moved])
            self._take_out_doomed()

    # ---- files --------------------------------------------------------------------------------------

    def _staging(self, key: Key) -> Path:
        return self._layout.staging / f"{key[0]}-{key[1]}"

    def _move_into_place(self, publication: Publication) -> None:
        if publication.files:
            (self._layout.output / publication.files[0]).parent.mkdir(parents=True, exist_ok=True)
        # pathlib would take longer than the system does
        staging, output = str(self._staging(publication.key)), str(self._layout.output)
        while publication.moved < len(publication.files):
            row, file = publication.rows[publication.moved], publication.files[publication.moved]
            os.replace(f"{staging}/{row.file}", f"{output}/{file}")  # noqa: PTH105
            publication.moved += 1

    def _remove_files(self, video: str, files: Iterable[str]) -> None:
        """Remove ``files`` of a video, but not those of its other attempts, published or queued."""
        kept = {file for other in self._queued.values() if other.video == video for file in other.files}
        kept.update(self._files_in_manifest(video))
        for file in files:
            if file not in kept:
                (self._layout.output / file).unlink(missing_ok=True)

    # ---- the manifest -------------------------------------------------------------------------------

    def _part_path(self, number: int) -> Path:
        return self._layout.output / "manifest" / f"{self._prefix}-{number}.parquet"

    def _with_rows_of(self, publications: list[Publication]) -> pa.Table:
        """The open part and new rows, sorted by video and sample."""
        import pyarrow as pa

        columns: dict[str, list[object]] = {name: [] for name, _, _ in _FIELDS}
        for publication in publications:
            count = len(publication.rows)
            for name, repeated in (
                ("video", publication.video),
                ("unit", publication.key[0]),
                ("attempt", publication.key[1]),
                ("host", self._host),
                ("unit_start", publication.extent.start),
                ("unit_stop", publication.extent.stop),
                ("unit_frames", count),
                ("unit_shown", publication.extent.shown),
                ("video_bytes", publication.extent.video_bytes),
            ):
                columns[name] += [repeated] * count
            columns["sample"] += publication.samples
            columns["file"] += publication.files
            for name in _FIELDS_OF_ROW:
                columns[name] += [getattr(row, name) for row in publication.rows]
        new = pa.Table.from_pydict(columns, schema=_sortable_schema())
        part = new if self._open is None else pa.concat_tables([self._open, new])
        return part.sort_by([("video", "ascending"), ("sample", "ascending")])

    def _read_part(self, number: int) -> pa.Table:
        import pyarrow.parquet as pq

        if number == self._number and self._open is not None:
            return self._open
        with pq.ParquetFile(self._part_path(number)) as file:
            return file.read().cast(_sortable_schema())

    def _write_part(self, number: int, part: pa.Table) -> None:
        import pyarrow.parquet as pq

        path = self._part_path(number)
        if not part.num_rows:
            path.unlink(missing_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        self._layout.staging.mkdir(parents=True, exist_ok=True)
        temporary = self._layout.staging / f"{path.name}.tmp"
        try:
            table = part.cast(schema()).replace_schema_metadata(self._metadata)
            pq.write_table(table, temporary, row_group_size=ROWS_PER_GROUP, compression="zstd")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    def _take_out_doomed(self) -> None:
        """Remove the rows, then the files, of attempts that were discarded after they were published."""
        for key in sorted(self._doomed):
            number = self._part_of[key]
            if self._part_path(number).exists():
                self._take_out(key, number)
            del self._part_of[key]
            self._doomed.discard(key)

    def _take_out(self, key: Key, number: int) -> None:
        import pyarrow.compute as pc

        part = self._read_part(number)
        theirs = pc.and_(pc.equal(part["unit"], key[0]), pc.equal(part["attempt"], key[1]))
        taken, rest = part.filter(theirs), part.filter(pc.invert(theirs))
        if not taken.num_rows:
            return
        self._write_part(number, rest)
        if number == self._number:
            self._open = rest
        self._remove_files(taken["video"][0].as_py(), taken["file"].to_pylist())

    def _files_in_manifest(self, video: str) -> Iterator[str]:
        """The files of a video that have rows, written by any incarnation of this host."""
        for number in range(self._number + 1):
            if self._part_path(number).exists():
                import pyarrow.compute as pc

                part = self._read_part(number)
                yield from part.filter(pc.equal(part["video"], video))["file"].to_pylist()


_FIELDS: tuple[tuple[str, str, str], ...] = (
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
    ("file", "string", "path of the image below the output folder"),
    ("pix_fmt", "dictionary", "the decoder's pixel format; images are 8-bit without tone mapping"),
    ("width", "int32", "of the image, in pixels, after rotation"),
    ("height", "int32", "of the image, in pixels, after rotation"),
    ("rotation", "int32", "degrees clockwise by which the stored picture was turned"),
    ("interlaced", "bool", "whether the picture holds two fields, which are stored as they are"),
    ("bytes", "int64", "size of the image file"),
    ("sha256", "string", "of the image file, in hexadecimal"),
    ("status", "dictionary", "ok, or suspect: after a decoding error, up to the next keyframe"),
    ("unit", "int64", "unit of work that gave the frame"),
    ("attempt", "int32", "attempt of that unit"),
    ("host", "dictionary", "host that wrote the file"),
    ("unit_start", "int64", "first position that the unit covers"),
    ("unit_stop", "int64?", "the position behind its last one; null: it reaches to the video's end"),
    ("unit_frames", "int64", "rows of the unit, all of which this file holds"),
    ("unit_shown", "int64", "frames that are displayed in the unit's range, written or not"),
    ("video_bytes", "int64", "size of the video's file"),
)


_FIELDS_OF_ROW = [name for name, _, _ in _FIELDS if name != "file" and name in FrameRow.__struct_fields__]
_FIELDS_OF_ROW.remove("sample")


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
            for name, kind, description in _FIELDS
        ]
    )


def _sortable_schema() -> pa.Schema:
    """The same with plain strings, as Arrow sorts by no dictionary."""
    import pyarrow as pa

    fields = [
        field.with_type(pa.string()) if pa.types.is_dictionary(field.type) else field for field in schema()
    ]
    return pa.schema(fields)


def _next_number(folder: Path, prefix: str) -> int:
    """The first part number that no earlier incarnation of this host has used."""

    def numbers() -> Iterator[int]:
        if folder.is_dir():
            for path in folder.iterdir():
                name, _, number = path.stem.rpartition("-")
                if name == prefix and number.isdecimal():
                    yield int(number)

    return max(numbers(), default=-1) + 1
