"""The examples, run as they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from framefleet.common.output.shard_fields import PackOptions
from framefleet.launcher.demo import make_demo_set
from tests.helpers.awkward_videos import make_awkward_videos
from tests.helpers.jobs import REPOSITORY, rows, run_job
from tests.helpers.sagemaker_calls import REGION
from tests.helpers.sagemaker_jobs import IMAGE, ROLE
from tests.helpers.sagemaker_platform import run_platform

EXAMPLES = REPOSITORY / "examples"
PATIENCE_S = 200


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job's output: 25 frames of two videos."""
    folder = tmp_path_factory.mktemp("examples")
    run_job(make_demo_set(folder / "demo", lengths_s=(3, 2)), folder / "out", instances=1)
    return folder / "out"


def run(name: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *map(str, arguments)],
        cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=PATIENCE_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_queries_of_the_manifest(output: Path) -> None:
    text = run("query_manifest.py", output)
    assert "bunny-002s.mkv" in text
    assert "frames/bunny-002s/00000007.jpg" in text  # 1.4 s


def test_frames_as_a_torch_dataset(output: Path) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed: no CPU build of it is to be had here")
    text = run("torch_dataset.py", output)
    assert "25 frames" in text
    assert "4 [(3, 720, 1280)] torch.uint8 bunny-002s.mkv [0, 1, 2, 3]" in text
    assert "1 [(3, 720, 1280)]" in text


@pytest.mark.parametrize("pack", [None, PackOptions(format="tar"), PackOptions(format="parquet")])
def test_torch_dataset_of_shards_and_of_images_that_differ_in_size(
    clips: Path, tmp_path: Path, pack: PackOptions | None
) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed: no CPU build of it is to be had here")
    source = make_awkward_videos(clips, tmp_path / "videos")
    run_job(source, tmp_path / "out", instances=1, fps="2", pack=pack)
    good = [row for row in rows(tmp_path / "out") if row["status"] == "ok"]
    text = run("torch_dataset.py", tmp_path / "out")
    assert f"{len(good)} frames" in text
    for row in good:
        assert f"(3, {row['height']}, {row['width']})" in text


def test_a_labelling_job_of_the_exported_frames(output: Path) -> None:
    from botocore.session import get_session
    from botocore.validate import ParamValidator

    uri = "s3://bucket/frames"
    exported = subprocess.run(
        [sys.executable, "launch.py", "export", str(output), "--format", "ground-truth", "--s3-uri", uri],
        cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=PATIENCE_S,
    )  # fmt: skip
    assert exported.returncode == 0, exported.stderr
    assert (output / "export" / "ground-truth" / "0001.manifest").is_file()
    told = run(
        "labelling_job.py", "--dry-run", "--name", "people", "--labels", "s3://bucket/labels.json",
        "--manifest", f"{uri}/export/ground-truth/0001.manifest", "--output", "s3://bucket/labelled",
        "--role", ROLE, "--workteam", "arn:aws:sagemaker:us-east-1:123456789012:workteam/private-crowd/me",
    )  # fmt: skip
    shape = get_session().get_service_model("sagemaker").operation_model("CreateLabelingJob").input_shape
    report = ParamValidator().validate(json.loads(told), shape)
    assert not report.has_errors(), report.generate_report()


@pytest.mark.filterwarnings("ignore")  # of the notebook's own machinery
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="hosts end with the test: prctl")
def test_the_notebook_gets_frames_from_s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat
    from nbclient import NotebookClient

    notebook: Any = nbformat.reads((EXAMPLES / "sagemaker.ipynb").read_text(), as_version=4)  # type: ignore[no-untyped-call]
    with run_platform(tmp_path, monkeypatch) as platform:
        platform.upload(make_demo_set(tmp_path / "demo", lengths_s=(3, 2)), "videos")
        settings = f'[sagemaker]\nrole = "{ROLE}"\nimage = "{IMAGE}"\n'
        (tmp_path / "framefleet.toml").write_text(settings)
        for name in [name for name in os.environ if name.startswith(("AWS_", "FRAMEFLEET_"))]:
            monkeypatch.delenv(name)
        for name, value in {
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": platform.url,
            "AWS_CONFIG_FILE": str(tmp_path / "no-config"),
            "AWS_EC2_METADATA_DISABLED": "true",
            "EXAMPLE_SOURCE": "s3://bucket/videos",
            "EXAMPLE_DESTINATION": "s3://bucket/out",
            "EXAMPLE_POLL_S": "0.2",
            "PYTHONPATH": str(REPOSITORY),
            "IPYTHONDIR": str(tmp_path / "ipython"),
            "JUPYTER_RUNTIME_DIR": str(tmp_path / "jupyter"),
        }.items():
            monkeypatch.setenv(name, value)
        client = NotebookClient(notebook, timeout=200, resources={"metadata": {"path": str(tmp_path)}})
        client.execute()
        output = platform.download("out", tmp_path / "got")
    text = "".join(
        str(told.get("text", "")) + str(told.get("data", {}).get("text/plain", ""))
        for cell in notebook.cells
        for told in cell.get("outputs", [])
    )
    assert "25 frames" in text
    assert "'Completed'" in text
    assert "(720, 1280, 3)" in text
    frames = sorted((output / "frames").rglob("*.jpg"))
    assert len(frames) == 25
