"""What the coordinator tells of a job: live status and the summary at the end, from the core's state."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime, timedelta

import msgspec

from framefleet.common.job.spec import ImageOptions, SamplingOptions
from framefleet.common.status import HostStatus, HostSummary, Outcome, Status, Summary
from framefleet.coordinator.core.core import Core
from framefleet.coordinator.state import HELD, Host, UnitState

MAX_NAMES = 10  # in one note
RATE_WINDOW_S = 10.0  # frames/s are those of the last ten seconds


class FrameRate:
    """Frames per second over a sliding window."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def update(self, now: float, frames: int) -> float:
        """Add a reading (seconds, frames so far) and return the present rate."""
        self._seen.append((now, frames))
        while len(self._seen) > 2 and now - self._seen[0][0] > RATE_WINDOW_S:
            self._seen.popleft()
        then, before = self._seen[0]
        return max(0.0, (frames - before) / (now - then)) if now > then else 0.0


def status(core: Core, now: float, rate: FrameRate, *, host: str = "", wake_s: float = 0.0) -> Status:
    """The job at this moment, as the coordinator at ``host`` sees it."""
    units = core.pool.units
    running = [units[number] for host in core.hosts.values() for number in host.held]
    frames = sum(host.frames for host in core.hosts.values()) + sum(unit.progress_frames for unit in running)
    done_s = sum(host.busy_s for host in core.hosts.values())
    left_s = core.pool.remaining_s() + sum(
        max(0.0, core.pool.workload.estimate_s(unit) - (now - unit.changed_at))
        for unit in running
        if unit.state is UnitState.LEASED
    )
    progress_s = done_s + sum(now - unit.changed_at for unit in running if unit.state is UnitState.LEASED)
    slots = sum(host.capacity * host.speed for host in core.hosts.values() if host.state == "up")
    known = done_s > 0 and slots > 0
    written = core.written()
    return Status(
        elapsed_s=now - core.started_at,
        frames=frames,
        videos=len(core.pool.videos),
        videos_done=len(core.pool.videos) - core.pool.unsettled,
        videos_failed=len({failure.video for failure in core.failures.failures}),
        units_done=sum(host.units for host in core.hosts.values()),
        frames_per_s=rate.update(now, frames),
        fraction=1.0 if core.outcome == "completed" else progress_s / (progress_s + left_s) if known else 0.0,
        left_s=left_s / slots if known else None,
        hosts=[_host_status(core, host, now) for _, host in sorted(core.hosts.items())],
        job_id=core.spec.job_id,
        mode=core.spec.mode,
        host=host,
        at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        outcome=core.outcome,
        frames_written=written.frames,
        suspect_frames=written.suspect,
        dropped_frames=written.dropped,
        bytes=written.bytes,
        units_running=sum(host.running for host in core.hosts.values()),
        retries=core.failures.retries,
        failures=len(core.failures.failures),
        restarts=core.restarts,
        work_s=done_s,
        wake_s=wake_s,
    )


def _host_status(core: Core, host: Host, now: float) -> HostStatus:
    held = [core.pool.units[number] for number in host.held]
    running_s = sum(now - unit.changed_at for unit in held if unit.state is UnitState.LEASED)
    busy_s = host.busy_s + running_s
    present_s = max(1e-9, (now - host.joined_at) * host.slots)
    return HostStatus(
        host=host.name,
        state=host.state,
        slots=host.slots,
        units=host.units,
        frames=host.frames + sum(unit.progress_frames for unit in held if unit.state in HELD),
        busy_s=round(busy_s, 3),  # a line with a hundred hosts is to stay below 16 KiB
        busy_share=round(min(1.0, busy_s / present_s), 4),
    )


def summary(core: Core, now: float, outcome: Outcome, reason: str) -> Summary:
    """The whole job, as ``summary.json`` keeps it. ``now`` is on the clock that the core was given."""
    hosts = sorted(core.hosts.values(), key=lambda host: host.name)
    makespan_s = max(core.last_commit_at - core.started_at, 1e-9)
    work_s = sum(host.busy_s for host in hosts)
    slots = sum(host.slots for host in hosts)
    lower_bound_s = work_s / slots if slots else 0.0
    started = datetime.now(UTC) - timedelta(seconds=now - core.started_at)
    written, units = core.written(), sum(host.units for host in hosts)
    failed_videos = {failure.video for failure in core.failures.failures}
    return Summary(
        job_id=core.spec.job_id,
        mode=core.spec.mode,
        outcome=outcome,
        reason=reason,
        started_at=started.isoformat(timespec="seconds"),
        videos=len(core.pool.videos),
        videos_done=sum(1 for video in core.pool.videos if video.settled and not video.failed),
        videos_failed=len(failed_videos),
        frames=written.frames,
        suspect_frames=written.suspect,
        dropped_frames=written.dropped,
        bytes=written.bytes,
        units=units,
        retries=core.failures.retries,
        failures=len(core.failures.failures),
        frames_lost=outcome != "completed"
        or any(failure.kind == "lost" for failure in core.failures.failures),
        makespan_s=makespan_s,
        work_s=work_s,
        speed=float(slots),
        lower_bound_s=lower_bound_s,
        efficiency=lower_bound_s / makespan_s if units else 0.0,
        hosts=[
            HostSummary(
                host=host.name,
                state=host.state,
                slots=host.slots,
                units=host.units,
                frames=host.frames,
                busy_s=host.busy_s,
                idle_share=max(0.0, 1.0 - host.busy_s / (host.slots * makespan_s)),
            )
            for host in hosts
        ],
        notes=core.notes + _notes(core),
        options={
            **_given(core.spec.sampling, SamplingOptions()),
            "format": core.spec.image.format,
            **_given(core.spec.image, ImageOptions()),
            "on_error": core.spec.on_error,
            "slots_per_host": core.spec.slots_per_host,
        },
        restarts=core.restarts,
        taken_over=core.pool.taken_over.frames,
        libraries=core.members.libraries,
    )


def _given(options: msgspec.Struct, defaults: msgspec.Struct) -> dict[str, str | int | float | None]:
    """The options that differ from the defaults; a flag as "yes"."""
    usual = msgspec.structs.asdict(defaults)
    given = {name: value for name, value in msgspec.structs.asdict(options).items() if value != usual[name]}
    return {name: "yes" if value is True else value for name, value in given.items()}


def _notes(core: Core) -> list[str]:
    """What can only be said when all is over."""
    notes = [f"{core.garbled} messages that are none were ignored"] if core.garbled else []
    if core.restarts:
        times = "once" if core.restarts == 1 else f"{core.restarts} times"
        notes.append(f"the coordinator died and was started again from its journal {times}")
    without = [
        video.listed.name
        for video in core.pool.videos
        if video.settled
        and not (video.frames or video.failed)
        and core.pool.workload.sampling_of(video).is_limited
    ]
    if without:
        more = f" and {len(without) - MAX_NAMES} more" if len(without) > MAX_NAMES else ""
        videos = "1 video" if len(without) == 1 else f"{len(without)} videos"
        notes.append(
            f"{videos} gave no frame, lasting not as long as the times that are wanted: "
            f"{', '.join(without[:MAX_NAMES])}{more}"
        )
    return notes
