"""The rows of a manifest against one another, and against what follows from them: names, times, numbers."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from math import isfinite
from typing import Final, NamedTuple, get_args

import numpy as np

from framefleet.common.job.sampling import parse_time_base
from framefleet.common.media import DROPPED, MAX_COUNT, FrameStatus
from framefleet.common.output.shards import is_bundle, member_name
from framefleet.common.output.video_names import possible_folders
from framefleet.common.status import Summary
from framefleet.launcher.verify.recorded_options import FrameOptions

STATUSES: Final = get_args(FrameStatus)
TARGET_TOLERANCE_S: Final = 1e-6

UnitKey = tuple[int, int, str]

_time_base = lru_cache(maxsize=1024)(parse_time_base)
_folders = lru_cache(maxsize=1024)(possible_folders)


class Row(NamedTuple):
    """A row of the manifest; ``told``: all that a shard tells of its image."""

    video: str
    sample: int
    target_s: float
    pts: int
    time_base: str
    time_s: float
    file: str | None
    shard: str | None
    place: int | None
    bytes: int
    sha256: str | None
    width: int
    height: int
    status: str
    unit: int
    attempt: int
    host: str
    unit_start: int
    unit_stop: int | None
    unit_frames: int
    unit_shown: int
    video_bytes: int
    told: tuple[object, ...]

    @property
    def where(self) -> str:
        """What a sentence on it begins with."""
        return self.file or f"manifest: sample {self.sample} of {self.video}"


@dataclass(slots=True)
class _Video:
    """What all rows of a video must have in common, as its first row says; ``samples`` and ``pts`` are of
    each row, ``folder`` is where its images lie, ``origin_s`` when its first frame is shown."""

    time_base: str
    video_bytes: int
    folder: str | None = None
    origin_s: float | None = None
    samples: array[int] = field(default_factory=lambda: array("q"))
    pts: array[int] = field(default_factory=lambda: array("q"))


@dataclass(slots=True)
class RowChecks:
    """Takes the rows of all parts, one after the other. In memory it holds 16 bytes of each."""

    rows: int = 0
    dropped: int = 0
    suspect: int = 0
    bytes: int = 0
    _videos: dict[str, _Video] = field(default_factory=dict)
    _units: dict[UnitKey, tuple[object, ...]] = field(default_factory=dict)
    _contradicted: set[UnitKey | str] = field(default_factory=set)
    _rows_of_units: Counter[UnitKey] = field(default_factory=Counter)

    def take(self, row: Row, options: FrameOptions | None) -> Iterator[str]:
        """Sentences on what is wrong with a row of a part that was made with ``options``."""
        self.rows += 1
        self.dropped += row.status in DROPPED
        self.suspect += row.status == "suspect"
        self.bytes += row.bytes
        video = self._videos.get(row.video)
        if video is None:
            video = self._videos[row.video] = _Video(row.time_base, row.video_bytes)
        video.samples.append(row.sample)
        video.pts.append(row.pts)
        unit = row.unit, row.attempt, row.host
        self._rows_of_units[unit] += 1
        says = row.video, row.unit_start, row.unit_stop, row.unit_frames, row.unit_shown
        if self._units.setdefault(unit, says) != says and unit not in self._contradicted:
            self._contradicted.add(unit)  # once: the first row may be the odd one
            yield f"{row.where}: it tells of its unit {row.unit} what other rows of that do not"
        common = row.time_base, row.video_bytes
        if common != (video.time_base, video.video_bytes) and row.video not in self._contradicted:
            self._contradicted.add(row.video)
            yield f"{row.where}: it tells of {row.video} what other rows of that do not"
        found = list(_row_problems(row))
        yield from found or _name_and_target(row, video, options)

    def end_part(self) -> Iterator[str]:
        """Sentences on units of the part that has been taken, of which rows are missing or too many."""
        for key, says in self._units.items():
            frames, rows = says[3], self._rows_of_units[key]
            if frames != rows:
                yield f"manifest: unit {key[0]} of {key[2]} has {rows:,} rows, and they tell of {frames:,}"
        self._units.clear()
        self._rows_of_units.clear()

    def end(self, summary: Summary | None) -> Iterator[str]:
        """Sentences on videos whose rows are not in order, and on totals that are not the job's."""
        for name, video in sorted(self._videos.items()):
            yield from _order_problems(name, video)
        if summary is None:
            return
        for what, rows, told in (
            ("frames", self.rows, summary.frames),
            ("frames that were left out", self.dropped, summary.dropped_frames),
            ("suspect frames", self.suspect, summary.suspect_frames),
            ("bytes", self.bytes, summary.bytes),
        ):
            # a job that goes on with another counts what is of its own videos; others may be there too
            if rows < told or (rows > told and not summary.taken_over):
                yield f"job/summary.json: it tells of {told:,} {what}, and the manifest of {rows:,}"


def _row_problems(row: Row) -> Iterator[str]:
    if row.status not in STATUSES:
        yield f"{row.where}: its status is {row.status!r}, and should be one of {', '.join(STATUSES)}"
    elif (row.file is None) != (row.status in DROPPED):
        yield f"{row.where}: it is {row.status}, and has {'no file' if row.file is None else 'a file'}"
    if row.shard is None and row.place is not None:
        yield f"{row.where}: it has the place {row.place}, and lies in no shard"
    if not 0 <= row.sample <= MAX_COUNT:
        yield f"{row.where}: its sample is {row.sample}"
    if row.bytes < 0 or min(row.width, row.height) <= 0:
        yield f"{row.where}: it has {row.bytes} bytes and {row.width}x{row.height} pixels"
    try:
        time_s = float(row.pts * _time_base(row.time_base))
    except ValueError as error:
        yield f"{row.where}: its time base: {error}"
        return
    if row.time_s != time_s:
        yield f"{row.where}: time_s is {row.time_s}, and pts x time_base {time_s}"
    if not isfinite(row.target_s):
        yield f"{row.where}: target_s is {row.target_s}"


def _name_and_target(row: Row, video: _Video, options: FrameOptions | None) -> Iterator[str]:
    """What follows from the options of a row without other problems."""
    if options is None:
        return
    if options.rate is not None:
        origin_s = row.target_s - row.sample / float(options.rate)
        if video.origin_s is None:
            video.origin_s = origin_s
        if abs(origin_s - video.origin_s) > TARGET_TOLERANCE_S * max(1.0, abs(row.target_s)):
            yield f"{row.where}: target_s is {row.target_s}, which is not the time of sample {row.sample}"
    elif not options.listed and row.target_s != row.time_s:
        yield f"{row.where}: target_s is {row.target_s}, and time_s {row.time_s}"
    if row.file is None:
        return
    for folder in _folders(row.video) if video.folder is None else (video.folder,):
        name = options.names.name(
            folder, sample=row.sample, pts=row.pts, time_s=row.time_s, suffix=options.image.suffix
        )
        file = f"frames/{name}"
        if row.shard is not None and not is_bundle(row.shard):
            file = member_name(file)
        if row.file == file:
            video.folder = folder
            return
    yield f"{row.file}: the name of sample {row.sample} of {row.video} is another"


def _order_problems(name: str, video: _Video) -> Iterator[str]:
    samples = np.frombuffer(video.samples, np.int64)
    pts = np.frombuffer(video.pts, np.int64)
    order = np.lexsort((pts, samples))
    samples, pts = samples[order], pts[order]
    repeated = np.unique(samples[1:][samples[1:] == samples[:-1]])
    yield from (f"manifest: sample {sample} of {name} has two rows" for sample in repeated)
    back = np.flatnonzero((pts[1:] <= pts[:-1]) & (samples[1:] != samples[:-1]))
    if len(back):
        sample = samples[back[0] + 1]
        yield f"manifest: sample {sample} of {name} is not shown after the one before it"
