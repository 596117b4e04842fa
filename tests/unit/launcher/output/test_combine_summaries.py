from __future__ import annotations

from typing import Any

import msgspec
import pytest

from framefleet.common.status import HostStatus, HostSummary, Status, Summary
from framefleet.coordinator.simulation.hosts import LIBRARIES
from framefleet.launcher.output.combine_summaries import combine_statuses, combine_summaries


def status(host: str, *, busy_s: float, fraction: float, left_s: float | None, frames: int = 10) -> Status:
    return Status(
        elapsed_s=20.0, frames=frames, videos=3, videos_done=1, videos_failed=1, units_done=4,
        frames_per_s=2.5, fraction=fraction, left_s=left_s,
        hosts=[
            HostStatus(host=host, state="up", slots=1, units=4, frames=frames, busy_s=busy_s, busy_share=0.5)
        ],
    )  # fmt: skip


def summary(host: str, *, busy_s: float, makespan_s: float, **changes: Any) -> Summary:
    values: dict[str, Any] = {
        "job_id": "job", "mode": "sharded", "outcome": "completed", "reason": "", "videos": 6,
        "started_at": f"2024-01-01T00:00:0{len(host)}+00:00", "videos_done": 5, "videos_failed": 1,
        "frames": 100, "suspect_frames": 1, "bytes": 1000, "units": 6, "retries": 1, "failures": 1,
        "frames_lost": False, "makespan_s": makespan_s, "work_s": busy_s, "speed": 1.0,
        "lower_bound_s": busy_s, "efficiency": busy_s / makespan_s, "notes": ["same", host], "options": {},
        "hosts": [
            HostSummary(host=host, state="left", slots=1, units=6, frames=100, busy_s=busy_s, idle_share=0.0)
        ],
    }  # fmt: skip
    return Summary(**(values | changes))


def test_counts_add_up_and_shares_weigh_by_work() -> None:
    both = combine_statuses(
        [
            status("a", busy_s=10.0, fraction=0.1, left_s=90.0),
            status("b", busy_s=20.0, fraction=1.0, left_s=0.0),
        ]
    )
    assert (both.frames, both.videos, both.videos_done, both.videos_failed, both.units_done) == (
        20,
        6,
        2,
        2,
        8,
    )
    assert both.fraction == pytest.approx(30 / 120)
    assert both.left_s == 90.0
    assert both.frames_per_s == 5.0
    assert [host.host for host in both.hosts] == ["a", "b"]


def test_time_left_is_unknown_while_any_host_does_not_know() -> None:
    unknown = status("a", busy_s=0.0, fraction=0.0, left_s=None)
    both = combine_statuses([unknown, status("b", busy_s=5.0, fraction=0.5, left_s=5.0)])
    assert both.left_s is None
    assert combine_statuses([unknown]).fraction == 0.0


def test_makespan_is_the_slowest_hosts_and_the_others_idle() -> None:
    both = combine_summaries(
        [summary("a", busy_s=30.0, makespan_s=30.0), summary("bb", busy_s=10.0, makespan_s=10.0)], missing=[]
    )
    assert (both.makespan_s, both.work_s, both.speed, both.lower_bound_s) == (30.0, 40.0, 2.0, 20.0)
    assert both.efficiency == pytest.approx(2 / 3)
    assert [host.idle_share for host in both.hosts] == pytest.approx([0.0, 2 / 3])
    assert (both.frames, both.failures, both.retries, both.videos) == (200, 2, 2, 12)
    assert both.notes == ["same", "a", "bb"]
    assert both.started_at.endswith("01+00:00")
    assert (both.outcome, both.frames_lost) == ("completed", False)


def test_host_without_a_summary_makes_the_job_a_failure() -> None:
    rest = combine_summaries([summary("a", busy_s=1.0, makespan_s=1.0)], missing=["b"])
    assert (rest.outcome, rest.frames_lost) == ("failed", True)
    assert "host b" in rest.reason


def test_worst_outcome_counts() -> None:
    stopped = summary("a", busy_s=1.0, makespan_s=1.0, outcome="interrupted", reason="stopped")
    both = combine_summaries([stopped, summary("b", busy_s=1.0, makespan_s=1.0)], missing=[])
    assert (both.outcome, both.reason) == ("interrupted", "stopped")


def test_nothing_cannot_be_combined() -> None:
    with pytest.raises(ValueError, match="no statuses"):
        combine_statuses([])
    with pytest.raises(ValueError, match="no summaries"):
        combine_summaries([], missing=["a"])


def test_hosts_with_different_libraries_are_told() -> None:
    other = msgspec.structs.replace(LIBRARIES, pyav="2.0")
    alike = [summary(host, busy_s=5.0, makespan_s=5.0, libraries=LIBRARIES) for host in ("a", "b")]
    unlike = summary("c", busy_s=5.0, makespan_s=5.0, libraries=other)
    both = combine_summaries(alike, missing=[])
    assert both.libraries == LIBRARIES
    assert both.notes == ["same", "a", "b"]
    all_three = combine_summaries([*alike, unlike], missing=[])
    assert all_three.libraries is None
    assert "host c may have other bytes than those of host a: it has PyAV 2.0" in all_three.notes[0]
