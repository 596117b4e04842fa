"""``--image none``: AWS's own image, and what the job is given to install in it."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from framefleet.common.errors import UserError
from framefleet.launcher.aws.clients import Aws, open_aws
from framefleet.launcher.sagemaker import source_bundle as bundle
from framefleet.launcher.sagemaker.iam_policies import policies
from framefleet.launcher.sagemaker.prebuilt_image import ACCOUNTS, TAG, image_uri
from framefleet.launcher.sagemaker.prepare import draft
from framefleet.launcher.sagemaker.submit import submit
from tests.helpers.sagemaker_jobs import OUTPUT, keys, make_found, make_sagemaker_request, put

WHEELS = {"a-1-py3-none-any.whl": b"a wheel", "b-2-py3-none-any.whl": b"another"}


@pytest.fixture
def aws(aws_account: None) -> Aws:
    made = open_aws(make_found())
    put(made.s3, **{"videos/a.mp4": b"x" * 1000})
    return made


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip that fetches nothing."""
    for name, data in WHEELS.items():
        (tmp_path / "fetched").mkdir(exist_ok=True)
        (tmp_path / "fetched" / name).write_bytes(data)
    monkeypatch.setattr(bundle, "fetch_wheels", lambda python, say: tmp_path / "fetched")


@pytest.mark.filterwarnings("ignore")  # the SDK's own
def test_the_image_is_what_the_sdk_names_in_every_region() -> None:
    from sagemaker.core import image_uris

    version = TAG.removesuffix("-cpu-py3")
    for region in ACCOUNTS:
        named = image_uris.retrieve("sklearn", region, version=version, instance_type="ml.c5.xlarge")
        assert image_uri(region) == named


def test_a_region_without_an_image_is_told() -> None:
    with pytest.raises(UserError, match="is known in mars-1; push yours"):
        image_uri("mars-1")
    with pytest.raises(UserError, match="--region"):
        image_uri(None)


@pytest.mark.usefixtures("fetched")
def test_the_request_names_the_image_the_entry_point_and_the_bundle(aws: Aws) -> None:
    request = make_sagemaker_request(found=make_found(image="none"), job_name="job-1")
    made = draft(request, aws)
    assert made.request["AppSpecification"] == {
        "ImageUri": image_uri("us-east-1"),
        "ContainerEntrypoint": ["python3", "/opt/ml/processing/input/framefleet/source_bundle_entrypoint.py"],
    }
    (given,) = [each for each in made.request["ProcessingInputs"] if each["InputName"] == "framefleet"]
    folder = bundle.bundle_folder(OUTPUT)
    assert given["S3Input"]["S3Uri"] == folder.uri
    assert given["S3Input"]["S3DataDistributionType"] == "FullyReplicated"
    told: list[str] = []
    submit(aws, request, made, say=told.append)
    found = [key.removeprefix(folder.prefix) for key in keys(aws.s3, folder.prefix)]
    names = {
        "requirements.txt",
        "source.zip",
        "source_bundle_entrypoint.py",
        *(f"wheels/{name}" for name in WHEELS),
    }
    assert set(found) == names
    assert len(told) == len(names)
    again = make_sagemaker_request(found=make_found(image="none"), job_name="job-2")
    submit(aws, again, draft(again, aws), say=told.append)
    assert len(told) == len(names)  # it is there


@pytest.mark.usefixtures("fetched")
def test_the_role_may_read_the_bundle(aws: Aws) -> None:
    made = draft(make_sagemaker_request(found=make_found(image="none")), aws)
    role: list[dict[str, Any]] = policies(made.job, "us-east-1")["role"]["Statement"]
    (reading,) = [each for each in role if each["Action"] == ["s3:GetObject"]]
    assert any(".framefleet-bundles/" in resource for resource in reading["Resource"])


def test_the_source_is_whole_and_always_the_same() -> None:
    data = bundle.source_archive()
    assert data == bundle.source_archive()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = set(archive.namelist())
    assert {
        "framefleet/worker/__main__.py",
        "framefleet/coordinator/__main__.py",
        "framefleet/common/job/spec.py",
    } <= names
    assert not [name for name in names if "launcher" in name], "what no host runs"


def test_wheels_that_cannot_be_fetched_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def refuse(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "noise\nERROR: no such package\n")

    monkeypatch.setattr(subprocess, "run", refuse)
    with pytest.raises(UserError, match="cannot be fetched: ERROR: no such package"):
        bundle.fetch_wheels("3.12", lambda text: None)
    assert list((tmp_path / "framefleet").iterdir()) == []


def test_an_image_with_an_old_python_is_told(tmp_path: Path) -> None:
    code = (
        "import runpy, sys; sys.version_info = (3, 8, 1); sys.version = '3.8.1 (x)'; "
        f"runpy.run_path({str(Path(bundle.__file__).with_name(bundle.START))!r}, run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"FRAMEFLEET_ROOT": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "this image has Python 3.8.1, and 3.11 is needed" in done.stderr
    assert "Python 3.8.1" in (tmp_path / "output" / "message").read_text()
