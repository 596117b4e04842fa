"""What a user is told while a job runs that may want other options."""

from __future__ import annotations

from framefleet.common.status import Status

MANY_FRAMES = 100_000  # single files from here on are what uploads at a job's end are known to fail at
TELLING_FRACTION = 0.1  # of the work done: before, nobody knows how much there is


def suggest_packing(status: Status) -> str | None:
    """Words in favour of ``--pack`` if that many frames are expected that it is of use, else None."""
    if status.fraction < TELLING_FRACTION:
        return None
    expected = round(status.frames / status.fraction)
    if expected <= MANY_FRAMES:
        return None
    return (
        f"some {expected:,} frames are expected, each a file of its own: --pack tar puts them into shards, "
        "which are quicker to copy, list and read"
    )
