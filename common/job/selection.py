"""What a job wants of each of its videos: the spec's options, and the files that lie beside it.

A file (``timestamps.tsv``, ``ranges.tsv``) has a line for each video that it names, sorted by these
lines' bytes: the video's name as JSON, a tab, and numbers of seconds (``7``, ``1/3``) with spaces
between. The launcher makes it of what the user gives; a host looks lines up in it as it lies, so that a
million videos take no more memory than the file.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import msgspec

from framefleet.common.errors import UserError
from framefleet.common.job.sampling import Sampling, parse_sampling
from framefleet.common.job.spec import SamplingOptions

TIMESTAMPS_FILE = "timestamps.tsv"
RANGES_FILE = "ranges.tsv"
OPEN = "-"  # in place of a number: no limit
MAX_SECONDS = 10**9  # thirty years; in ticks of any time base it fits 64 bits
MAX_TEXT = 64  # characters of a number
REMEDY = "give seconds (7.5), a fraction (1/3), or h:mm:ss.sss"
VIDEOS_REMEMBERED = 64  # more than a host works on at once

_ALL = "null"  # in place of a name: the line is for every video
_SECONDS = re.compile(
    r"(?:(?P<hours>[0-9]+):)?(?P<minutes>[0-9]+):(?P<seconds>[0-9]{1,2}(?:\.[0-9]*)?)"
    r"|[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]{1,2})?|\.[0-9]+(?:[eE][-+]?[0-9]{1,2})?"
    r"|[0-9]+/[0-9]+"
)


def parse_seconds(text: str) -> Fraction:
    """A time: seconds as a decimal (``7.5``, ``1e-3``) or a fraction (``1/3``), or ``h:mm:ss.sss``; exact.

    Raises:
        ValueError: it is none of these, negative, or above ``MAX_SECONDS``; the text says so, without the
            value and the remedy.
    """
    text = text.strip()
    if text.startswith("-"):
        raise ValueError("is negative")
    match = _SECONDS.fullmatch(text) if len(text) <= MAX_TEXT else None
    if match is None:
        raise ValueError("is not a number of seconds")
    if match["minutes"] is not None:
        hours, minutes, seconds = int(match["hours"] or 0), int(match["minutes"]), Fraction(match["seconds"])
        if seconds >= 60 or (match["hours"] and minutes >= 60):
            raise ValueError("is not a time: minutes and seconds end at 59")
        value = hours * 3600 + minutes * 60 + seconds
    else:
        try:
            value = Fraction(text)
        except ZeroDivisionError:
            raise ValueError("is divided by zero") from None
    if value > MAX_SECONDS:
        raise ValueError(f"is above the limit of {MAX_SECONDS} seconds")
    return value


def base_sampling(options: SamplingOptions) -> Sampling:
    """The sampling that ``options`` name, without what the files say of single videos.

    Raises:
        UserError: an option has a bad value, or there is not exactly one of the five modes.
    """
    chosen = [
        name
        for name, is_chosen in [
            ("--fps", options.fps is not None),
            ("--every", options.every is not None),
            ("--keyframes", options.keyframes),
            ("--timestamps", options.timestamps is not None),
        ]
        if is_chosen
    ]
    if len(chosen) != 1:
        given = " and ".join(chosen) if chosen else "none"
        raise UserError(f"give one of --fps, --every, --keyframes and --timestamps, not {given}")
    start, end = _limit("--start", options.start), _limit("--end", options.end)
    if start is not None and end is not None and start >= end:
        raise UserError(f"--start {options.start} is not before --end {options.end}: nothing lies between")
    return Sampling(
        rate=parse_sampling(options.fps).rate if options.fps is not None else None,
        every=options.every or 1,
        keyframes_only=options.keyframes,
        times=() if options.timestamps is not None else None,
        start=start or Fraction(0),
        end=end,
    )


def _limit(option: str, text: str | None) -> Fraction | None:
    if text is None:
        return None
    try:
        return parse_seconds(text)
    except ValueError as error:
        raise UserError(f"{option} {text[:MAX_TEXT]!r} {error}: {REMEDY}") from None


class Selection:
    """The sampling of every video of a job.

    Attributes:
        base: what is wanted where no file says anything else; its ``times`` are empty.
        limit: how many frames of a video are written at most; None: all.
    """

    def __init__(self, options: SamplingOptions, *, timestamps: bytes = b"", ranges: bytes = b"") -> None:
        self.base = base_sampling(options)
        self.limit = options.max_frames_per_video
        self._timestamps = Table(timestamps) if options.timestamps is not None else None
        self._ranges = Table(ranges) if options.ranges is not None else None
        self._all_times: tuple[Fraction, ...] | None = None
        self._remembered = lru_cache(maxsize=VIDEOS_REMEMBERED)(self._make)

    @classmethod
    def load(cls, options: SamplingOptions, folder: Path) -> Selection:
        """Read the files that ``options`` name, in the folder of the job specification.

        Raises:
            UserError: a file cannot be read, or an option has a bad value.
        """
        return cls(
            options,
            timestamps=_read(folder, options.timestamps),
            ranges=_read(folder, options.ranges),
        )

    @property
    def in_order(self) -> bool:
        """Whether what becomes of a unit's frames depends on the units before it."""
        return self.base.numbered_by_order or self.limit is not None

    def of(self, video: str) -> Sampling | None:
        """What is wanted of a video, by its name in the list; None: nothing at all, it is not to be opened.

        Raises:
            UserError: its line in a file is damaged.
        """
        if self._timestamps is None and self._ranges is None:
            return self.base
        return self._remembered(video)

    def wants(self, video: str) -> bool:
        """Whether ``of`` gives a sampling; quicker."""
        table = self._timestamps
        return table is None or table.for_all or table.find(video) is not None

    def named(self) -> Iterator[tuple[str, str]]:
        """(option, video) of all videos that the files name."""
        for option, table in (("--timestamps", self._timestamps), ("--ranges", self._ranges)):
            if table is not None:
                yield from ((option, name) for name in table.names())

    def _make(self, video: str) -> Sampling | None:
        base, times = self.base, None
        start, end = base.start, base.end
        try:
            if self._timestamps is not None:
                times = self._times_of(self._timestamps, video)
                if times is None:
                    return None
            line = self._ranges.find(video) if self._ranges is not None else None
            if line is not None:
                first, last = line.split()
                start = Fraction(0) if first == OPEN else Fraction(first)
                end = None if last == OPEN else Fraction(last)
        except ValueError as error:
            raise UserError(f"what the job says of {video!r} is damaged ({error}): start it again") from error
        if (times, start, end) == (base.times, base.start, base.end):
            return base
        return Sampling(base.rate, base.every, base.keyframes_only, times, start, end)

    def _times_of(self, table: Table, video: str) -> tuple[Fraction, ...] | None:
        if not table.for_all:
            line = table.find(video)
            return None if line is None else _fractions(line)
        if self._all_times is None:
            self._all_times = _fractions(table.find(None) or "")
        return self._all_times


class Table:
    """Lines of a file by the videos that they are about."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._starts = array("Q")
        start = 0
        while start < len(data):
            self._starts.append(start)
            start = data.find(b"\n", start) + 1 or len(data)
        self.for_all = data.startswith(_ALL.encode())

    def find(self, video: str | None) -> str | None:
        """What the line of a video (None: the line for all) says; None if there is none."""
        wanted = _key(video)
        place = bisect_left(range(len(self._starts)), wanted, key=lambda place: self._part(place)[0])
        if place == len(self._starts):
            return None
        found, said = self._part(place)
        return said.decode() if found == wanted else None

    def names(self) -> Iterator[str]:
        """The videos that have a line."""
        for place in range(len(self._starts)):
            key = self._part(place)[0]
            if key != _key(None):
                yield msgspec.json.decode(key, type=str)

    def _part(self, place: int) -> tuple[bytes, bytes]:
        start = self._starts[place]
        stop = self._starts[place + 1] if place + 1 < len(self._starts) else len(self._data)
        key, _, said = self._data[start:stop].rstrip(b"\n").partition(b"\t")
        return key, said


def encode_table(entries: Iterable[tuple[str | None, Iterable[str]]]) -> bytes:
    """A file of (video, or None for all; words). Words are numbers by ``format_seconds``, or ``OPEN``."""
    lines = [_key(video) + b"\t" + " ".join(words).encode() for video, words in entries]
    lines.sort(key=lambda line: line.partition(b"\t")[0])
    return b"".join(line + b"\n" for line in lines)


def format_seconds(numerator: int, denominator: int) -> str:
    """A number as a table has it."""
    return str(numerator) if denominator == 1 else f"{numerator}/{denominator}"


def _key(video: str | None) -> bytes:
    return msgspec.json.encode(video)


def _fractions(line: str) -> tuple[Fraction, ...]:
    def fraction(word: str) -> Fraction:
        numerator, _, denominator = word.partition("/")
        return Fraction(int(numerator), int(denominator or 1))

    return tuple(map(fraction, line.split()))


def _read(folder: Path, name: str | None) -> bytes:
    if name is None:
        return b""
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {folder / name}, a part of the job: {error.strerror}") from error
