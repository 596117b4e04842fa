from __future__ import annotations

import json

import pytest

from framefleet.common.status import (
    STATUS_PREFIX,
    STATUS_VERSION,
    HostStatus,
    Status,
    decode_status,
    encode_status,
)


def status(**changes: object) -> Status:
    values: dict[str, object] = {
        "elapsed_s": 60.0, "frames": 10, "videos": 3, "videos_done": 1, "videos_failed": 0, "units_done": 4,
        "frames_per_s": 2.5, "fraction": 0.25, "left_s": None, "hosts": [], "job_id": "j", "host": "algo-1",
        "at": "2026-01-02T03:04:05.678+00:00",
    }  # fmt: skip
    return Status(**(values | changes))  # type: ignore[arg-type]


def test_a_line_is_json_that_tells_what_it_is() -> None:
    line = encode_status(status())
    assert line.decode().startswith(STATUS_PREFIX)
    told = json.loads(line)
    assert (told["event"], told["version"], told["job_id"]) == ("framefleet-status", STATUS_VERSION, "j")
    assert told["outcome"] is None
    assert decode_status(line) == status()
    assert decode_status(line.decode()) == status()


def test_members_that_this_version_does_not_know_are_left_out() -> None:
    told = json.loads(encode_status(status())) | {"new": [1, 2], "_aws": {}}
    assert decode_status(json.dumps(told, separators=(",", ":"))) == status()


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"framefleet: something else",
        b'{"event":"another","version":1}',
        encode_status(status())[:-20],
        encode_status(status()).replace(b'"version":1', b'"version":2'),
        encode_status(status()).replace(b"algo-1", b"\xff"),
        b"2026-01-02 " + encode_status(status()),
    ],
)
def test_what_is_no_status_of_this_version_is_none(line: bytes) -> None:
    assert decode_status(line) is None


def test_a_hundred_hosts_fit_into_a_line_that_log_drivers_do_not_cut() -> None:
    hosts = [
        HostStatus(
            host=f"algo-{number}", state="lost", slots=1024, units=1234567, frames=123456789,
            busy_s=1234567.891, busy_share=0.9876,
        )
        for number in range(1, 101)
    ]  # fmt: skip
    assert len(encode_status(status(hosts=hosts))) < 14_000  # 16 KiB, less what EMF adds
