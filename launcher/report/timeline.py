"""What a job's slots did when: attempts on lanes, one lane for each slot. Times are whole microseconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum

from framefleet.common.status import Failure, Summary

US = 1_000_000


class Kind(Enum):
    """What became of an attempt."""

    DONE = 0  # an extraction whose frames were published
    PROBE = 1  # a probe that was answered
    WASTED = 2  # it failed, was lost with its host, or another one was first
    OPEN = 3  # the job ended, or its journal does, before it had come to anything


@dataclass(frozen=True, slots=True)
class Phases:
    """Where the microseconds of an attempt went; what is missing up to its length went into none of them."""

    open_us: int = 0
    roll_in_us: int = 0
    decode_us: int = 0
    convert_us: int = 0
    encode_us: int = 0
    write_us: int = 0

    def within(self, length_us: int) -> Phases:
        """The same, cut where all together are longer than the attempt."""
        values = (
            self.open_us, self.roll_in_us, self.decode_us, self.convert_us, self.encode_us, self.write_us,
        )  # fmt: skip
        if sum(values) <= length_us and min(values) >= 0:
            return self
        fitted = []
        for value in values:
            fitted.append(max(0, min(value, length_us)))
            length_us -= fitted[-1]
        return Phases(*fitted)


@dataclass(slots=True)
class Attempt:
    """One leasing of a unit. ``slot`` is None until it is known or placed; so is ``host`` never."""

    unit: int
    number: int
    host: str
    video: str
    start_us: int
    end_us: int
    kind: Kind = Kind.OPEN
    slot: int | None = None
    phases: Phases = Phases()
    frames: int = 0
    suspect: int = 0
    bytes: int = 0
    is_probe: bool = False
    is_copy: bool = False
    was_split: bool = False
    reason: str = ""

    @property
    def length_us(self) -> int:
        return self.end_us - self.start_us


@dataclass(slots=True)
class Lane:
    """A slot: ``ready_us`` is when it first could work, ``away`` are spans in which its host was not there.
    Its attempts lie in order and do not overlap."""

    host: str
    slot: int
    ready_us: int
    away: list[tuple[int, int]] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)


@dataclass(slots=True)
class Timeline:
    """A whole job. ``makespan_us`` is from the (first) coordinator's start to the last thing done."""

    job_id: str
    mode: str
    outcome: str
    started_at: str
    makespan_us: int
    lanes: list[Lane]
    restarts: int = 0
    summary: Summary | None = None
    failures: list[Failure] = field(default_factory=list)

    def attempts(self) -> Iterator[Attempt]:
        """All of them, lane by lane."""
        for lane in self.lanes:
            yield from lane.attempts

    @property
    def hosts(self) -> list[str]:
        return list(dict.fromkeys(lane.host for lane in self.lanes))

    @property
    def frames(self) -> int:
        """Frames published by this run."""
        return sum(attempt.frames for attempt in self.attempts() if attempt.kind is Kind.DONE)


@dataclass(frozen=True, slots=True)
class VideoRow:
    """What a job did for one video; ``busy_us`` includes attempts that came to nothing."""

    name: str
    frames: int
    suspect: int
    units: int
    wasted: int
    slots: int
    busy_us: int
    start_us: int
    end_us: int


def video_rows(attempts: Iterable[Attempt]) -> list[VideoRow]:
    """A row for each video that anything but a probe was begun of, that with most work first."""
    by_name: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        if not attempt.is_probe:
            by_name.setdefault(attempt.video, []).append(attempt)
    rows = [_video_row(name, of_video) for name, of_video in by_name.items()]
    return sorted(rows, key=lambda row: (-row.busy_us, row.name))


def _video_row(name: str, attempts: Sequence[Attempt]) -> VideoRow:
    kinds = Counter(attempt.kind for attempt in attempts)
    done = [attempt for attempt in attempts if attempt.kind is Kind.DONE]
    return VideoRow(
        name=name,
        frames=sum(attempt.frames for attempt in done),
        suspect=sum(attempt.suspect for attempt in done),
        units=kinds[Kind.DONE],
        wasted=kinds[Kind.WASTED],
        slots=len({(attempt.host, attempt.slot) for attempt in attempts}),
        busy_us=sum(attempt.length_us for attempt in attempts),
        start_us=min(attempt.start_us for attempt in attempts),
        end_us=max(attempt.end_us for attempt in attempts),
    )
