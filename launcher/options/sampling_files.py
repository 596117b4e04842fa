"""The user's own files on sampling, as a job takes them along: ``--timestamps`` and ``--ranges``."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import lcm
from pathlib import Path

from framefleet.common.errors import UserError
from framefleet.common.job.selection import (
    MAX_SECONDS,
    OPEN,
    REMEDY,
    encode_table,
    format_seconds,
    parse_seconds,
)

MAX_SHOWN = 60  # characters of a bad line
COMMENT = "#"
MAX_COMMON = 2**1024  # a common denominator; integers beyond it are slower than fractions

Ratio = tuple[int, int]  # numerator, denominator

_DECIMAL = re.compile(r"([0-9]{1,10})(?:\.([0-9]{0,15}))?")


def read_timestamps(path: Path) -> bytes:
    """A list of seconds for every video, or a CSV with the columns ``video`` and ``seconds``, as a table.

    Raises:
        UserError: the file cannot be read, or a line of it is neither; the text has its number.
    """
    text = _read("--timestamps", path)
    if _columns(text, ["video", "seconds"]) is None:
        times = [
            _ratio(path, number, line, line)
            for number, raw in enumerate(text.split("\n"), start=1)
            if (line := raw.strip()) and not line.startswith(COMMENT)
        ]
        if not times:
            raise UserError(f"--timestamps {path} holds no times: {REMEDY}, one in a line")
        return encode_table([(None, _sorted(times))])
    by_video: dict[str, list[Ratio]] = {}
    for number, line, (video, seconds) in _rows("--timestamps", path, text, ["video", "seconds"]):
        by_video.setdefault(video, []).append(_ratio(path, number, line, seconds))
    if not by_video:
        raise UserError(f"--timestamps {path} holds no times: there is nothing below its header")
    return encode_table([(video, _sorted(times)) for video, times in by_video.items()])


def read_ranges(path: Path) -> bytes:
    """A CSV with the columns ``video``, ``start`` and ``end`` as a table; an empty field is no limit.

    Raises:
        UserError: the file cannot be read, or a line of it is no range, or a second one for its video; the
            text has its number.
    """
    text = _read("--ranges", path)
    columns = ["video", "start", "end"]
    if _columns(text, columns) is None:
        raise UserError(f"--ranges {path} has no header video,start,end in its first line")
    ranges: dict[str, list[str]] = {}
    for number, line, (video, start, end) in _rows("--ranges", path, text, columns):
        limits = [
            _ratio(path, number, line, limit, option="--ranges") if limit.strip() else None
            for limit in (start, end)
        ]
        first, last = limits
        if last is not None and (first or (0, 1))[0] * last[1] >= last[0] * (first or (0, 1))[1]:
            raise _bad("--ranges", path, number, line, "its start is not before its end")
        if video in ranges:
            raise _bad("--ranges", path, number, line, "the video has a range already, and can have one")
        ranges[video] = [OPEN if limit is None else format_seconds(*limit) for limit in limits]
    if not ranges:
        raise UserError(f"--ranges {path} holds no ranges: there is nothing below its header")
    return encode_table(ranges.items())


def _read(option: str, path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{option} {path} cannot be read: {error.strerror}") from error
    if not data.strip():
        raise UserError(f"{option} {path} is empty")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"{option} {path}, line {number}, is not UTF-8: save the file as UTF-8") from error


def _columns(text: str, wanted: list[str]) -> list[int] | None:
    """The places of the wanted columns in a header; None if the first line that says anything is none."""
    for row in csv.reader(_lines(text)):
        if row and not row[0].lstrip().startswith(COMMENT):
            names = [name.strip().lower() for name in row]
            return [names.index(name) for name in wanted] if set(wanted) <= set(names) else None
    return None


def _rows(option: str, path: Path, text: str, wanted: list[str]) -> Iterator[tuple[int, str, list[str]]]:
    """(line number, the line as text, wanted fields) of the rows below the header."""
    places: list[int] | None = None
    reader = csv.reader(_lines(text), strict=True)
    try:
        for row in reader:
            if not row:
                continue
            if places is None:
                places = _columns(",".join(row), wanted)  # comments may come before it
                continue
            line = ",".join(row)
            if len(row) <= max(places) or not row[places[0]]:
                raise _bad(option, path, reader.line_num, line, f"it lacks one of {', '.join(wanted)}")
            yield reader.line_num, line, [row[place] for place in places]
    except csv.Error as error:
        raise UserError(f"{option} {path}, line {reader.line_num}, is not valid CSV: {error}") from error


def _lines(text: str) -> Iterator[str]:
    """Lines with their ends, which a quoted field may hold; a lone carriage return ends none."""
    start = 0
    while start < len(text):
        stop = text.find("\n", start) + 1 or len(text)
        yield text[start:stop]
        start = stop


def _ratio(path: Path, number: int, line: str, text: str, *, option: str = "--timestamps") -> Ratio:
    match = _DECIMAL.fullmatch(text)
    if match is not None:  # as almost all are: a Fraction takes three times as long
        whole, decimals = match.groups()
        numerator, denominator = (int(whole + decimals), 10 ** len(decimals)) if decimals else (int(whole), 1)
        if numerator <= MAX_SECONDS * denominator:
            return numerator, denominator
    try:
        return parse_seconds(text).as_integer_ratio()
    except ValueError as error:
        raise _bad(option, path, number, line, f"{text[:MAX_SHOWN]!r} {error}: {REMEDY}") from None


def _bad(option: str, path: Path, number: int, line: str, why: str) -> UserError:
    shown = line if len(line) <= MAX_SHOWN else line[:MAX_SHOWN] + "…"
    return UserError(f"{option} {path}, line {number}, {shown!r}: {why}")


def _sorted(times: Sequence[Ratio]) -> Iterator[str]:
    """In order and each once, exactly: as integers of one denominator, if there is any of a fair size."""
    common = 1
    for denominator in {time[1] for time in times}:
        common = lcm(common, denominator)
        if common > MAX_COMMON:
            exact = sorted({Fraction(*time) for time in times})  # ten times as long
            return (format_seconds(*time.as_integer_ratio()) for time in exact)
    scaled = sorted({numerator * (common // denominator) for numerator, denominator in times})
    return (format_seconds(numerator, common) for numerator in scaled)
