"""What a job tells of itself: live status lines, the summary, and the list of failures.

A coordinator prints each status as one line on standard output, ``STATUS_PREFIX`` and JSON, so that
the launcher reads it in the same way from a local process, a container, or CloudWatch Logs.
"""

from __future__ import annotations

from typing import Literal

import msgspec

STATUS_PREFIX = "framefleet-status "

# "input": the file itself cannot give these frames (not a video, damaged, unreadable, vanished);
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


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """A job at one moment. ``fraction`` (0 to 1) is estimated work done over all estimated work;
    ``left_s`` is None until it can be told. ``frames`` includes frames of running units."""

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


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A line of ``failures.jsonl``: a video, or a range of it (seconds), that gave no frames."""

    video: str
    kind: FailureKind
    reason: str
    start_s: float | None = None
    stop_s: float | None = None
    attempts: int = 1


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
    had made."""

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
