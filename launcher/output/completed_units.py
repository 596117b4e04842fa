"""What the rows of a manifest prove to be done.

The rows of a unit are written to the manifest at once, when the unit is committed. So they prove that its
range is done, if all of them are there, and every file that they name is there with its size. The video must
be the same: a file of that name and size. Where frames are numbered in their order, or limited in number,
ranges count from the first one on, as far as they follow each other.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import msgspec
import pyarrow as pa

from framefleet.common.decoding import NOT_DECODED
from framefleet.common.errors import UserError
from framefleet.common.files.beneath import is_frame_path
from framefleet.common.host.layout import OPTIONS_KEY
from framefleet.common.job.completed import DoneRange, DoneVideo
from framefleet.common.job.sampling import Sampling, parse_time_base
from framefleet.common.job.selection import Selection
from framefleet.common.libraries import LIBRARIES_KEY, Libraries
from framefleet.common.media import DROPPED
from framefleet.common.output.manifest import read_part
from framefleet.common.output.part_file import PartError, read_schema, read_table
from framefleet.common.output.shards import is_shard_path, member_name
from framefleet.coordinator.listed_video import ListedVideo

UnitKey = tuple[int, int, str]  # unit, attempt, host: unique in its part
UNIT_COLUMNS = ("unit", "attempt", "host")
# the bytes of an image, by its row's shard, file, place and bytes; OSError: they are not to be had
ReadImage = Callable[[str | None, str, int | None, int], bytes]


class _Row(NamedTuple):
    """The columns of the manifest that matter here."""

    video: str
    sample: int
    time_base: str
    file: str | None
    shard: str | None
    place: int | None
    bytes: int
    sha256: str | None
    status: str
    unit: int
    attempt: int
    host: str
    unit_start: int
    unit_stop: int | None
    unit_frames: int
    unit_shown: int
    video_bytes: int
    video_checksum: str | None


COLUMNS = list(_Row._fields)


@dataclass(slots=True, kw_only=True)
class Unit:
    """What the rows of one unit tell, which all lie in one part."""

    part: Path
    key: UnitKey
    video: str
    range: DoneRange
    video_bytes: int
    time_base: Fraction
    folder: str | None  # None: of none of its frames there is an image
    first_sample: int
    is_one: bool = True  # all rows tell the same of it
    rows: int = 0
    suspect: int = 0
    dropped: int = 0
    bytes: int = 0
    is_whole: bool = True
    video_checksum: str | None = None


def read_options(part: Path) -> dict[str, str] | None:
    """The options that decided on the frames of a manifest part; None if it does not tell.

    Raises:
        PartError: it is damaged.
        OSError: it cannot be read.
    """
    found = (read_schema(part).metadata or {}).get(OPTIONS_KEY.encode())
    try:
        return None if found is None else msgspec.json.decode(found, type=dict[str, str])
    except NOT_DECODED as error:
        raise PartError(part, f"it does not tell how its frames were made: {error}") from error


def read_libraries(part: Path) -> Libraries | None:
    """What made the frames of a manifest part; None if it does not tell.

    Raises:
        PartError: it is damaged.
        OSError: it cannot be read.
    """
    found = (read_schema(part).metadata or {}).get(LIBRARIES_KEY.encode())
    try:
        return None if found is None else msgspec.json.decode(found, type=Libraries)
    except NOT_DECODED as error:
        raise PartError(part, f"it does not tell what made its frames: {error}") from error


def agree(found: Iterable[tuple[object, Libraries | None]], *, output: object) -> Libraries | None:
    """What made all frames in ``output``, of the places there and what each tells; None if there are none.

    Raises:
        UserError: a place does not tell it, or two differ.
    """
    first: tuple[object, Libraries] | None = None
    for place, libraries in found:
        if libraries is None:
            raise UserError(
                f"--resume: {place} does not tell with which libraries its frames were made, and others may "
                "give other bytes: start the job anew, in another --output"
            )
        if first is None:
            first = place, libraries
        elif libraries != first[1]:
            raise UserError(
                f"--resume: the frames in {output} were made with different libraries, {first[0]} with "
                f"{first[1].unlike(libraries)} and {place} with {libraries.unlike(first[1])}: start the job "
                "anew, in another --output"
            )
    return None if first is None else first[1]


def compare_options(
    mine: Mapping[str, str], theirs: Mapping[str, str] | None, *, place: object, output: object
) -> None:
    """See that frames made with the options ``theirs``, which ``place`` tells, are what is wanted now.

    Raises:
        UserError: an option differs that decides on frames; it names the option and both values.
    """
    if theirs is None:
        raise UserError(
            f"--resume: {place} does not tell with which options its frames were made: "
            "start the job anew, in another --output"
        )
    for option in sorted({*mine, *theirs}):
        if mine.get(option) != theirs.get(option):
            then, now = theirs.get(option, "left out"), mine.get(option, "left out")
            raise UserError(
                f"--resume: the frames in {output} were made with {option} {then}, and now it is "
                f"{now}: give the same options, or another --output"
            )


def read_units(part: Path, size_of: Callable[[str], int], read: ReadImage | None = None) -> Iterator[Unit]:
    """The units that the rows of a manifest part are of.

    ``size_of``: bytes of a file that a row names, or the ``extent`` of a shard; -1 if it is not there.
    ``read``: gives the image of a row, whose contents are compared with the row then.

    Raises:
        PartError: it is damaged; before the first unit.
        OSError: it cannot be read; likewise.
    """
    table = read_part(part, COLUMNS)
    units: dict[UnitKey, Unit] = {}
    columns = [table.column(name).to_pylist() for name in COLUMNS]
    samples: set[tuple[UnitKey, int]] = set()
    for told in zip(*columns, strict=True):
        row = _Row(*told)
        if row.file is not None and row.shard is None and not is_frame_path(row.file):
            raise PartError(part, f"{row.file!r} is not a path below frames/")
        if row.shard is not None and not is_shard_path(row.shard):
            raise PartError(part, f"{row.shard!r} is not a path in shards/")
        key = row.unit, row.attempt, row.host
        unit = units.get(key)
        if unit is None:
            unit = units[key] = Unit(
                part=part,
                key=key,
                video=row.video,
                range=DoneRange(row.unit_start, row.unit_stop, row.unit_frames, row.unit_shown),
                video_bytes=row.video_bytes,
                time_base=_time_base(part, row),
                folder=None,
                first_sample=row.sample,
                video_checksum=row.video_checksum,
            )
        unit.first_sample = min(unit.first_sample, row.sample)
        if unit.folder is None and row.file is not None:
            unit.folder = row.file.rpartition("/")[0]
        unit.rows += 1
        unit.suspect += row.status == "suspect"
        unit.dropped += row.status in DROPPED
        unit.bytes += row.bytes
        unit.is_one = unit.is_one and _is_of(row, unit)
        unit.is_whole = unit.is_whole and unit.is_one and _is_there(row, size_of)
        unit.is_whole = unit.is_whole and (read is None or _has_its_bytes(row, read))
        samples.add((key, row.sample))
    different = Counter(key for key, _ in samples)
    for unit in units.values():
        unit.is_whole = unit.is_whole and unit.rows == unit.range.frames == different[unit.key]
        yield unit


def _time_base(part: Path, row: _Row) -> Fraction:
    try:
        return parse_time_base(row.time_base)
    except ValueError as error:
        raise PartError(part, f"sample {row.sample} of {row.video!r}: {error}") from None


def _is_of(row: _Row, unit: Unit) -> bool:
    """Whether a row says of its unit what the first one said."""
    theirs = unit.range
    return (
        row.video == unit.video
        and row.video_bytes == unit.video_bytes
        and row.video_checksum == unit.video_checksum
        and (row.unit_start, row.unit_stop, row.unit_frames, row.unit_shown)
        == (theirs.start, theirs.stop, theirs.frames, theirs.shown)
    )


def _is_there(row: _Row, size_of: Callable[[str], int]) -> bool:
    """Whether a row's image is where it says; a shard is whole or absent, but others may have cut it."""
    if row.file is None:
        return row.status in DROPPED
    if row.shard is None:
        return size_of(row.file) == row.bytes
    if row.place is None or min(row.place, row.bytes) < 0:
        return False
    end = row.place + (1 if row.shard.endswith(".parquet") else row.bytes)
    return end <= size_of(row.shard)


def _has_its_bytes(row: _Row, read: ReadImage) -> bool:
    """Whether a row's image is what was written: a power cut may leave a file its size and take its bytes."""
    if row.file is None:
        return True
    try:
        return hashlib.sha256(read(row.shard, row.file, row.place, row.bytes)).hexdigest() == row.sha256
    except OSError:
        return False


def prove(
    units: Iterable[Unit], videos: Iterable[ListedVideo], selection: Selection
) -> tuple[list[DoneVideo], list[Unit]]:
    """What is done of ``videos``, and the units whose rows do not count.

    Units of videos that are not part of the job any more are neither, but for those that repeat others. Where
    rows of a unit contradict one another, nobody knows which video it is of.
    """
    by_video: dict[str, list[Unit]] = {}
    useless: list[Unit] = []
    for unit in units:
        if unit.is_one:
            by_video.setdefault(unit.video, []).append(unit)
        else:
            useless.append(unit)
    listed = {video.name: video for video in videos if video.name in by_video}
    done: list[DoneVideo] = []
    for name, theirs in sorted(by_video.items()):
        if name not in listed:
            useless += _repeated(theirs)
            continue
        proved, rest = prove_video(theirs, listed[name], selection)
        useless += rest
        if proved is not None:
            done.append(proved)
    return done, useless


def _repeated(units: Sequence[Unit]) -> list[Unit]:
    """Units that cover what another one covers: whole ones come first, and those that begin first."""
    kept: list[Unit] = []
    repeated: list[Unit] = []
    for unit in sorted(units, key=lambda unit: (not unit.is_whole, unit.range.start)):
        other = next((other for other in kept if _overlap(unit.range, other.range)), None)
        (kept if other is None else repeated).append(unit)
    return repeated


def _overlap(one: DoneRange, other: DoneRange) -> bool:
    return (one.stop is None or other.start < one.stop) and (other.stop is None or one.start < other.stop)


def rows_without(part: Path, gone: set[UnitKey]) -> tuple[pa.Table, pa.Table]:
    """A manifest part without the rows of some units, and those rows."""
    table = read_table(part)
    keys = zip(*(table.column(name).to_pylist() for name in UNIT_COLUMNS), strict=True)
    keep = [key not in gone for key in keys]
    return table.filter(pa.array(keep)), table.filter(pa.array([not kept for kept in keep]))


def by_part(units: Sequence[Unit]) -> dict[Path, set[UnitKey]]:
    """The keys of units, by the part that holds them."""
    found: dict[Path, set[UnitKey]] = {}
    for unit in units:
        found.setdefault(unit.part, set()).add(unit.key)
    return found


def prove_video(
    units: list[Unit], video: ListedVideo, selection: Selection
) -> tuple[DoneVideo | None, list[Unit]]:
    """What is done of a video, and the units that do not count."""
    sampling = selection.of(video.name)
    assert sampling is not None
    units = sorted(units, key=lambda unit: unit.range.start)  # of repeated rows, the first whole ones count
    good: list[Unit] = []
    counted, is_enough = 0, False
    checksum: str | None = None  # of the file that all that counts was made of
    start, stop = sampling.range_of(units[0].time_base)
    position: int | None = start
    for unit in units:
        fits = position is not None and unit.range.start >= position
        if selection.in_order:
            fits = unit.range.start == position and not is_enough
            fits = fits and _is_numbered(unit, counted, sampling)
        fits = fits and (checksum is None or unit.video_checksum in (None, checksum))
        if fits and unit.is_whole and _is_same_video(unit, video):
            good.append(unit)
            checksum = checksum or unit.video_checksum
            position = unit.range.stop
            counted += unit.range.shown if sampling.every > 1 else unit.range.frames
            is_enough = selection.limit is not None and -(-counted // sampling.every) >= selection.limit
    kept = {id(unit) for unit in good}
    rest = [unit for unit in units if id(unit) not in kept]
    if not good:
        return None, rest
    follow = [start, *(unit.range.stop for unit in good)]
    contiguous = all(unit.range.start == at for unit, at in zip(good, follow, strict=False))
    done = DoneVideo(
        name=video.name,
        is_whole=is_enough or (contiguous and follow[-1] in (None, stop)),
        ranges=[unit.range for unit in good],
        frames=sum(unit.range.frames for unit in good),
        suspect=sum(unit.suspect for unit in good),
        bytes=sum(unit.bytes for unit in good),
        dropped=sum(unit.dropped for unit in good),
        checksum=checksum,
    )
    return done, rest


def _is_numbered(unit: Unit, counted: int, sampling: Sampling) -> bool:
    """Whether its first frame has the number that the units before it give it."""
    return not sampling.numbered_by_order or unit.first_sample == -(-counted // sampling.every)


def _is_same_video(unit: Unit, video: ListedVideo) -> bool:
    loose = f"frames/{video.folder}"
    packed = member_name(f"{loose}/0.jpg").rpartition("/")[0]
    return unit.video_bytes == video.size_bytes and unit.folder in (None, loose, packed)
