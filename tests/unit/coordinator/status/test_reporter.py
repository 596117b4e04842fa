from __future__ import annotations

import json
import socket

import msgspec
import pytest

from framefleet.common.job.spec import JobSpec, MetricsOptions
from framefleet.common.status import decode_status
from framefleet.coordinator.status.prometheus import Exporter
from framefleet.coordinator.status.reporter import SCRAPE_S, Telling, open_exporter
from tests.helpers.core_bench import Bench


class Ear(Exporter):
    """An exporter that only counts what it is told."""

    def __init__(self) -> None:
        self.told = 0

    def update(self, status: object) -> None:
        self.told += 1


def core_with(spec: JobSpec) -> Bench:
    bench = Bench()
    bench.core.spec = spec
    return bench


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_a_line_at_the_start_then_each_interval_and_at_the_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = core_with(JobSpec(job_id="j", status_interval_s=30.0))
    telling = Telling(bench.core, host="algo-1")
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    counts = []
    for now in (100.0, 101.0, 129.9, 130.0, 131.0, 160.5):
        telling.tell(now)
        counts.append(len(lines(capsys)))
    assert counts == [1, 0, 0, 1, 0, 1]
    telling.tell(161.0, last=True)
    (last,) = lines(capsys)
    told = decode_status(last)
    assert told is not None
    assert (told.host, told.job_id, told.elapsed_s) == ("algo-1", "j", 61.0)


def test_telling_takes_a_fiftieth_of_the_time_at_most(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = core_with(JobSpec(job_id="j", status_interval_s=0.5))
    telling = Telling(bench.core)
    monkeypatch.setattr("time.monotonic", lambda: 102.0)  # two seconds for the line at 100
    telling.tell(100.0)
    telling.tell(199.0)
    assert len(lines(capsys)) == 1
    telling.tell(200.0)
    assert len(lines(capsys)) == 1


def test_the_longest_wake_since_the_last_line_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    telling = Telling(core_with(JobSpec(job_id="j")).core)
    for took_s in (0.1, 0.7, 0.2):
        telling.woke(took_s)
    telling.tell(100.0, last=True)
    telling.tell(100.0, last=True)
    first, second = (decode_status(line) for line in lines(capsys))
    assert first is not None
    assert second is not None
    assert (first.wake_s, second.wake_s) == (0.7, 0.0)


def test_cloudwatch_gets_lines_of_its_own_kind(capsys: pytest.CaptureFixture[str]) -> None:
    spec = JobSpec(job_id="j", metrics=MetricsOptions(lines="emf"))
    Telling(core_with(spec).core).tell(100.0)
    (line,) = lines(capsys)
    assert "_aws" in json.loads(line)
    assert decode_status(line) is not None


def test_the_exporter_is_told_more_often_than_lines_are_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ear = Ear()
    telling = Telling(core_with(JobSpec(job_id="j")).core, exporter=ear)
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    for now in (100.0, 100.0 + SCRAPE_S, 101.0 + SCRAPE_S):
        telling.tell(now)
    assert (len(lines(capsys)), ear.told) == (1, 2)


def test_a_job_goes_on_without_metrics_that_cannot_be_served(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert open_exporter(MetricsOptions(port=taken.getsockname()[1])) is None
    assert "metrics" in caplog.text
    caplog.clear()
    assert open_exporter(MetricsOptions()) is None
    assert caplog.text == ""


def test_the_spec_keeps_the_options() -> None:
    spec = JobSpec(job_id="j", metrics=MetricsOptions(lines="emf", port=9400, address="0.0.0.0"))
    assert msgspec.json.decode(msgspec.json.encode(spec), type=JobSpec) == spec
