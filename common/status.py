"""What a job tells of itself: live status lines, the summary, and the list of failures.

A coordinator prints each status as one line of JSON on standard output, so that the launcher reads it in the
same way from a local process, a container, or CloudWatch Logs. docs/metrics.md documents the line.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from framefleet.common.decoding import NOT_DECODED
from framefleet.common.libraries import Libraries

STATUS_VERSION = 1  # grows when a member changes its meaning or goes; more members do not change it
STATUS_EVENT = "framefleet-status"
STATUS_PREFIX = f'{{"event":"{STATUS_EVENT}",'  # how a line begins; nothing else that is printed does

# "input": the file itself cannot give these frames (not a video, damaged, not allowed to be read);
# "lost": it perhaps could, but this job did not get them (crashes, a full disk, a bug).
FailureKind = Literal["input", "lost"]
HostState = Literal["up", "lost", "left"]
Outcome = Literal["completed", "failed", "interrupted"]


class HostStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One host. ``busy_s`` sums the seconds its slots spent in units; ``busy_share`` is busy over
    slots x time since it joined, 0 to 1."""

    host: str
    state: HostState
    slots: int
    units: int
    frames: int
    busy_s: float
    busy_share: float


class Status(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag=STATUS_EVENT):
    """A job at one moment. ``fraction`` (0 to 1) is estimated work done over all estimated work;
    ``left_s`` is None until it can be told. ``frames`` includes frames of running units, ``frames_written``
    only those that are published, ``dropped_frames`` of which were left out. ``host`` is the one whose
    coordinator tells this, ``at`` its wall clock (RFC 3339, UTC); ``outcome`` is None until the job is over.
    ``work_s`` sums the seconds that slots spent in units that have ended, ``wake_s`` is the longest that the
    coordinator's loop was busy in one go since the last status."""

    elapsed_s: float
    frames: int
    videos: int
    videos_done: int
    videos_failed: int
    units_done: int
    frames_per_s: float
    fraction: float
    left_s: float | None
    hosts: list[HostStatus]
    version: int = STATUS_VERSION
    job_id: str = ""
    mode: str = "coordinated"
    host: str = ""
    at: str = ""
    outcome: Outcome | None = None
    frames_written: int = 0
    suspect_frames: int = 0
    dropped_frames: int = 0
    bytes: int = 0
    units_running: int = 0
    retries: int = 0
    failures: int = 0
    restarts: int = 0
    work_s: float = 0.0
    wake_s: float = 0.0


_decoder = msgspec.json.Decoder(Status)


def encode_status(status: Status) -> bytes:
    """One line of JSON, without its end; it begins with ``STATUS_PREFIX``."""
    return msgspec.json.encode(status)


def decode_status(line: bytes | str) -> Status | None:
    """The status that a line of a host's output is; None if it is none, or one of another version."""
    data = line.encode() if isinstance(line, str) else line
    if not data.startswith(STATUS_PREFIX.encode()):
        return None
    try:
        status = _decoder.decode(data)
    except NOT_DECODED:
        return None
    return status if status.version == STATUS_VERSION else None


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A line of ``failures.jsonl``: a video, or a range of it (seconds), that gave no frames."""

    video: str
    kind: FailureKind
    reason: str
    start_s: float | None = None
    stop_s: float | None = None
    attempts: int = 1


def nothing_made(videos: int, failed: int) -> str:
    """Why a job of so many videos, so many of which failed, has not made one frame."""
    if not videos:
        why = "there is no file in the input that the options ask for"
    elif failed >= videos:
        why = (
            "the only file in the input failed"
            if videos == 1
            else f"all {videos:,} files in the input failed"
        )
    else:
        rest = videos - failed
        count = "1 video has" if rest == 1 else f"{rest:,} videos have"
        why = f"{count} no frame that the options ask for" + (f", and {failed:,} failed" if failed else "")
    return f"nothing was extracted: {why}"


class HostSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the table at the end; ``idle_share`` = 1 - busy / (slots x makespan)."""

    host: str
    state: HostState
    slots: int
    units: int
    frames: int
    busy_s: float
    idle_share: float


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """``summary.json``. Makespan is from the coordinator's start to the last commit, in seconds;
    ``work_s`` (W) sums the busy seconds of committed units, ``speed`` (S) is the number of slots, all
    taken as equal; no schedule is shorter than W/S, and efficiency is (W/S)/makespan. ``restarts``: how
    often the coordinator died and was started again; ``taken_over``: how many of ``frames`` an earlier run
    had made; ``dropped_frames``: how many of them were left out, and have no image; ``libraries``: what made
    the frames, None if no host came or hosts of a sharded job differed in them."""

    job_id: str
    mode: str
    outcome: Outcome
    reason: str
    started_at: str
    videos: int
    videos_done: int
    videos_failed: int
    frames: int
    suspect_frames: int
    bytes: int
    units: int
    retries: int
    failures: int
    frames_lost: bool
    makespan_s: float
    work_s: float
    speed: float
    lower_bound_s: float
    efficiency: float
    hosts: list[HostSummary]
    notes: list[str]
    options: dict[str, str | int | float | None]
    restarts: int = 0
    taken_over: int = 0
    dropped_frames: int = 0
    libraries: Libraries | None = None
