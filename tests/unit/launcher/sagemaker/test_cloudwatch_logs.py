from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from framefleet.common.status import Status, encode_status
from framefleet.launcher.sagemaker.cloudwatch_logs import (
    MAX_PAGES,
    OVERLAP_MS,
    PATTERN,
    LogReader,
    last_lines,
)
from framefleet.launcher.sagemaker.iam_policies import LOG_GROUP

NOW_MS = 1_790_000_000_000


def status_line(**fields: Any) -> str:
    zeros = dict.fromkeys(
        ("elapsed_s", "frames", "videos", "videos_done", "videos_failed", "units_done", "frames_per_s"), 0
    )
    return encode_status(Status(**{**zeros, "fraction": 0.0, "left_s": None, "hosts": [], **fields})).decode()


@pytest.fixture
def logs(aws_account: None, monkeypatch: pytest.MonkeyPatch) -> Any:
    return boto3.client("logs", region_name="us-east-1")


def event(number: int, at_ms: int, text: str, stream: str = "job-1/algo-1-1") -> dict[str, Any]:
    return {"eventId": str(number), "timestamp": at_ms, "message": text, "logStreamName": stream}


def query(since_ms: int, **more: Any) -> dict[str, Any]:
    return {
        "logGroupName": LOG_GROUP,
        "logStreamNamePrefix": "job-1/",
        "startTime": since_ms,
        "filterPattern": PATTERN,
        **more,
    }


def test_without_a_log_there_is_nothing_to_read(logs: Any) -> None:
    assert LogReader(logs, "job-1").read() == []


def test_the_real_log_of_several_hosts_is_read_in_order(logs: Any) -> None:
    import time

    now_ms = int(time.time() * 1000)
    logs.create_log_group(logGroupName=LOG_GROUP)
    for stream, at_ms, text in [
        ("job-1/algo-2-9", now_ms + 1, "framefleet: the disk is full"),
        ("job-1/algo-1-9", now_ms, status_line(frames=5)),
        ("job-1/algo-1-9", now_ms + 2, "some other line"),
        ("job-10/algo-1-9", now_ms, status_line(frames=99)),
    ]:
        if not logs.describe_log_streams(logGroupName=LOG_GROUP, logStreamNamePrefix=stream)["logStreams"]:
            logs.create_log_stream(logGroupName=LOG_GROUP, logStreamName=stream)
        logs.put_log_events(
            logGroupName=LOG_GROUP, logStreamName=stream, logEvents=[{"timestamp": at_ms, "message": text}]
        )
    reader = LogReader(logs, "job-1", since_ms=now_ms)
    lines = reader.read()
    assert [(line.host, line.text) for line in lines] == [
        ("algo-1", status_line(frames=5)),
        ("algo-2", "framefleet: the disk is full"),
    ]
    assert reader.read() == []
    tail = last_lines(logs, "job-1", since_ms=now_ms, count=2)
    assert [line.text for line in tail] == ["framefleet: the disk is full", "some other line"]


def test_late_events_are_seen_and_none_twice(logs: Any) -> None:
    reader = LogReader(logs, "job-1", since_ms=NOW_MS)
    with Stubber(logs) as stub:
        first = event(1, NOW_MS + 100_000, "framefleet: a")
        stub.add_response("filter_log_events", {"events": [first]}, query(NOW_MS - OVERLAP_MS))
        late = event(2, NOW_MS + 50_000, "framefleet: late")
        stub.add_response(
            "filter_log_events", {"events": [late, first]}, query(NOW_MS + 100_000 - OVERLAP_MS)
        )
        assert [line.text for line in reader.read()] == ["framefleet: a"]
        assert [line.text for line in reader.read()] == ["framefleet: late"]
        stub.assert_no_pending_responses()


def test_pages_empty_ones_too_are_followed_and_not_without_end(logs: Any) -> None:
    reader = LogReader(logs, "job-1", since_ms=NOW_MS)
    since_ms = NOW_MS - OVERLAP_MS
    with Stubber(logs) as stub:
        stub.add_response("filter_log_events", {"events": [], "nextToken": "1"}, query(since_ms))
        for number in range(1, MAX_PAGES + 1):
            stub.add_response(
                "filter_log_events",
                {"events": [event(number, NOW_MS, f"framefleet: {number}")], "nextToken": str(number + 1)},
                query(since_ms, nextToken=str(number)),
            )
        assert len(reader.read()) == MAX_PAGES - 1
        stub.add_response("filter_log_events", {"events": []}, query(since_ms, nextToken=str(MAX_PAGES + 1)))
        assert len(reader.read()) == 1
        stub.assert_no_pending_responses()


def test_an_expired_token_begins_anew_and_throttling_is_raised(logs: Any) -> None:
    reader = LogReader(logs, "job-1", since_ms=NOW_MS)
    with Stubber(logs) as stub:
        stub.add_response(
            "filter_log_events", {"events": [event(1, NOW_MS, "framefleet: a")], "nextToken": "t"}
        )
        stub.add_client_error("filter_log_events", "InvalidParameterException", "token has expired")
        assert [line.text for line in reader.read()] == ["framefleet: a"]
        stub.add_client_error("filter_log_events", "ThrottlingException", "Rate exceeded")
        with pytest.raises(ClientError, match="Rate exceeded"):
            reader.read()
        stub.add_response("filter_log_events", {"events": [event(2, NOW_MS, "framefleet: b")]})
        assert [line.text for line in reader.read()] == ["framefleet: b"]


def test_the_last_lines_of_more_hosts_than_a_page_holds(logs: Any) -> None:
    with Stubber(logs) as stub:
        for number, more in ((1, {"nextToken": "2"}), (2, {})):
            streams = [{"logStreamName": f"job-1/algo-{number}-9"}]
            token = {} if more else {"nextToken": "2"}
            where = {"logGroupName": LOG_GROUP, "logStreamNamePrefix": "job-1/", **token}
            stub.add_response("describe_log_streams", {"logStreams": streams, **more}, where)
            line = {"timestamp": NOW_MS + number, "message": f"Traceback {number}"}
            stub.add_response("get_log_events", {"events": [line]})
        lines = last_lines(logs, "job-1", since_ms=NOW_MS, count=20)
        stub.assert_no_pending_responses()
    assert [(line.host, line.text) for line in lines] == [
        ("algo-1", "Traceback 1"),
        ("algo-2", "Traceback 2"),
    ]
