"""The job specification: what is written is what is read, and nothing else is accepted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from framefleet.common.errors import UserError
from framefleet.common.job.spec import (
    SPEC_VERSION,
    ImageOptions,
    JobSpec,
    SamplingOptions,
    SchedulingOptions,
    read_spec,
    write_spec,
)
from tests.helpers.keys import KEYS


def write(folder: Path, content: dict[str, Any] | bytes) -> Path:
    path = folder / "job.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


@pytest.mark.parametrize(
    "spec",
    [
        JobSpec(job_id="job-1"),
        JobSpec(
            job_id="job é",
            sampling=SamplingOptions(every=3, start="0.5", ranges="r.tsv"),
            mode="sharded",
            image=ImageOptions(format="png", quality=1),
            on_error="fail",
            slots_per_host=3,
            port=6000,
            endpoint="tcp://127.0.0.1:6001",
            status_interval_s=0.5,
            scheduling=SchedulingOptions(unit_min_s=0.01, cut="anywhere", lease_s=2.0),
            keys=KEYS,
        ),
    ],
)
def test_what_is_written_is_read_again(tmp_path: Path, spec: JobSpec) -> None:
    path = tmp_path / "input" / "job" / "job.json"
    write_spec(path, spec)
    assert read_spec(path) == spec


def test_a_job_needs_no_more_than_its_name(tmp_path: Path) -> None:
    assert read_spec(write(tmp_path, {"job_id": "job-1"})) == JobSpec(job_id="job-1")


def test_the_file_can_be_read_by_people(tmp_path: Path) -> None:
    path = tmp_path / "job.json"
    write_spec(path, JobSpec(job_id="job-1"))
    assert '\n  "job_id": "job-1",\n' in path.read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fpss": 5}, "unknown field `fpss`"),
        ({"fps": "5"}, "unknown field `fps`"),
        ({"job_id": "x" * 256}, r"\$.job_id"),
        ({"keys": {"server_public": "x"}}, r"\$.keys"),
        ({"sampling": {"fps": 5}}, r"\$.sampling.fps"),
        ({"sampling": {"every": 0}}, r"\$.sampling.every"),
        ({"sampling": {"max_frames_per_video": 0}}, r"\$.sampling.max_frames_per_video"),
        ({"sampling": {"seconds": 3}}, "unknown field `seconds`"),
        ({"mode": "parallel"}, r"\$.mode"),
        ({"on_error": "ignore"}, r"\$.on_error"),
        ({"slots_per_host": 0}, r"\$.slots_per_host"),
        ({"port": 65536}, r"\$.port"),
        ({"status_interval_s": 0}, r"\$.status_interval_s"),
        ({"image": {"format": "gif"}}, r"\$.image.format"),
        ({"image": {"quality": 0}}, r"\$.image.quality"),
        ({"image": {"quality": 101}}, r"\$.image.quality"),
        ({"image": {"size": 3}}, "unknown field `size`"),
        ({"scheduling": {"unit_min_s": 0}}, r"\$.scheduling.unit_min_s"),
        ({"scheduling": {"cut": "sometimes"}}, r"\$.scheduling.cut"),
        ({"scheduling": {"lease_s": "30"}}, r"\$.scheduling.lease_s"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = write(tmp_path, {"job_id": "job-1", **change})
    with pytest.raises(UserError, match=message) as caught:
        read_spec(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not valid"),
        (b"{", "is not valid"),
        (b"[]", "is not valid: Expected `object`"),
        (b"{}", "missing required field `job_id`"),
        (b"[" * 100_000, "is not valid"),
        (b'{"job_id": "\xff"}', "is not valid"),
        (b'{"job_id": "j", "image": ' + b"[" * 100_000, "is not valid"),
    ],
)
def test_what_is_no_specification(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_spec(write(tmp_path, content))


def test_another_version_tells_what_to_do(tmp_path: Path) -> None:
    path = write(tmp_path, {"job_id": "job-1", "version": SPEC_VERSION + 1, "news": 1})
    with pytest.raises(
        UserError, match=rf"version {SPEC_VERSION + 1}, this image reads {SPEC_VERSION}.*one release"
    ):
        read_spec(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read the job specification .*job\.json: No such file"):
        read_spec(tmp_path / "job.json")
