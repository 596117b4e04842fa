"""Going on with a job that was stopped: what its output proves done, and the rest of it taken away.

The rows of a unit are written to the manifest at once, when the unit is committed. So they prove that its
range is done, if all of them are there, and every file that they name is there with its size. The video must
be the same: a file of that name and size. Where frames are numbered in their order, or limited in number,
ranges count from the first one on, as far as they follow each other.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from common.done import DoneRange, DoneVideo
from common.errors import UserError
from common.layout import OPTIONS_KEY, Layout
from common.sampling import Sampling
from common.selection import RANGES_FILE, TIMESTAMPS_FILE, Selection
from common.spec import JobSpec
from coordinator.catalogue import list_videos, select
from coordinator.listing import ListedVideo
from targets.frame_options import frame_options
from targets.job import JobRequest
from targets.merge import HostOutput, merge

SPEC_PATH = Layout(Path()).job_spec
OUTPUT_PATH = Layout(Path()).output

OnProgress = Callable[[int, int], None]


class _Row(NamedTuple):
    """The columns of the manifest that matter here."""

    video: str
    sample: int
    time_base: str
    file: str
    bytes: int
    status: str
    unit: int
    attempt: int
    host: str
    unit_start: int
    unit_stop: int | None
    unit_frames: int
    unit_shown: int
    video_bytes: int


COLUMNS = list(_Row._fields)


@dataclass(slots=True, kw_only=True)
class _Unit:
    """What the rows of one unit tell, which all lie in one part."""

    part: Path
    key: tuple[int, int, str]  # unit, attempt, host: unique in its part
    video: str
    range: DoneRange
    video_bytes: int
    time_base: str
    folder: str
    first_sample: int
    rows: int = 0
    suspect: int = 0
    bytes: int = 0
    is_whole: bool = True


def check_options(request: JobRequest, roots: Sequence[Path]) -> None:
    """See that the frames in the output, and those of jobs whose launcher was killed (``roots``), are what
    the request asks for.

    Raises:
        UserError: an option differs that decides on frames; it names the option and both values.
    """
    mine = options_of(request)
    for path, theirs in _options_found(request.output, roots):
        if theirs is None:
            raise UserError(
                f"--resume: {path} does not tell with which options its frames were made: "
                "start the job anew, in another --output"
            )
        for option in sorted({*mine, *theirs}):
            if mine.get(option) != theirs.get(option):
                then, now = theirs.get(option, "left out"), mine.get(option, "left out")
                raise UserError(
                    f"--resume: the frames in {request.output} were made with {option} {then}, and now it is "
                    f"{now}: give the same options, or another --output"
                )


def options_of(request: JobRequest) -> dict[str, str]:
    """The options that decide on the frames of a job."""
    return frame_options(request.sampling.options, request.sampling.files, request.image)


def take_over(
    request: JobRequest, *, roots: Sequence[Path], on_progress: OnProgress = lambda done, total: None
) -> list[DoneVideo]:
    """Tell what is done, after removing rows and files that prove nothing from the output.

    Outputs of hosts whose launcher was killed (``roots``) are merged into it first.

    Raises:
        UserError: the output or the input cannot be read, or the output cannot be changed.
    """
    for folder in roots:
        _recover(folder, request.output, on_progress)
    try:
        units = list(_read_units(request.output, on_progress))
        if not units:
            return []
        files = request.sampling.files
        selection = Selection(
            request.sampling.options,
            timestamps=files.get(TIMESTAMPS_FILE, b""),
            ranges=files.get(RANGES_FILE, b""),
        )
        listed = {video.name: video for video in select(list_videos(request.input), selection).videos}
        by_video: dict[str, list[_Unit]] = {}
        for unit in units:
            by_video.setdefault(unit.video, []).append(unit)
        done: list[DoneVideo] = []
        useless: list[_Unit] = []
        for name, theirs in sorted(by_video.items()):
            video = listed.get(name)
            if video is None:
                continue  # it is not part of the job any more, and what it gave is no part of it either
            proved, rest = _proved(theirs, video, selection)
            useless += rest
            if proved is not None:
                done.append(proved)
        _remove(request.output, useless)
    except OSError as error:
        raise UserError(f"--resume: cannot go on in {request.output}: {error.strerror or error}") from error
    return done


# ---- proofs -----------------------------------------------------------------------------------------


def _proved(
    units: list[_Unit], video: ListedVideo, selection: Selection
) -> tuple[DoneVideo | None, list[_Unit]]:
    """What is done of a video, and the units that do not count."""
    sampling = selection.of(video.name)
    assert sampling is not None
    units = sorted(units, key=lambda unit: unit.range.start)
    good: list[_Unit] = []
    counted, is_enough = 0, False
    start, stop = sampling.range_of(Fraction(units[0].time_base))
    position: int | None = start
    for unit in units:
        fits = position is not None and unit.range.start >= position
        if selection.in_order:
            fits = unit.range.start == position and not is_enough
            fits = fits and _is_numbered(unit, counted, sampling)
        if fits and unit.is_whole and _is_same_video(unit, video):
            good.append(unit)
            position = unit.range.stop
            counted += unit.range.shown if sampling.every > 1 else unit.range.frames
            is_enough = selection.limit is not None and -(-counted // sampling.every) >= selection.limit
        elif selection.in_order:
            position = None
    rest = [unit for unit in units if unit not in good]
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
    )
    return done, rest


def _is_numbered(unit: _Unit, counted: int, sampling: Sampling) -> bool:
    """Whether its first frame has the number that the units before it give it."""
    return not sampling.numbered_by_order or unit.first_sample == -(-counted // sampling.every)


def _is_same_video(unit: _Unit, video: ListedVideo) -> bool:
    return unit.video_bytes == video.size_bytes and unit.folder == f"frames/{video.folder}"


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116 - a Path for each frame is slow
    except FileNotFoundError:
        return -1


# ---- the output -------------------------------------------------------------------------------------


def _parts(output: Path) -> list[Path]:
    return sorted((output / "manifest").glob("*.parquet"))


def _options_found(output: Path, roots: Sequence[Path]) -> Iterator[tuple[Path, dict[str, str] | None]]:
    for path in _parts(output):
        try:
            metadata = pq.read_schema(path).metadata or {}
        except pa.ArrowInvalid:
            continue  # nothing of it is taken over
        found = metadata.get(OPTIONS_KEY.encode())
        yield path, None if found is None else msgspec.json.decode(found, type=dict[str, str])
    for root in roots:
        for path in sorted(root.glob(f"*/{SPEC_PATH}")):
            yield path, _read_spec(path).frame_options or None
            break


def _read_spec(path: Path) -> JobSpec:
    try:
        return msgspec.json.decode(path.read_bytes(), type=JobSpec)
    except (OSError, msgspec.DecodeError) as error:
        raise UserError(f"--resume: {path}, left by an earlier launcher, cannot be read ({error})") from error


def _recover(root: Path, output: Path, on_progress: OnProgress) -> None:
    """Do what a launcher that was killed could not: merge the outputs of its hosts."""
    hosts = sorted(path.name for path in root.iterdir() if (path / SPEC_PATH).is_file())
    if hosts:
        mode = _read_spec(root / hosts[0] / SPEC_PATH).mode
        outputs = [HostOutput(host, root / host / OUTPUT_PATH) for host in hosts]
        merge(outputs, output, mode=mode, primary=hosts[0], on_progress=on_progress)
    shutil.rmtree(root, ignore_errors=True)


def _read_units(output: Path, on_progress: OnProgress) -> Iterator[_Unit]:
    paths = _parts(output)
    for count, path in enumerate(paths):
        on_progress(count, len(paths))
        try:
            table = pq.ParquetFile(path).read(columns=COLUMNS)
        except (pa.ArrowInvalid, pa.ArrowKeyError):
            continue
        units: dict[tuple[int, int, str], _Unit] = {}
        columns = [table.column(name).to_pylist() for name in COLUMNS]
        for told in zip(*columns, strict=True):
            row = _Row(*told)
            key = row.unit, row.attempt, row.host
            unit = units.get(key)
            if unit is None:
                unit = units[key] = _Unit(
                    part=path,
                    key=key,
                    video=row.video,
                    range=DoneRange(row.unit_start, row.unit_stop, row.unit_frames, row.unit_shown),
                    video_bytes=row.video_bytes,
                    time_base=row.time_base,
                    folder=row.file.rpartition("/")[0],
                    first_sample=row.sample,
                )
            unit.first_sample = min(unit.first_sample, row.sample)
            unit.rows += 1
            unit.suspect += row.status == "suspect"
            unit.bytes += row.bytes
            unit.is_whole = unit.is_whole and _size(f"{output}/{row.file}") == row.bytes
        for unit in units.values():
            unit.is_whole = unit.is_whole and unit.rows == unit.range.frames
            yield unit


def _remove(output: Path, units: Sequence[_Unit]) -> None:
    """Take rows that prove nothing out of the manifest, then their files."""
    by_part: dict[Path, set[tuple[int, int, str]]] = {}
    for unit in units:
        by_part.setdefault(unit.part, set()).add(unit.key)
    for path, gone in by_part.items():
        table = pq.ParquetFile(path).read()
        keys = zip(*(table.column(name).to_pylist() for name in ("unit", "attempt", "host")), strict=True)
        keep = [key not in gone for key in keys]
        files = table.column("file").filter(pa.array([not kept for kept in keep])).to_pylist()
        if any(keep):
            temporary = path.with_name(f".{path.name}.tmp")
            pq.write_table(table.filter(pa.array(keep)), temporary)
            temporary.replace(path)
        else:
            path.unlink()
        for file in files:
            (output / file).unlink(missing_ok=True)
