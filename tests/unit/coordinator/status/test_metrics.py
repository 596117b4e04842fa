from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec

from framefleet.common.status import HostStatus, Status, decode_status, encode_status
from framefleet.coordinator.status.metrics import HOST_METRICS, METRICS, emf_line
from framefleet.coordinator.status.summaries import FrameRate, status
from tests.helpers.core_bench import Bench
from tests.helpers.jobs import REPOSITORY

MAX_EVENT_BYTES = 16_384  # a log driver's: CloudWatch itself takes 256 KiB

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]


class Definition(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """MetricDefinition of CloudWatch's specification."""

    Name: Name
    Unit: Literal["Seconds", "Bytes", "Percent", "Count", "Bytes/Second", "Count/Second", "None"] = "None"
    StorageResolution: Literal[1, 60] = 60


class Directive(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """MetricDirective; a DimensionSet has at most nine keys (now thirty)."""

    Namespace: Annotated[Name, msgspec.Meta(pattern=r"^[^:].*$")]
    Dimensions: Annotated[list[Annotated[list[Name], msgspec.Meta(max_length=9)]], msgspec.Meta(min_length=1)]
    Metrics: Annotated[list[Definition], msgspec.Meta(min_length=1, max_length=100)]


class Metadata(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    Timestamp: int
    CloudWatchMetrics: Annotated[list[Directive], msgspec.Meta(min_length=1)]


class Root(msgspec.Struct, kw_only=True):
    aws: Metadata = msgspec.field(name="_aws")


def checked(line: bytes) -> Directive:
    """The one directive of a line that obeys the specification, its references included."""
    directive = msgspec.json.decode(line, type=Root).aws.CloudWatchMetrics[0]
    root = json.loads(line)
    for metric in directive.Metrics:
        assert type(root[metric.Name]) in (int, float), metric.Name
    for keys in directive.Dimensions:
        assert all(isinstance(root[key], str) and 0 < len(root[key]) <= 1024 for key in keys)
    assert len(line) <= MAX_EVENT_BYTES
    assert b"\n" not in line
    return directive


def at_work() -> Status:
    bench = Bench(videos=2)
    bench.hello("a", slots=2)
    return status(bench.core, bench.now + 7, FrameRate(), host="a", wake_s=0.25)


def test_a_line_obeys_the_embedded_metric_format_and_is_a_status_still() -> None:
    state = at_work()
    line = emf_line(state)
    directive = checked(line)
    assert directive.Dimensions == [["job_id"]]
    assert decode_status(line) == state
    told = json.loads(line)
    assert told["framefleet_coordinator_wake_seconds"] == 0.25
    assert told["framefleet_videos"] == 2
    assert told["framefleet_elapsed_seconds"] == 7
    now_ms = datetime.now(UTC).timestamp() * 1000
    assert abs(now_ms - told["_aws"]["Timestamp"]) < 3_600_000, "milliseconds, and of now"


def test_what_is_not_known_is_not_a_metric() -> None:
    state = at_work()
    assert state.left_s is None
    names = {metric.Name for metric in checked(emf_line(state)).Metrics}
    assert "framefleet_left_seconds" not in names
    known = msgspec.structs.replace(state, left_s=12.5)
    assert json.loads(emf_line(known))["framefleet_left_seconds"] == 12.5
    assert len(checked(emf_line(known)).Metrics) == len(METRICS)


def test_each_coordinator_of_a_sharded_job_has_metrics_of_its_own() -> None:
    state = msgspec.structs.replace(at_work(), mode="sharded", host="algo-3")
    assert checked(emf_line(state)).Dimensions == [["job_id", "host"]]


def test_a_hundred_hosts_fit() -> None:
    hosts = [
        HostStatus(
            host=f"algo-{number}", state="up", slots=1024, units=1234567, frames=123456789,
            busy_s=1234567.891, busy_share=0.9876,
        )
        for number in range(1, 101)
    ]  # fmt: skip
    checked(emf_line(msgspec.structs.replace(at_work(), hosts=hosts, left_s=1e5, job_id="j" * 63)))


def test_names_follow_the_conventions() -> None:
    names = [metric.name for metric in (*METRICS, *HOST_METRICS)]
    assert len(set(names)) == len(names)
    for name in names:
        assert re.fullmatch(r"framefleet_[a-z_]+", name)
    for metric in METRICS:
        if metric.unit in ("Seconds", "Bytes"):
            assert metric.name.removesuffix("_total").endswith(metric.unit.lower())
        assert metric.help.endswith(".")
    assert not {metric.name for metric in METRICS} & set(json.loads(encode_status(at_work())))


def test_figures_follow_the_job() -> None:
    bench = Bench(videos=1)
    bench.hello("a")
    bench.hello("b")
    bench.probe_all("a", 2.0)
    rate = FrameRate()
    before = json.loads(emf_line(status(bench.core, bench.now, rate)))
    assert before["framefleet_units_running"] == 1
    assert before["framefleet_busy_seconds_total"] == 0.01, "of the probe"
    assert (before["framefleet_hosts_up"], before["framefleet_slots"]) == (2, 2)
    assert (before["framefleet_frames_written_total"], before["outcome"]) == (0, None)
    bench.work("a")
    bench.work("b")
    after = json.loads(emf_line(status(bench.core, bench.now, rate)))
    frames, units = bench.core.written().frames, sum(host.units for host in bench.core.hosts.values())
    assert frames > 0
    assert after["framefleet_frames_written_total"] == after["frames_written"] == frames
    assert after["framefleet_written_bytes_total"] == 100 * frames
    assert after["framefleet_busy_seconds_total"] == 0.01 + 0.5 * units
    assert (after["framefleet_videos_done"], after["framefleet_done_ratio"]) == (1, 1.0)
    assert (after["outcome"], after["framefleet_units_running"]) == ("completed", 0)


def test_the_page_names_them_all() -> None:
    page = (REPOSITORY / "docs" / "metrics.md").read_text()
    for metric in METRICS:
        assert f"| `{metric.name}` | {metric.help} | {metric.unit} |" in page
    for host_metric in HOST_METRICS:
        assert f"| `{host_metric.name}{{host}}` | {host_metric.help} | |" in page
    for member in json.loads(encode_status(at_work())):
        assert f"`{member}`" in page or member == "event"
