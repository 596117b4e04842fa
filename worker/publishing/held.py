"""What a host keeps of a unit between its last frame and its publication."""

from __future__ import annotations

from dataclasses import dataclass

from framefleet.common.media import Timing, UnitResult
from framefleet.common.protocol import messages as m
from framefleet.worker.slots.slot_messages import Staged

MAX_NOTES = 16


@dataclass(slots=True)
class Held:
    """An extraction that is complete and waits for the coordinator's word."""

    task: m.Extract
    result: UnitResult
    done: m.Done
    said_at: float
    commit: m.Commit | None = None
    """The word to publish it, once that has come."""
    trimmed: m.Trimmed | None = None
    """What is left of it, where the coordinator does not want all."""


def done_of(staged: Staged, timing: Timing | None = None) -> m.Done:
    """What the coordinator is told of a complete extraction, and of where its time went."""
    result = staged.result
    return m.Done(
        lease=staged.lease,
        stop=staged.stop,
        frames=len(result.rows),
        suspect=sum(1 for row in result.rows if row.status == "suspect"),
        bytes=sum(row.bytes for row in result.rows),
        decoded=result.decoded,
        errors=result.errors,
        saw_end=result.saw_end,
        seconds=result.seconds,
        shown=result.shown,
        notes=[m.clip_text(note) for note in result.notes[:MAX_NOTES]],
        timing=timing,
        dropped=sum(row.is_dropped for row in result.rows),
    )
