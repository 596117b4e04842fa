from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.request import urlopen

import msgspec
import pytest

from framefleet.common.errors import UserError
from framefleet.coordinator.status.metrics import HOST_METRICS, METRICS
from framefleet.coordinator.status.prometheus import Exporter
from framefleet.coordinator.status.summaries import FrameRate, status
from tests.helpers.core_bench import Bench

pytest.importorskip("prometheus_client", reason="the extra 'metrics' (or 'test') is not installed")


@pytest.fixture
def exporter() -> Iterator[Exporter]:
    exporter = Exporter("127.0.0.1", 0)
    yield exporter
    exporter.close()


def scrape(exporter: Exporter) -> str:
    with urlopen(f"http://127.0.0.1:{exporter.port}/metrics", timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        text: str = answer.read().decode()
    return text


def test_what_was_told_last_is_what_is_scraped(exporter: Exporter) -> None:
    from prometheus_client.parser import text_string_to_metric_families as parse

    assert list(parse(scrape(exporter))) == [], "nothing before the first status"
    bench = Bench(videos=3)
    bench.hello("a", slots=2)
    told = msgspec.structs.replace(
        status(bench.core, bench.now, FrameRate(), host="a"), frames_written=17, bytes=1700, left_s=9.5
    )
    exporter.update(told)
    text = scrape(exporter)
    samples = {sample.name: sample.value for family in parse(text) for sample in family.samples}
    assert samples["framefleet_frames_written_total"] == 17
    assert samples["framefleet_written_bytes_total"] == 1700
    assert samples["framefleet_left_seconds"] == 9.5
    assert samples["framefleet_videos"] == 3
    assert samples["framefleet_host_slots"] == 2
    assert {metric.name for metric in (*METRICS, *HOST_METRICS)} <= samples.keys()
    assert "# TYPE framefleet_frames_written_total counter" in text
    assert "# TYPE framefleet_videos gauge" in text
    assert 'framefleet_host_up{host="a"} 1.0' in text
    assert re.search(r'framefleet_job_info\{job_id="job",mode="coordinated",.*\} 1\.0', text)
    exporter.update(msgspec.structs.replace(told, left_s=None))
    assert "framefleet_left_seconds" not in scrape(exporter)


def test_an_address_in_use_is_told_with_a_remedy(exporter: Exporter) -> None:
    with pytest.raises(UserError, match=rf"127\.0\.0\.1:{exporter.port} .*--metrics-port"):
        Exporter("127.0.0.1", exporter.port)
