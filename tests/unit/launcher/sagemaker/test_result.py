from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import msgspec
import pytest
from rich.console import Console

from framefleet.common.errors import UserError
from framefleet.common.job.spec import JobSpec
from framefleet.common.output.shard_fields import PackOptions
from framefleet.common.status import HostSummary, Status, Summary
from framefleet.launcher.aws.clients import Aws, open_aws
from framefleet.launcher.cli import main as launch
from framefleet.launcher.sagemaker.follow import Ending
from framefleet.launcher.sagemaker.iam_policies import LOG_GROUP
from framefleet.launcher.sagemaker.job_description import read_description
from framefleet.launcher.sagemaker.request import build_request
from framefleet.launcher.sagemaker.result import conclude
from framefleet.launcher.text import program
from tests.helpers.sagemaker_jobs import IMAGE, ROLE, keys, make_found, make_job, put
from tests.unit.launcher.sagemaker.test_cloudwatch_logs import status_line

STARTED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def description(status: str = "Completed", *, mode: Any = "coordinated", **more: Any) -> dict[str, Any]:
    """What SageMaker tells of a job of 8 instances that ran for half an hour."""
    return {
        **build_request(make_job(mode=mode)),
        "ProcessingJobStatus": status,
        "CreationTime": STARTED - timedelta(minutes=5),
        "ProcessingStartTime": STARTED,
        "ProcessingEndTime": STARTED + timedelta(minutes=30),
        "ExitMessage": "framefleet: all\nis well",
        **more,
    }


def summary(host: str = "algo-1", **changes: Any) -> bytes:
    fields: dict[str, Any] = {
        "job_id": "job-1", "mode": "coordinated", "outcome": "completed", "reason": "", "started_at": "",
        "videos": 3, "videos_done": 3, "videos_failed": 0, "frames": 77, "suspect_frames": 0, "bytes": 9000,
        "units": 5, "retries": 0, "failures": 0, "frames_lost": False, "makespan_s": 10.0, "work_s": 10.0,
        "speed": 1.0, "lower_bound_s": 10.0, "efficiency": 1.0, "notes": [], "options": {},
        "hosts": [
            HostSummary(host=host, state="left", slots=1, units=5, frames=77, busy_s=10.0, idle_share=0.0)
        ],
    }  # fmt: skip
    return msgspec.json.encode(Summary(**{**fields, **changes}))


@pytest.fixture
def aws(aws_account: None) -> Aws:
    made = open_aws(make_found())
    put(
        made.s3,
        **{"frames/.framefleet/job-1/job.json": b"keys", "frames/.framefleet/job-2/job.json": b"keys"},
    )
    put(made.s3, **{"frames/.staging/1-1/00000001.jpg": b"half", "frames/frames/a/00000000.jpg": b"x"})
    return made


def concluded(
    aws: Aws, told: dict[str, Any], capsys: pytest.CaptureFixture[str], **more: Any
) -> tuple[int, str]:
    ending = Ending(told, is_over=True, status=None)
    code = conclude(Console(width=200), aws, ending, price_per_hour=more.get("price"))
    return code, capsys.readouterr().out


def test_a_completed_job_tells_where_all_is_and_what_it_cost(
    aws: Aws, capsys: pytest.CaptureFixture[str]
) -> None:
    put(aws.s3, **{"frames/job/job-1/summary.json": summary(failures=1)})
    put(aws.s3, **{"frames/job/job-1/failures.jsonl": b'{"video":"bad.mp4","kind":"input","reason":"no"}\n'})
    code, out = concluded(aws, description(), capsys, price=0.408)
    assert code == 0
    for words in [
        "77 frames",
        "Failed: bad.mp4: no",
        "SageMaker: Completed",
        "Exit message: framefleet: all is well",
        "Frames:   s3://bucket/frames/frames",
        "Manifest: s3://bucket/frames/manifest",
        "Account:  s3://bucket/frames/job/job-1",
        f"aws s3 sync s3://bucket/frames/job/job-1 OUTPUT/job/job-1 && {program()} report OUTPUT --job job-1",
        "8 x ml.c5.2xlarge for 30:00, 4.00 instance-hours: $1.63 at $0.408 an hour, the price you gave",
    ]:
        assert words in out
    assert "--resume" not in out
    left = keys(aws.s3)
    assert "frames/.framefleet/job-1/job.json" not in left  # its keys are of no use any more
    assert "frames/.framefleet/job-2/job.json" in left
    assert "frames/.staging/1-1/00000001.jpg" not in left
    assert "frames/frames/a/00000000.jpg" in left


def test_images_that_are_packed_lie_in_shards(aws: Aws, capsys: pytest.CaptureFixture[str]) -> None:
    put(aws.s3, **{"frames/shards/job-1-algo-1-0.tar": b"x"})
    _, out = concluded(aws, description(), capsys)
    assert "Frames:   s3://bucket/frames/shards" in out


@pytest.mark.parametrize("pack", [None, PackOptions()])
def test_a_job_that_failed_can_be_gone_on_with(
    aws: Aws, capsys: pytest.CaptureFixture[str], pack: PackOptions | None
) -> None:
    spec = JobSpec(job_id="job-1", pack=pack)
    put(aws.s3, **{"frames/.framefleet/job-1/job.json": msgspec.json.encode(spec)})
    _, out = concluded(aws, description("Failed"), capsys)
    assert "the same command with --resume" in out
    assert f"s3://bucket/frames/{'frames' if pack is None else 'shards'}" in out


def test_without_a_price_there_are_hours_and_no_dollars(aws: Aws, capsys: pytest.CaptureFixture[str]) -> None:
    _, out = concluded(aws, description(), capsys)
    assert "4.00 instance-hours (--price-per-hour makes dollars of it)" in out
    assert "$" not in out


@pytest.mark.parametrize(
    ("status", "account", "code"),
    [
        ("Completed", summary(), 0),
        ("Completed", None, 0),
        ("Completed", summary(frames_lost=True), 1),
        ("Completed", b"torn", 0),
        ("Failed", summary(), 1),
        ("Failed", None, 1),
        ("Stopped", summary(outcome="interrupted"), 130),
        ("Stopped", None, 130),
    ],
)
def test_the_exit_code_is_the_jobs(
    aws: Aws, capsys: pytest.CaptureFixture[str], status: str, account: bytes | None, code: int
) -> None:
    if account is not None:
        put(aws.s3, **{"frames/job/job-1/summary.json": account})
    found, out = concluded(aws, description(status), capsys)
    assert found == code
    assert ("--resume" in out) == (status != "Completed")


def test_a_failed_job_shows_why_and_the_end_of_its_log(aws: Aws, capsys: pytest.CaptureFixture[str]) -> None:
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    aws.logs.create_log_group(logGroupName=LOG_GROUP)
    aws.logs.create_log_stream(logGroupName=LOG_GROUP, logStreamName="job-1/algo-1-5")
    texts = [status_line(), "ImportError: no cv2"]
    events = [{"timestamp": now_ms + at, "message": text} for at, text in enumerate(texts)]
    aws.logs.put_log_events(logGroupName=LOG_GROUP, logStreamName="job-1/algo-1-5", logEvents=events)
    code, out = concluded(aws, description("Failed", FailureReason="AlgorithmError: exit code 1"), capsys)
    assert code == 1
    assert "SageMaker: Failed: AlgorithmError: exit code 1" in out
    assert "| algo-1: ImportError: no cv2" in out
    assert "framefleet-status" not in out


def test_hosts_of_a_sharded_job_each_told_of_their_share(
    aws: Aws, capsys: pytest.CaptureFixture[str]
) -> None:
    for host in ("algo-1", "algo-2"):
        put(aws.s3, **{f"frames/job/job-1/{host}/summary.json": summary(host)})
        line = f'{{"video":"{host}.mp4","kind":"input","reason":"no"}}\n'.encode()
        put(aws.s3, **{f"frames/job/job-1/{host}/failures.jsonl": line})
    told = description(mode="sharded")
    told["ProcessingResources"]["ClusterConfig"]["InstanceCount"] = 2
    code, out = concluded(aws, told, capsys)
    assert code == 0
    assert "154 frames" in out
    assert "Failed: algo-2.mp4: no" in out
    told["ProcessingResources"]["ClusterConfig"]["InstanceCount"] = (
        3  # one host told nothing: frames are lost
    )
    assert concluded(aws, told, capsys)[0] == 1


def test_a_job_that_is_left_says_how_to_come_back(aws: Aws, capsys: pytest.CaptureFixture[str]) -> None:
    ending = Ending(description("InProgress"), is_over=False, status=None, interrupted=True)
    assert conclude(Console(width=200), aws, ending, price_per_hour=None) == 130
    assert f"{program()} attach job-1; to stop it: {program()} stop job-1" in capsys.readouterr().out
    assert "frames/.framefleet/job-1/job.json" in keys(aws.s3)


def test_what_was_written_is_told_though_there_is_no_summary(
    aws: Aws, capsys: pytest.CaptureFixture[str]
) -> None:
    status = msgspec.json.decode(status_line(frames_written=12), type=Status)
    conclude(Console(width=200), aws, Ending(description("Stopped"), True, status), price_per_hour=None)
    assert "The job stopped without a summary, of which 12 frames were written." in capsys.readouterr().out


def test_other_peoples_jobs_are_left_alone() -> None:
    for left_out in range(3):
        told = description()
        if left_out == 2:
            told["ProcessingOutputConfig"] = {"Outputs": []}
        else:
            told["ProcessingInputs"] = told["ProcessingInputs"][left_out:][:1]
        with pytest.raises(UserError, match="job-1 is no job of Framefleet"):
            read_description(told)


@pytest.mark.parametrize("command", ["attach", "stop"])
def test_other_peoples_jobs_are_neither_followed_nor_stopped(
    aws: Aws, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    asked: list[str] = []
    told = {**description("InProgress"), "ProcessingInputs": []}
    for verb in ("describe", "stop"):

        def answer(*_: Any, verb: str = verb, **named: Any) -> dict[str, Any]:
            asked.append(verb)
            return told

        monkeypatch.setattr(f"moto.sagemaker.models.SageMakerModelBackend.{verb}_processing_job", answer)
    put(aws.s3)
    assert call(monkeypatch, command, "job-1") == 1
    assert "job-1 is no job of Framefleet" in capsys.readouterr().err
    assert asked == ["describe"]


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["launch.py", *arguments])
    return launch.main()


def test_the_short_command_runs_a_job_to_its_end(
    aws_account: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With moto's account, in which a job is over as soon as it is created."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("FRAMEFLEET_ROLE", ROLE)
    monkeypatch.setenv("FRAMEFLEET_IMAGE", IMAGE)
    s3, ecr = boto3.client("s3"), boto3.client("ecr", region_name="us-east-1")
    ecr.create_repository(repositoryName="framefleet")
    ecr.put_image(
        repositoryName="framefleet",
        imageTag="0.1",
        imageManifest='{"schemaVersion": 2}',
        imageManifestMediaType="application/vnd.docker.distribution.manifest.v2+json",
    )
    put(s3, **{"videos/a.mp4": b"x", "frames/job/job-1/summary.json": summary()})
    command = [
        "--instances",
        "8",
        "--fps",
        "5",
        "--input",
        "s3://bucket/videos",
        "--output",
        "s3://bucket/frames",
    ]
    assert call(monkeypatch, *command, "--job-name", "job-1") == 0
    out = capsys.readouterr().out
    assert "Submitted job-1 to SageMaker Processing in us-east-1" in out
    assert "77 frames" in out
    assert call(monkeypatch, *command, "--job-name", "job-1") == 2
    assert "--job-name job-1 is taken" in capsys.readouterr().err
    assert call(monkeypatch, *command, "--job-name", "job-2", "--detach") == 0
    assert f"{program()} attach job-2" in capsys.readouterr().out
    assert keys(s3, "frames/.framefleet/") == ["frames/.framefleet/job-2/job.json"]
    assert call(monkeypatch, "attach", "job-2") == 0
    assert keys(s3, "frames/.framefleet/") == []
    assert call(monkeypatch, "stop", "job-2") == 0
    assert call(monkeypatch, "attach", "job-2") == 130
    assert call(monkeypatch, "attach", "job-3") == 1
    assert call(monkeypatch, "stop", "job-3") == 1
    assert "there is no job job-3 in us-east-1" in capsys.readouterr().err
