"""The manifest of an output as videos with their frames in order, for formats that list both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from framefleet.common.errors import UserError
from framefleet.common.output.manifest import read_part
from framefleet.common.output.part_file import manifest_parts
from framefleet.launcher.text import program

ROWS_AT_ONCE = 16_384
FRAMES = "frames/"
SUSPECT = "suspect"
ODD = r"//|/\.\.?/|/\.{0,2}$|\x00"  # in a path below FRAMES: it leads elsewhere, or to no file


class Frame(NamedTuple):
    """A row of the manifest: what formats want to know of a frame.

    ``file`` is relative to the output folder, ``time_s`` in seconds of the video, ``width`` and ``height``
    in pixels of the image as it is on disk.
    """

    video: str
    sample: int
    file: str
    time_s: float
    width: int
    height: int
    bytes: int
    status: str

    @property
    def folder(self) -> str:
        """The folder of the frame's file, relative to the output, with a slash at its end."""
        return self.file.rpartition("/")[0] + "/"

    @property
    def name(self) -> str:
        """The frame's file within its folder."""
        return self.file.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Video:
    """A video's frames, in the order of their samples; there is at least one."""

    name: str
    frames: list[Frame]


class Manifest:
    """The rows of an output's manifest, sorted by video and sample.

    Args:
        output: a job's ``--output`` folder; of it, only ``manifest/`` is read.
        suspect: whether frames of the status ``suspect`` are among them.

    Raises:
        UserError: there is no manifest, it cannot be read, it holds no frames, or they lie in shards.
    """

    def __init__(self, output: Path, *, suspect: bool = True) -> None:
        parts = manifest_parts(output)
        try:
            table = pa.concat_tables([_read(part) for part in parts])
        except OSError as error:
            raise UserError(f"the manifest of {output} cannot be read: {error}") from error
        table = table.filter(pc.is_valid(table["file"]))  # what was dropped has no image
        if not suspect:
            table = table.filter(pc.not_equal(table["status"], SUSPECT))
        if not table.num_rows:
            raise UserError(
                f"the manifest of {output} names no frames{'' if suspect else ' but suspect ones'}"
            )
        self._table = table.sort_by([("video", "ascending"), ("sample", "ascending")])
        shards = table["shard"].drop_null()
        if len(shards):
            raise UserError(
                f"{output} has its frames in shards ({shards[0].as_py()}), and labelling tools want files: "
                "extract them without --pack"
            )
        _check(output, table)

    def __len__(self) -> int:
        """How many frames there are."""
        return int(self._table.num_rows)

    def __iter__(self) -> Iterator[Frame]:
        """Each frame, video by video."""
        return _frames(self._table)

    def by_file(self) -> Iterator[Frame]:
        """Each frame, in the order of files' names."""
        return _frames(self._table.sort_by("file"))

    def videos(self) -> Iterator[Video]:
        """Each video with its frames."""
        for name, frames in groupby(self, key=attrgetter("video")):
            yield Video(name, list(frames))


def _frames(table: pa.Table) -> Iterator[Frame]:
    for batch in table.to_batches(ROWS_AT_ONCE):
        columns = (batch.column(name).to_pylist() for name in Frame._fields)
        yield from (Frame(*values) for values in zip(*columns, strict=True))


def _check(output: Path, table: pa.Table) -> None:
    """Refuse frames that no job has written, and one frame twice, as labelling tools take paths and sizes as
    they are told.

    Raises:
        UserError: there are some; it names one.
    """
    well = pc.and_(
        pc.and_(
            pc.starts_with(table["file"], FRAMES), pc.invert(pc.match_substring_regex(table["file"], ODD))
        ),
        pc.and_(
            pc.and_(pc.greater_equal(table["sample"], 0), pc.is_finite(table["time_s"])),
            pc.and_(pc.greater(table["width"], 0), pc.greater(table["height"], 0)),
        ),
    )
    odd = table["file"].filter(pc.invert(well))
    if len(odd):
        raise UserError(
            f"the manifest of {output} tells of {odd[0].as_py()!r} what cannot be: "
            f"`{program()} verify {output}` says more"
        )
    counted = pc.value_counts(table["file"])
    twice = counted.field("values").filter(pc.greater(counted.field("counts"), 1))
    if len(twice):
        raise UserError(
            f"the manifest of {output} has more than one row of {twice[0].as_py()!r}: "
            "the job with --resume takes repeated rows away"
        )


def _read(part: Path) -> pa.Table:
    table = read_part(part, (*Frame._fields, "shard"))
    for place, field in enumerate(table.schema):  # parts have dictionaries of their own; Arrow sorts by none
        if pa.types.is_dictionary(field.type):
            plain = table.column(place).cast(pa.string())
            table = table.set_column(place, pa.field(field.name, pa.string()), plain)
    return table
