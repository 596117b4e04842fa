"""Journals read for the report: which attempts there were, and how each ended by the coordinator's clock.

Unlike a replay this takes what it finds: journals of older versions, torn ones, and those of a job that was
stopped. A sharded job has a journal for each host, which begins when that host did.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final

import msgspec

from framefleet.common.decoding import NOT_DECODED
from framefleet.common.errors import UserError
from framefleet.common.files.beneath import Below
from framefleet.common.media import Duration, Timing
from framefleet.launcher.report.timeline import Kind

# The last things that a job does; hosts that leave, and the end itself, come after its work.
WORK_EVENTS = frozenset({"probed", "staged", "failed", "committed"})


MAX_BYTES: Final = 2**34  # of a journal: a million videos take some 2**30
MAX_LINE_BYTES: Final = 2**24  # of a line: a message has 2**22 at most
MAX_SLOTS: Final = 2**16

Slots = Annotated[int, msgspec.Meta(ge=0, le=MAX_SLOTS)]


class Line(msgspec.Struct):
    """A journal's line, as far as the report looks at it."""

    event: str = ""
    t_s: Duration = 0.0
    unit: int = -1
    attempt: int = -1
    host: str = ""
    incarnation: str = ""
    slots: Slots = 0
    videos: list[int] = []
    video: str = ""
    names: list[tuple[int, str]] = []
    probe: bool = False
    seconds: Duration = 0.0
    timing: Timing | None = None
    frames: int = 0
    suspect: int = 0
    bytes: int = 0
    attempts: list[tuple[int, int, str]] = []
    copy: int = -1
    rest: int = -1
    reason: str = ""
    outcome: str = ""
    job: str = ""
    at: str = ""


@dataclass(slots=True)
class Told:
    """An attempt by the coordinator's clock: seconds since its start."""

    unit: int
    number: int
    host: str
    incarnation: str
    leased_s: float
    ended_s: float | None = None
    video: int = -1
    kind: Kind = Kind.OPEN
    seconds: float | None = None
    timing: Timing | None = None
    frames: int = 0
    suspect: int = 0
    bytes: int = 0
    is_probe: bool = False
    is_copy: bool = False
    was_split: bool = False
    reason: str = ""


@dataclass(slots=True)
class HostTold:
    """A host: ``ready_s`` has the time for each slot at which so many could first work, ``away`` when it was
    not there (None: to the end)."""

    slots: int = 0
    incarnation: str = ""
    up_s: float = 0.0
    ready_s: list[float] = field(default_factory=list)
    away: list[tuple[float, float | None]] = field(default_factory=list)
    is_away: bool = False


@dataclass(slots=True)
class Journal:
    """What one journal tells."""

    job_id: str = ""
    at: datetime | None = None
    outcome: str = ""
    restarts: int = 0
    last_s: float = 0.0
    last_work_s: float = 0.0
    attempts: list[Told] = field(default_factory=list)
    hosts: dict[str, HostTold] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    """Videos by their number in this journal's list; only those that anything was told of by name."""


def read(path: Path) -> Journal:
    """Read a journal.

    Raises:
        UserError: it cannot be read.
    """
    reader = _Reader()
    for line in _lines(path):
        reader.take(line)
    return reader.journal


def _lines(path: Path) -> Iterator[Line]:
    decoder = msgspec.json.Decoder(Line)
    try:
        with Below(path.parent) as below, below.open(path.name) as file:
            for raw in lines_of(file):
                try:
                    line = decoder.decode(raw)
                except NOT_DECODED:
                    try:
                        line = _without_odd_fields(msgspec.json.decode(raw))
                    except NOT_DECODED:
                        continue  # torn or damaged: the others are worth showing
                yield line
    except OSError as error:
        raise UserError(f"cannot read the journal {path}: {error.strerror}") from error


def lines_of(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file; one that is too long to be ours, as what a sparse file holds, comes in pieces.

    Raises:
        OSError: it cannot be read, or is larger than any of ours.
    """
    if (size := os.fstat(file.fileno()).st_size) > MAX_BYTES:
        raise OSError(errno.EFBIG, f"has {size:,} bytes, and {MAX_BYTES:,} are the most")
    return iter(lambda: file.readline(MAX_LINE_BYTES), b"")


def _without_odd_fields(found: Any) -> Line:
    """A line in which some event gives a name of ours another meaning (``start`` of a job, say)."""
    known = {field.name: field.type for field in msgspec.structs.fields(Line)}
    line = Line()
    for name, value in found.items() if isinstance(found, dict) else ():
        if name in known:
            try:
                setattr(line, name, msgspec.convert(value, known[name]))
            except msgspec.ValidationError:
                continue
    return line


class _Reader:
    def __init__(self) -> None:
        self.journal = Journal()
        self._latest: dict[int, Told] = {}  # by unit
        self._copies: dict[int, int] = {}

    def take(self, line: Line) -> None:
        journal = self.journal
        journal.last_s = max(journal.last_s, line.t_s)
        if line.event in WORK_EVENTS:
            journal.last_work_s = max(journal.last_work_s, line.t_s)
        take = getattr(self, f"_on_{line.event}", None)
        if take is not None:
            take(line)

    # ---- the job and its hosts ----------------------------------------------------------------------

    def _on_start(self, line: Line) -> None:
        self.journal.job_id = line.job
        try:
            self.journal.at = datetime.fromisoformat(line.at)
        except ValueError:
            self.journal.at = None

    def _on_restarted(self, line: Line) -> None:
        self.journal.restarts += 1

    def _on_end(self, line: Line) -> None:
        self.journal.outcome = line.outcome

    def _on_host_up(self, line: Line) -> None:
        host = self.journal.hosts.get(line.host)
        if host is None:
            host = self.journal.hosts[line.host] = HostTold(up_s=line.t_s)
        elif host.is_away:
            start_s, _ = host.away.pop()
            host.away.append((start_s, line.t_s))
            host.is_away = False
        host.incarnation = line.incarnation
        host.slots = max(host.slots, line.slots)

    def _on_ready(self, line: Line) -> None:
        host = self.journal.hosts.get(line.host)
        if host is not None:
            host.ready_s += [line.t_s] * (line.slots - len(host.ready_s))

    def _on_host_lost(self, line: Line) -> None:
        host = self.journal.hosts.get(line.host)
        if host is None or host.is_away:
            return
        host.away.append((line.t_s, None))
        host.is_away = True
        why = "the host left" if line.event == "host_left" else "the host was lost"
        for told in self._latest.values():
            if told.host == line.host and told.kind is Kind.OPEN:
                _waste(told, line.t_s, why)

    def _on_host_left(self, line: Line) -> None:
        if not self.journal.outcome:  # else the job was over: its slots wait for those of other journals
            self._on_host_lost(line)

    # ---- attempts -----------------------------------------------------------------------------------

    def _on_leased(self, line: Line) -> None:
        self._begin(line, line.unit, line.attempt, line.videos[0] if line.videos else -1)

    def _on_hedged(self, line: Line) -> None:
        original = self._latest.get(line.unit)
        self._copies[line.unit] = line.copy
        self._begin(line, line.copy, 1, original.video if original else -1).is_copy = True

    def _begin(self, line: Line, unit: int, number: int, video: int) -> Told:
        before = self._latest.get(unit)
        if before is not None and before.kind is Kind.OPEN:
            _waste(before, line.t_s, "it was taken back")
        host = self.journal.hosts.get(line.host)
        told = Told(
            unit=unit,
            number=number,
            host=line.host,
            incarnation=host.incarnation if host is not None else "",
            leased_s=line.t_s,
            video=video,
            is_probe=line.probe,
        )
        self._latest[unit] = told
        self.journal.attempts.append(told)
        return told

    def _on_resumed(self, line: Line) -> None:
        told = self._latest.get(line.unit)
        if told is not None and told.number == line.attempt and told.kind is Kind.WASTED:
            told.kind, told.ended_s, told.reason = Kind.OPEN, None, ""

    def _on_released(self, line: Line) -> None:
        self._end(line.unit, line.t_s, "it never reached the host")

    def _on_redone(self, line: Line) -> None:
        self._end(line.unit, line.t_s, "it had counted on another number of frames before it")

    def _on_promoted(self, line: Line) -> None:
        self._end(line.unit, line.t_s, "its copy was complete first")

    def _on_split(self, line: Line) -> None:
        told = self._latest.get(line.unit)
        if told is not None and told.kind is Kind.OPEN:  # else it waited, and was cut to be handed out
            told.was_split = True
            self._end_copy(line.unit, line.t_s, "what it was a copy of was split")

    def _on_probed(self, line: Line) -> None:
        self._answer(line, Kind.PROBE)
        self.journal.names.update(line.names)

    def _on_staged(self, line: Line) -> None:
        self._answer(line, Kind.OPEN)
        self._end_copy(line.unit, line.t_s, "what it was a copy of was complete first")

    def _on_failed(self, line: Line) -> None:
        told = self._answer(line, Kind.WASTED)
        if told is not None:
            told.reason = line.reason

    def _on_committed(self, line: Line) -> None:
        told = self._latest.get(line.unit)
        if told is None or told.number != line.attempt:
            return
        told.kind, told.reason = Kind.DONE, ""
        told.frames, told.suspect, told.bytes = line.frames, line.suspect, line.bytes
        self.journal.names.setdefault(told.video, line.video)
        if told.ended_s is None:
            told.ended_s = line.t_s
        if told.seconds is None:
            told.seconds = line.seconds

    def _on_voided(self, line: Line) -> None:
        """What was made of a video is taken back, published or not."""
        for unit, number, _ in line.attempts:
            told = self._latest.get(unit)
            if told is not None and told.number == number and told.kind in (Kind.OPEN, Kind.DONE):
                _waste(told, line.t_s, f"it was taken back: {line.reason}")
                told.frames = told.suspect = told.bytes = 0
                self._end_copy(unit, line.t_s, told.reason)

    def _answer(self, line: Line, kind: Kind) -> Told | None:
        told = self._latest.get(line.unit)
        if told is None or told.number != line.attempt:
            return None
        told.kind, told.ended_s, told.seconds = kind, line.t_s, line.seconds
        told.timing = line.timing or told.timing
        return told

    def _end_copy(self, unit: int, at_s: float, reason: str) -> None:
        """The copy of a unit, if it has one, was dropped, of which there is no line."""
        copy = self._copies.pop(unit, None)
        if copy is not None:
            self._end(copy, at_s, reason)

    def _end(self, unit: int, at_s: float, reason: str) -> None:
        told = self._latest.get(unit)
        if told is not None and told.kind is Kind.OPEN:
            _waste(told, at_s, reason)


def _waste(told: Told, at_s: float, reason: str) -> None:
    told.kind, told.reason = Kind.WASTED, reason
    told.ended_s = at_s if told.ended_s is None else told.ended_s
