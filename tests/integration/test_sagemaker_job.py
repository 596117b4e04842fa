"""Jobs on SageMaker from the command to the frames in the bucket: moto's server for AWS, and real hosts."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq
import pytest

from framefleet.launcher.demo import make_demo_set
from tests.helpers.jobs import PATIENCE_S, REPOSITORY, rows, run_job, tree, verify
from tests.helpers.sagemaker_calls import is_allowed
from tests.helpers.sagemaker_jobs import IMAGE, ROLE
from tests.helpers.sagemaker_platform import Platform, run_platform

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="hosts end with the test: prctl")

ENOUGH_COMMITS = 4
COLUMNS = ("video", "sample", "pts", "time_base", "target_s", "file", "sha256", "status")
SHORT = ["--instances", "2", "--fps", "5", "--slots-per-instance", "1"]
SHORT += ["--input", "s3://bucket/videos", "--output", "s3://bucket/out"]


@pytest.fixture(scope="module")
def source(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_demo_set(tmp_path_factory.mktemp("sagemaker") / "demo", lengths_s=(12, 3), loop_frames=25)
    (folder / "a folder").mkdir()
    shutil.copy(clips / "vp9.webm", folder / "a folder")
    (folder / "broken.mp4").write_bytes(b"no video at all" * 100)
    return folder


@pytest.fixture(scope="module")
def local(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same job's output on this machine."""
    output = tmp_path_factory.mktemp("local") / "out"
    run_job(source, output, instances=1, slots=2)
    return output


@pytest.fixture
def platform(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    with run_platform(tmp_path, monkeypatch) as made:
        made.upload(source, "videos")
        settings = f'[sagemaker]\nrole = "{ROLE}"\nimage = "{IMAGE}"\nprice_per_hour = 0.5\n'
        (tmp_path / "framefleet.toml").write_text(settings)
        yield made


def launch(platform: Platform, *arguments: str, code: int = 0) -> str:
    process = platform.launch(*arguments)
    text, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == code, text
    return text


def check_same(platform: Platform, local: Path) -> None:
    """What is in the bucket is what the local job gave: frames byte for byte, and rows."""
    output = platform.download("out", platform.folder / "got")
    assert tree(output) == tree(local)
    found = [
        row for part in (output / "manifest").rglob("*.parquet") for row in pq.read_table(part).to_pylist()
    ]

    def told(some: Any) -> list[tuple[Any, ...]]:
        return sorted(tuple(row[name] for name in COLUMNS) for row in some)

    assert told(found) == told(rows(local))


def test_a_job_from_the_command_to_the_frames(platform: Platform, local: Path) -> None:
    """Through calls that are throttled, connections that are lost, and an answer that is; with no more
    permissions than --dry-run names."""
    policies = json.loads(launch(platform, *SHORT, "--dry-run"))["policies"]
    platform.faults = {
        "sagemaker:CreateProcessingJob": ["heard"],
        "sagemaker:DescribeProcessingJob": ["", "", *["throttled", "lost"] * 3],
        "logs:FilterLogEvents": ["lost", "lost", "throttled", "throttled"],
        "s3:ListBucket": ["", "lost"],
        "s3:PutObject": ["lost"],
    }
    text = launch(platform, *SHORT, "--job-name", "job-1")
    assert platform.faults == {action: [] for action in platform.faults}  # all were met
    assert platform.run is not None
    assert platform.run.name == "job-1"
    assert "Submitted job-1 to SageMaker Processing in us-east-1" in text
    assert "Failed: broken.mp4: " in text
    assert "SageMaker: Completed" in text
    assert re.search(r"Exit message: .*frames", text)
    assert re.search(r"2 x ml.c5.2xlarge for 0:\d\d, .* at \$0.5 an hour", text)
    check_same(platform, local)
    left = {
        path.parts[0]
        for path in platform.download("out", platform.folder / "left").iterdir()
        for path in [path.relative_to(platform.folder / "left")]
    }
    assert left == {"frames", "manifest", "job"}  # neither keys nor staging
    for calls, policy in ((platform.calls, "launcher"), (platform.role_calls, "role")):
        assert calls
        assert sorted(call for call in calls if not is_allowed(call, policies[policy])) == []


def test_a_job_that_is_detached_and_attached_to_with_videos_dealt_out(
    platform: Platform, local: Path
) -> None:
    """To more instances than there are videos, one of which gets none."""
    may_run = threading.Event()
    platform.on_tick = lambda run: run.let_go() if may_run.is_set() else run.hold()
    text = launch(
        platform, *SHORT, "--instances", "5", "--mode", "sharded", "--upload", "end", "--detach",
        "--job-name", "job-1",
    )  # fmt: skip
    assert "Note: 1 of 5 instances will get no video, and are paid for all the same" in text
    assert "framefleet attach job-1" in text
    assert "job job-1 is running in --output s3://bucket/out" in launch(platform, *SHORT, code=2)
    may_run.set()
    text = launch(platform, "attach", "job-1")
    assert "SageMaker: Completed" in text
    check_same(platform, local)
    assert "holds frames" in launch(platform, *SHORT, code=2)
    assert "videos are done: nothing was submitted" not in launch(platform, *SHORT, "--resume")
    check_same(platform, local)


def test_a_packed_job_uploads_nothing_but_shards(platform: Platform, local: Path) -> None:
    text = launch(platform, *SHORT, "--pack", "tar", "--shard-mib", "1", "--upload", "end")
    assert "Frames:   s3://bucket/out/shards" in text
    output = platform.download("out", platform.folder / "got")
    assert {path.name for path in output.iterdir()} == {"shards", "manifest", "job"}
    found, expected = (
        sorted((row["video"], row["sample"], row["sha256"], row["status"]) for row in rows(folder))
        for folder in (output, local)
    )
    assert found == expected
    assert len(tree(output)) == len(expected)
    code, told = verify(output)
    assert code == 0, told
    assert platform.run is not None
    assert len({row["host"] for row in rows(output)}) == 2
    assert all(row["shard"].startswith(f"shards/{platform.run.name}-") for row in rows(output))


@pytest.mark.parametrize("ending", ["stopped", "failed"])
def test_a_job_that_did_not_end_well_goes_on(
    platform: Platform, local: Path, ending: Literal["stopped", "failed"]
) -> None:
    text = platform.end_early(
        [*SHORT, "--job-name", "job-1"],
        ending,
        is_enough=lambda run: run.commits() >= ENOUGH_COMMITS,
        uploads=True,
    )
    assert platform.run is not None
    assert platform.run.late == []
    assert f"SageMaker: {ending.capitalize()}" in text
    s3 = platform.client("s3")
    some = [one["Key"] for one in s3.list_objects_v2(Bucket="bucket", Prefix="out/frames/")["Contents"]]
    s3.delete_object(Bucket="bucket", Key=some[0])  # an upload that did not come through
    s3.put_object(Bucket="bucket", Key=some[-1], Body=b"half")
    assert "--resume: the frames in s3://bucket/out were made with --fps 5, and now it is 3" in launch(
        platform, *SHORT, "--fps", "3", "--resume", code=2
    )
    text = launch(platform, *SHORT, "--resume", "--job-name", "job-2")
    taken = re.search(r"Note: ([\d,]+) frames of \d+ videos are taken over", text)
    assert taken is not None, text
    assert int(taken[1]) > 0
    check_same(platform, local)


@pytest.mark.parametrize("command", ["--help", "run"])
def test_neither_help_nor_a_local_job_loads_what_aws_needs(clips: Path, tmp_path: Path, command: str) -> None:
    """In no process of it: whoever imports one of these packages leaves a trace."""
    traps, traces = tmp_path / "traps", tmp_path / "traces"
    traps.mkdir()
    for name in ("boto3", "botocore", "sagemaker", "moto"):
        (traps / f"{name}.py").write_text(f"open({str(traces)!r}, 'a').write({name!r})\nraise ImportError")
    (tmp_path / "in").mkdir()
    shutil.copy(clips / "vp9.webm", tmp_path / "in")
    arguments = ["--input", str(tmp_path / "in"), "--output", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "launch.py", *(arguments if command == "run" else [command])],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(traps)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert not traces.exists(), traces.read_text()
    assert command == "--help" or tree(tmp_path / "out"), done.stdout
