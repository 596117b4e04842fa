"""What waits to be published: the rows of a committed attempt, and what they prove to be done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from framefleet.common.media import FrameRow
from framefleet.common.output.manifest import FIELDS, sortable_schema

# It takes 0.2 s to load, which a host can spend while its first frames are being made.
if TYPE_CHECKING:
    import pyarrow as pa

Key = tuple[int, int]  # unit, attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """The range that a unit covers: positions ``[start, stop)`` of its video, None being the video's end."""

    start: int = 0
    stop: int | None = None
    shown: int = 0
    video_bytes: int = 0
    video_checksum: str | None = None


@dataclass(slots=True)
class Publication:
    """A committed attempt that waits for its rows; the first ``moved`` files are in place already. With a
    ``bundle``, that is the only file."""

    key: Key
    video: str
    rows: list[FrameRow]
    samples: list[int]
    files: list[str | None]
    extent: Extent
    bundle: str | None = None
    moved: int = 0


WHOLE_VIDEO = Extent()


def table_of(publications: Sequence[Publication], host: str) -> pa.Table:
    """The manifest's rows of what a host publishes."""
    import pyarrow as pa

    columns: dict[str, list[object]] = {name: [] for name, _, _ in FIELDS}
    for publication in publications:
        count = len(publication.rows)
        for name, repeated in (
            ("video", publication.video),
            ("unit", publication.key[0]),
            ("attempt", publication.key[1]),
            ("host", host),
            ("unit_start", publication.extent.start),
            ("unit_stop", publication.extent.stop),
            ("unit_frames", count),
            ("unit_shown", publication.extent.shown),
            ("video_bytes", publication.extent.video_bytes),
            ("video_checksum", publication.extent.video_checksum),
        ):
            columns[name] += [repeated] * count
        columns["sample"] += publication.samples
        columns["file"] += publication.files
        columns["shard"] += [None if file is None else publication.bundle for file in publication.files]
        for name in _FIELDS_OF_ROW:
            columns[name] += [getattr(row, name) for row in publication.rows]
        columns["sha256"] += [row.sha256 or None for row in publication.rows]
    return pa.Table.from_pydict(columns, schema=sortable_schema())


_MADE = ("file", "sample", "sha256")  # of what a row says
_FIELDS_OF_ROW = [name for name, _, _ in FIELDS if name not in _MADE and name in FrameRow.__struct_fields__]
