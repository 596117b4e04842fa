from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.client import BaseClient
from botocore.exceptions import HTTPClientError

from framefleet.launcher.aws.clients import NoAccessError
from framefleet.launcher.cli import main as launch
from framefleet.launcher.sagemaker.submit import UncertainError
from tests.helpers.sagemaker_jobs import IMAGE, ROLE, keys, put

SHORT = ["--instances", "8", "--fps", "5", "--input", "s3://bucket/videos", "--output", "s3://bucket/frames"]


@pytest.fixture
def s3(aws_account: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    client = boto3.client("s3")
    put(client, **{"videos/a.mp4": b"x"})
    return client


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["launch.py", *arguments])
    return launch.main()


def settle(folder: Path) -> None:
    (folder / "framefleet.toml").write_text(f'[sagemaker]\nrole = "{ROLE}"\nimage = "{IMAGE}"\n')


def test_a_dry_run_prints_the_request_and_the_policies_and_does_nothing(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settle(tmp_path)
    assert call(monkeypatch, *SHORT, "--dry-run", "--job-name", "job-1") == 0
    told = json.loads(capsys.readouterr().out)
    request = told["CreateProcessingJob"]
    assert request["ProcessingJobName"] == "job-1"
    assert request["RoleArn"] == ROLE
    assert request["ProcessingResources"]["ClusterConfig"]["InstanceCount"] == 8
    assert set(told["policies"]) == {"launcher", "role", "trust"}
    assert keys(s3) == ["videos/a.mp4"]
    assert (
        boto3.client("sagemaker", region_name="us-east-1").list_processing_jobs()["ProcessingJobSummaries"]
        == []
    )


def test_a_dry_run_needs_neither_credentials_nor_region(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settle(tmp_path)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.delenv(name)
    assert call(monkeypatch, *SHORT, "--dry-run") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["CreateProcessingJob"]["AppSpecification"] == {"ImageUri": IMAGE}
    assert "us-east-1:123456789012:log-group" in out
    assert "no AWS region is set" in err
    assert "a volume of 30 GB is assumed" in err
    assert call(monkeypatch, *SHORT, "--dry-run", "--region", "us-east-1") == 0
    assert "no AWS credentials were found" in capsys.readouterr().err


@pytest.mark.parametrize("trouble", ["unreachable", "denied", "configuration"])
def test_a_dry_run_without_an_image_knows_the_region_though_aws_cannot_be_asked(
    s3: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    trouble: str,
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    if trouble == "configuration":
        (tmp_path / "no-config").write_text("[default")
    else:

        def refuse(*_: Any) -> None:
            raise NoAccessError(trouble)

        monkeypatch.setattr("framefleet.launcher.sagemaker.prepare.check_buckets", refuse)
    assert call(monkeypatch, *SHORT, "--dry-run", "--image", "none", "--role", ROLE) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert ".dkr.ecr.eu-west-1.amazonaws.com/" in told["CreateProcessingJob"]["AppSpecification"]["ImageUri"]
    assert "arn:aws:logs:eu-west-1:" in out
    assert trouble in err


def test_a_dry_run_refuses_what_aws_would(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settle(tmp_path)
    assert call(monkeypatch, *SHORT, "--dry-run", "--instance-type", "ml.c5.huge") == 2
    assert "--instance-type: 'ml.c5.huge' is none of the values" in capsys.readouterr().err


def test_a_job_that_may_have_been_submitted_has_an_exit_code_of_its_own(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lose(*_: Any) -> None:
        raise UncertainError("the connection was lost: launch.py attach job-1 tells")

    settle(tmp_path)
    monkeypatch.setattr("framefleet.launcher.sagemaker.submit._create", lose)
    monkeypatch.setattr("framefleet.launcher.sagemaker.command.check_taken", lambda *_: None)
    assert call(monkeypatch, *SHORT, "--job-name", "job-1") == 3
    assert "launch.py attach job-1 tells" in capsys.readouterr().err
    assert keys(s3, "frames/") == ["frames/.framefleet/job-1/job.json"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--role is missing"),
        (["--role", ROLE, "--input", "s3://bucket/none"], "--image is missing"),
        (["--role", ROLE, "--image", IMAGE, "--input", "s3://bucket/none"], "holds no files"),
        (["--role", ROLE, "--image", IMAGE, "--output", "out"], "--output out is no folder in S3"),
        (["--tag", "x"], "--tag 'x' is not KEY=VALUE"),
        (["--target", "local"], "--target local works on folders of this machine"),
        (["--memory", "500"], "limits of containers"),
        (["--every", "3"], "--fps"),
        (["--metrics-port", "9400"], "tells CloudWatch its metrics"),
    ],
)
def test_mistakes_are_told_in_a_sentence_before_anything_is_started(
    s3: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    assert call(monkeypatch, *SHORT, *arguments) == 2
    assert words in capsys.readouterr().err
    assert keys(s3) == ["videos/a.mp4"]


def test_options_of_sagemaker_are_for_sagemaker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for option in ("--role", "--subnet", "--job-name"):
        assert call(monkeypatch, "--input", str(tmp_path), option, "x") == 2
        assert f"{option} is for --target sagemaker" in capsys.readouterr().err


def test_an_endpoint_that_is_none_is_told_in_a_sentence(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settle(tmp_path)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "minio:9000")
    assert call(monkeypatch, *SHORT) == 2
    assert "the configuration of AWS will not do (Invalid endpoint: minio:9000)" in capsys.readouterr().err


def test_a_connection_that_fails_is_told_in_a_sentence(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(self: Any, operation: str, _: Any) -> None:
        raise HTTPClientError(error=ValueError("Invalid header value b'abc\\n'"))  # its response is None

    settle(tmp_path)
    monkeypatch.setattr(BaseClient, "_make_api_call", fail)
    assert call(monkeypatch, *SHORT) == 2
    assert "AWS cannot be reached" in capsys.readouterr().err


def test_a_program_that_prints_no_credentials_is_told_in_a_sentence(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settle(tmp_path)
    (tmp_path / "aws").write_text("[default]\ncredential_process = /bin/echo hello\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws"))
    assert call(monkeypatch, *SHORT) == 2
    assert "the configuration of AWS will not do" in capsys.readouterr().err


def test_archived_videos_are_named_before_anything_is_started(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settle(tmp_path)
    for name, kind in (("old.mp4", "DEEP_ARCHIVE"), ("older.mp4", "GLACIER"), ("cool.mp4", "GLACIER_IR")):
        s3.put_object(Bucket="bucket", Key=f"videos/{name}", Body=b"x", StorageClass=kind)
    assert call(monkeypatch, *SHORT, "--dry-run") == 2
    told = capsys.readouterr().err
    assert "2 of 4 objects are archived" in told
    assert "old.mp4 (DEEP_ARCHIVE), older.mp4 (GLACIER): restore them first" in told
    assert call(monkeypatch, "plan", "--input", "s3://bucket/videos", "--region", "us-east-1") == 2
    assert "2 of 4 objects are archived" in capsys.readouterr().err


def test_keys_that_would_be_too_long_are_told_before_anything_is_started(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settle(tmp_path)
    put(s3, **{"videos/" + "/".join(["v" * 250] * 3) + "/a.mp4": b"x"})
    output = "s3://bucket/" + "/".join(["o" * 100] * 3)
    assert call(monkeypatch, *SHORT[:-1], output, "--dry-run") == 2
    told = capsys.readouterr().err
    assert "and S3 takes 1,024: choose a shorter --output" in told
    assert call(monkeypatch, *SHORT[:-1], output, "--dry-run", "--pack", "tar", "--upload", "end") == 0
