"""One account out of many: hosts of a sharded job each report on their own share only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from framefleet.common.status import Outcome, Status, Summary, nothing_made


def combine_statuses(statuses: Sequence[Status]) -> Status:
    """The state of the whole job from the latest state of each host that has told one.

    Every host estimates its own work; ``busy_s / fraction`` is what it believes its whole share to
    be, and the shares are weighted by it. The job ends with its slowest host.

    Raises:
        ValueError: there is no status.
    """
    if not statuses:
        raise ValueError("no statuses to combine")
    done_s = total_s = 0.0
    for status in statuses:
        busy_s = sum(host.busy_s for host in status.hosts)
        if status.fraction > 0:
            done_s += busy_s
            total_s += busy_s / status.fraction
    if total_s:
        fraction = done_s / total_s
    else:
        fraction = sum(status.fraction for status in statuses) / len(statuses)
    left = [status.left_s for status in statuses if status.fraction < 1]
    known = [left_s for left_s in left if left_s is not None]
    outcomes = [status.outcome for status in statuses]
    return Status(
        elapsed_s=max(status.elapsed_s for status in statuses),
        frames=sum(status.frames for status in statuses),
        videos=sum(status.videos for status in statuses),
        videos_done=sum(status.videos_done for status in statuses),
        videos_failed=sum(status.videos_failed for status in statuses),
        units_done=sum(status.units_done for status in statuses),
        frames_per_s=sum(status.frames_per_s for status in statuses),
        fraction=min(1.0, fraction),
        left_s=max(known, default=0.0) if len(known) == len(left) else None,
        hosts=[host for status in statuses for host in status.hosts],
        job_id=statuses[0].job_id,
        mode=statuses[0].mode,
        at=max(status.at for status in statuses),
        outcome=_worst([outcome for outcome in outcomes if outcome]) if all(outcomes) else None,
        frames_written=sum(status.frames_written for status in statuses),
        suspect_frames=sum(status.suspect_frames for status in statuses),
        dropped_frames=sum(status.dropped_frames for status in statuses),
        bytes=sum(status.bytes for status in statuses),
        units_running=sum(status.units_running for status in statuses),
        retries=sum(status.retries for status in statuses),
        failures=sum(status.failures for status in statuses),
        restarts=sum(status.restarts for status in statuses),
        work_s=sum(status.work_s for status in statuses),
        wake_s=max(status.wake_s for status in statuses),
    )


def combine_summaries(summaries: Sequence[Summary], *, missing: Sequence[str]) -> Summary:
    """The summary of the whole job; ``missing`` names hosts that left none.

    The makespan is that of the slowest host, W and S are sums, and every host's idle share counts
    against the whole makespan: a host that is done early idles until the last one is.

    Raises:
        ValueError: there is no summary.
    """
    if not summaries:
        raise ValueError("no summaries to combine")
    makespan_s = max(summary.makespan_s for summary in summaries)
    work_s = sum(summary.work_s for summary in summaries)
    speed = sum(summary.speed for summary in summaries)
    lower_bound_s = work_s / speed if speed else 0.0
    hosts = [
        msgspec.structs.replace(
            host,
            idle_share=_share(1 - host.busy_s / (host.slots * makespan_s))
            if host.slots and makespan_s
            else 0.0,
        )
        for summary in summaries
        for host in summary.hosts
    ]
    libraries = {summary.libraries for summary in summaries} - {None}
    reasons = [summary.reason for summary in summaries if summary.reason]
    reasons += [
        f"host {host} ended without a summary; its share of the videos is not done" for host in missing
    ]
    frames = sum(summary.frames for summary in summaries)
    units = sum(summary.units for summary in summaries)
    videos = sum(summary.videos for summary in summaries)
    failed = sum(summary.videos_failed for summary in summaries)
    outcome = _worst([summary.outcome for summary in summaries] + ["failed"] * bool(missing))
    if outcome == "completed" and not frames:  # no host could know that the others have none either
        outcome = "failed"
        reasons.append(nothing_made(videos, failed))
    return Summary(
        job_id=summaries[0].job_id,
        mode=summaries[0].mode,
        outcome=outcome,
        reason="; ".join(dict.fromkeys(reasons)),
        started_at=min(summary.started_at for summary in summaries),
        videos=videos,
        videos_done=sum(summary.videos_done for summary in summaries),
        videos_failed=failed,
        frames=frames,
        suspect_frames=sum(summary.suspect_frames for summary in summaries),
        dropped_frames=sum(summary.dropped_frames for summary in summaries),
        bytes=sum(summary.bytes for summary in summaries),
        units=units,
        retries=sum(summary.retries for summary in summaries),
        failures=sum(summary.failures for summary in summaries),
        frames_lost=outcome != "completed" or any(summary.frames_lost for summary in summaries),
        makespan_s=makespan_s,
        work_s=work_s,
        speed=speed,
        lower_bound_s=lower_bound_s,
        efficiency=lower_bound_s / makespan_s if makespan_s and units else 0.0,
        hosts=hosts,
        notes=[
            *_unlike(summaries),
            *dict.fromkeys(note for summary in summaries for note in summary.notes),
        ],
        options=summaries[0].options,
        restarts=sum(summary.restarts for summary in summaries),
        taken_over=sum(summary.taken_over for summary in summaries),
        libraries=libraries.pop() if len(libraries) == 1 else None,
    )


def _unlike(summaries: Sequence[Summary]) -> list[str]:
    """A note on hosts that had other libraries than the first: nobody could refuse them, as each had a
    coordinator of its own."""
    known = [summary for summary in summaries if summary.libraries is not None and summary.hosts]
    notes = []
    for summary in known[1:]:
        first, other = known[0].libraries, summary.libraries
        assert first is not None
        assert other is not None
        if first != other:
            notes.append(
                f"frames of host {summary.hosts[0].host} may have other bytes than those of host "
                f"{known[0].hosts[0].host}: it has {other.unlike(first)}, and that {first.unlike(other)}; "
                "run one image on all hosts, or install the same versions on all"
            )
    return notes


def _worst(outcomes: Iterable[Outcome]) -> Outcome:
    order: tuple[Outcome, ...] = ("completed", "interrupted", "failed")
    return max(outcomes, key=order.index)


def _share(value: float) -> float:
    return min(max(value, 0.0), 1.0)
