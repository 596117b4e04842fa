"""The coordinator's metrics: what each is called, what it means, and how it follows from a status.

One name for each, by Prometheus's conventions (base units, ``_total`` for what only grows), in CloudWatch as
in Prometheus.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from framefleet.common.status import HostStatus, Status, encode_status

NAMESPACE: Final = "Framefleet"  # in CloudWatch
CloudWatchUnit = Literal["Count", "Bytes", "Seconds", "Count/Second", "None"]


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure of the whole job. ``of`` gives its value; None while there is none."""

    name: str
    help: str
    of: Callable[[Status], float | None]
    unit: CloudWatchUnit = "Count"

    @property
    def is_counter(self) -> bool:
        """It only grows while one coordinator lives."""
        return self.name.endswith("_total")


@dataclass(frozen=True, slots=True)
class HostMetric:
    """A figure of one host; not in CloudWatch, where each would be paid for."""

    name: str
    help: str
    of: Callable[[HostStatus], float]

    @property
    def is_counter(self) -> bool:
        return self.name.endswith("_total")


METRICS: Final = (
    Metric("framefleet_frames_written_total", "Frames published.", lambda s: s.frames_written),
    Metric(
        "framefleet_suspect_frames_total",
        "Those of them that follow a decoding error.",
        lambda s: s.suspect_frames,
    ),
    Metric(
        "framefleet_dropped_frames_total",
        "Those of them that were left out by --dedup or --min-sharpness.",
        lambda s: s.dropped_frames,
    ),
    Metric("framefleet_written_bytes_total", "Size of the frames published.", lambda s: s.bytes, "Bytes"),
    Metric("framefleet_units_done_total", "Units of work done.", lambda s: s.units_done),
    Metric("framefleet_units_running", "Units in slots now.", lambda s: s.units_running),
    Metric("framefleet_retries_total", "Attempts that failed and were made again.", lambda s: s.retries),
    Metric("framefleet_failures_total", "Videos and parts of them given up.", lambda s: s.failures),
    Metric("framefleet_videos", "Files of the input.", lambda s: s.videos),
    Metric("framefleet_videos_done", "Files of which nothing is left to do.", lambda s: s.videos_done),
    Metric("framefleet_videos_failed", "Files that gave no frames.", lambda s: s.videos_failed),
    Metric(
        "framefleet_frames_per_second",
        "Frames of the last ten seconds, by time.",
        lambda s: s.frames_per_s,
        "Count/Second",
    ),
    Metric(
        "framefleet_done_ratio", "Work done by all work, estimated, 0 to 1.", lambda s: s.fraction, "None"
    ),
    Metric("framefleet_elapsed_seconds", "Time since the job's start.", lambda s: s.elapsed_s, "Seconds"),
    Metric("framefleet_left_seconds", "Estimated time to the end.", lambda s: s.left_s, "Seconds"),
    Metric(
        "framefleet_busy_seconds_total",
        "Time of slots in units that have ended.",
        lambda s: s.work_s,
        "Seconds",
    ),
    Metric("framefleet_hosts_up", "Hosts taking part.", lambda s: _hosts(s, "up")),
    Metric("framefleet_hosts_lost", "Hosts given up as lost.", lambda s: _hosts(s, "lost")),
    Metric("framefleet_slots", "Slots of the hosts taking part.", lambda s: _slots(s)),
    Metric(
        "framefleet_coordinator_restarts_total",
        "Times that the coordinator died and was started again.",
        lambda s: s.restarts,
    ),
    Metric(
        "framefleet_coordinator_wake_seconds",
        "Longest that its loop was busy in one go since the last status.",
        lambda s: s.wake_s,
        "Seconds",
    ),
)

HOST_METRICS: Final = (
    HostMetric("framefleet_host_up", "Whether it takes part.", lambda h: float(h.state == "up")),
    HostMetric("framefleet_host_slots", "Its slots.", lambda h: h.slots),
    HostMetric("framefleet_host_busy_ratio", "Share of its slots' time in units.", lambda h: h.busy_share),
    HostMetric("framefleet_host_units_done_total", "Units of work done by it.", lambda h: h.units),
)


def emf_line(status: Status) -> bytes:
    """A status as in ``encode_status``, with its metrics in CloudWatch's embedded metric format.

    A sharded job has a coordinator at each host, and so a set of metrics for each.
    """
    values = {metric: metric.of(status) for metric in METRICS}
    known = {metric: value for metric, value in values.items() if value is not None}
    at_ms = round(datetime.fromisoformat(status.at).timestamp() * 1000)
    members: dict[str, Any] = {metric.name: value for metric, value in known.items()}
    members["_aws"] = {
        "Timestamp": at_ms,
        "CloudWatchMetrics": [
            {
                "Namespace": NAMESPACE,
                "Dimensions": [["job_id", "host"] if status.mode == "sharded" else ["job_id"]],
                "Metrics": [{"Name": metric.name, "Unit": metric.unit} for metric in known],
            }
        ],
    }
    return encode_status(status).removesuffix(b"}") + b"," + msgspec.json.encode(members).removeprefix(b"{")


def _hosts(status: Status, state: str) -> int:
    return sum(1 for host in status.hosts if host.state == state)


def _slots(status: Status) -> int:
    return sum(host.slots for host in status.hosts if host.state == "up")
