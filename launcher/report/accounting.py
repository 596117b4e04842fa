"""Splits slot time into categories that add up exactly: for what was the time of all slots used?

Pure functions on whole microseconds: the parts of a lane are a partition of its time, so they add up
exactly. An instant belongs to the attempt that has the slot, and where there is none, to the first of these
that holds: the host is not there (``gone``), the slot has not been ready yet (``start_up``), work came later
(``starvation``), none did (``tail``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

from framefleet.launcher.report.timeline import Attempt, Kind, Lane


@dataclass(frozen=True, slots=True)
class Account:
    """Microseconds of slots, by what they went into.

    Attributes:
        probing: finding out what the files are.
        overhead: opening files, folders, messages, and what else a unit takes beside its frames.
        roll_in: decoding what lies before a unit's first frame, as it was cut there.
        decoding: reading and decoding from there on.
        encoding: converting, encoding and writing pictures.
        retries: attempts that came to nothing.
        start_up: from the start of the job until the slot was ready.
        starvation: waiting for work that came later.
        tail: waiting for the others to end.
        gone: the slot's host had been lost, or had left.
    """

    probing: int = 0
    overhead: int = 0
    roll_in: int = 0
    decoding: int = 0
    encoding: int = 0
    retries: int = 0
    start_up: int = 0
    starvation: int = 0
    tail: int = 0
    gone: int = 0

    @property
    def total(self) -> int:
        return sum(getattr(self, name) for name in PARTS)

    @property
    def useful(self) -> int:
        """Work whose result was published."""
        return self.probing + self.overhead + self.roll_in + self.decoding + self.encoding

    @property
    def busy(self) -> int:
        return self.useful + self.retries

    @property
    def idle(self) -> int:
        return self.total - self.busy

    def share(self, value: int) -> float:
        """``value`` as a share of the total, 0 to 1."""
        return value / self.total if self.total else 0.0


PARTS = tuple(each.name for each in fields(Account))


def account(lanes: Iterable[Lane], makespan_us: int) -> Account:
    """The account of some lanes; its total is their number times ``makespan_us``.

    Whatever a lane holds: attempts are taken in order of their start, and cut where they overlap or leave
    ``[0, makespan_us)``.
    """
    spent: Counter[str] = Counter()
    for lane in lanes:
        now_us = 0
        for attempt in sorted(lane.attempts, key=lambda attempt: attempt.start_us):
            start_us = min(max(attempt.start_us, now_us), makespan_us)
            end_us = min(max(attempt.end_us, start_us), makespan_us)
            if start_us > now_us:
                _add_idle(spent, lane, now_us, start_us, waiting="starvation")
            _add_busy(spent, attempt, end_us - start_us)
            now_us = end_us
        _add_idle(spent, lane, now_us, makespan_us, waiting="tail" if lane.attempts else "starvation")
    return Account(**spent)


def _add_busy(spent: Counter[str], attempt: Attempt, length_us: int) -> None:
    if attempt.kind is Kind.PROBE:
        spent["probing"] += length_us
        return
    if attempt.kind is not Kind.DONE:
        spent["retries"] += length_us
        return
    phases = attempt.phases.within(length_us)
    encoding_us = phases.convert_us + phases.encode_us + phases.write_us
    spent["roll_in"] += phases.roll_in_us
    spent["decoding"] += phases.decode_us
    spent["encoding"] += encoding_us
    spent["overhead"] += length_us - phases.roll_in_us - phases.decode_us - encoding_us


def _add_idle(spent: Counter[str], lane: Lane, start_us: int, end_us: int, *, waiting: str) -> None:
    present = []
    for away_start_us, away_end_us in _disjoint(lane.away):
        away_start_us, away_end_us = max(away_start_us, start_us), min(away_end_us, end_us)
        if away_start_us < away_end_us:
            spent["gone"] += away_end_us - away_start_us
            present.append((start_us, away_start_us))
            start_us = away_end_us
    present.append((start_us, end_us))
    for start_us, end_us in present:
        start_up_us = max(0, min(end_us, lane.ready_us) - start_us)
        spent["start_up"] += start_up_us
        spent[waiting] += end_us - start_us - start_up_us


def _disjoint(spans: Sequence[tuple[int, int]]) -> Iterable[tuple[int, int]]:
    """The same instants, in order, none twice."""
    reached: int | None = None
    for start_us, end_us in sorted(spans):
        start_us = start_us if reached is None else max(start_us, reached)
        if start_us < end_us:
            yield start_us, end_us
            reached = end_us
