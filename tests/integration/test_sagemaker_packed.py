"""Packed jobs on SageMaker from the command to the shards in the bucket: moto's server, and real hosts."""

from __future__ import annotations

import gc
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import webdataset

from framefleet.launcher.demo import make_demo_set
from tests.helpers.jobs import PATIENCE_S, rows, run_job
from tests.helpers.packed_outputs import check_packed
from tests.helpers.sagemaker_jobs import IMAGE, ROLE
from tests.helpers.sagemaker_platform import Platform, run_platform

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="hosts end with the test: prctl")

ENOUGH_COMMITS = 12
COLUMNS = ("video", "sample", "pts", "time_base", "target_s", "sha256", "status")
SHORT = ["--fps", "5", "--slots-per-instance", "1", "--upload", "end"]
SHORT += ["--input", "s3://bucket/videos", "--output", "s3://bucket/out"]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_demo_set(tmp_path_factory.mktemp("sagemaker") / "demo", lengths_s=(12, 3), loop_frames=25)


@pytest.fixture(scope="module")
def local(source: Path, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, ...]]:
    """What the rows of an undisturbed job tell, with a file for each frame."""
    output = tmp_path_factory.mktemp("local") / "out"
    run_job(source, output, instances=1, slots=2)
    return told(rows(output))


@pytest.fixture
def platform(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    with run_platform(tmp_path, monkeypatch) as made:
        made.upload(source, "videos")
        (tmp_path / "framefleet.toml").write_text(f'[sagemaker]\nrole = "{ROLE}"\nimage = "{IMAGE}"\n')
        yield made


def told(some: Any) -> list[tuple[Any, ...]]:
    return sorted(tuple(row[name] for name in COLUMNS) for row in some)


def launch(platform: Platform, *arguments: str, code: int = 0) -> str:
    process = platform.launch(*arguments)
    text, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == code, text
    return text


def check_bucket(platform: Platform, local: list[tuple[Any, ...]]) -> Path:
    """Rows and shards in the bucket agree and are those of the local job; ``verify`` finds so too."""
    assert "All is well" in launch(platform, "verify", "s3://bucket/out")
    output = platform.folder / "got"
    shutil.rmtree(output, ignore_errors=True)
    platform.download("out", output)
    for part in list((output / "manifest").glob("*/*.parquet")):
        part.rename(output / "manifest" / f"{part.parent.name}-{part.name}")
    for job in [path for path in (output / "manifest").iterdir() if path.is_dir()]:
        job.rmdir()
    check_packed(output)
    assert told(rows(output)) == local
    return output


# webdataset leaves its files to the garbage collector
@pytest.mark.filterwarnings("ignore:Exception ignored in.*FileIO:pytest.PytestUnraisableExceptionWarning")
def test_shards_in_the_bucket_are_read_by_webdataset(
    platform: Platform, local: list[tuple[Any, ...]]
) -> None:
    text = launch(platform, *SHORT, "--instances", "2", "--pack", "tar", "--job-name", "job-1")
    assert "SageMaker: Completed" in text
    assert "Frames:   s3://bucket/out/shards" in text
    output = check_bucket(platform, local)
    shards = sorted(str(path) for path in (output / "shards").iterdir())
    assert len(shards) > 2
    assert all(re.fullmatch(r"job-1-algo-[12]-\d{6}\.tar", Path(shard).name) for shard in shards)
    samples = webdataset.WebDataset(shards, shardshuffle=False).decode("rgb8").to_tuple("jpg", "json")
    read = [(image.shape, about) for image, about in samples]
    del samples
    gc.collect()
    assert told(about for _, about in read) == local
    assert all(shape == (about["height"], about["width"], 3) for shape, about in read)


@pytest.mark.parametrize(("form", "ending"), [("tar", "stopped"), ("parquet", "stopped"), ("tar", "failed")])
def test_a_packed_job_that_did_not_end_well_goes_on(
    platform: Platform, local: list[tuple[Any, ...]], form: str, ending: Literal["stopped", "failed"]
) -> None:
    """With other instances; a shard that was cut and one that is missing are done again. Of a job that
    failed, one host was killed before it had packed all."""
    platform.uploads_what_was_stopped = True
    command = [*SHORT, "--pack", form]
    platform.end_early(
        [*command, "--instances", "2", "--job-name", "job-1"],
        ending,
        is_enough=lambda run: run.commits() >= ENOUGH_COMMITS,
        uploads=False,
    )
    s3 = platform.client("s3")
    found = s3.list_objects_v2(Bucket="bucket", Prefix="out/shards/")["Contents"]
    shards = [one["Key"] for one in found if one["Key"].endswith(f".{form}")]
    assert len(shards) > 2
    s3.delete_object(Bucket="bucket", Key=shards[0])
    whole = s3.get_object(Bucket="bucket", Key=shards[-1])["Body"].read()
    s3.put_object(Bucket="bucket", Key=shards[-1], Body=whole[: len(whole) // 2])
    text = launch(platform, *command, "--instances", "3", "--resume", "--job-name", "job-2")
    taken = re.search(r"Note: ([\d,]+) frames of \d+ videos are taken over", text)
    assert taken is not None, text
    assert 0 < int(taken[1]) < len(local)
    output = check_bucket(platform, local)
    left = {path.name for path in (output / "shards").iterdir()}
    kept = {Path(key).name for key in shards[1:-1]} & left
    assert kept  # shards of the job before
    assert left - kept == {name for name in left if name.startswith("job-2-")}
    assert "videos are done: nothing was submitted" in launch(
        platform, *command, "--instances", "3", "--resume"
    )
