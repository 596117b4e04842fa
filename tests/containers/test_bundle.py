"""A job without an image of its own: hosts that install themselves, in a bare image and without a network."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from framefleet.launcher.sagemaker.source_bundle import ENTRYPOINT, LOCAL_PATH, bundle_files
from framefleet.launcher.targets.docker_image import find_base
from tests.helpers.jobs import check_output, tree
from tests.helpers.platform_hosts import PlatformJob, engine

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle for the Python of the bare image."""
    folder = tmp_path_factory.mktemp("bundle")
    shown = engine("run", "--rm", "--entrypoint", "python3", find_base(), "--version")
    version = re.fullmatch(r"Python (3\.\d+)\.\d+", shown)
    assert version is not None, shown
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        for _ in bundle_files(folder, print, python=version[1]):
            pass
    return folder


def test_two_hosts_install_themselves_and_do_the_job(
    bundle: Path, source: Path, tmp_path: Path, expected: dict[str, str]
) -> None:
    names = ["algo-1", "algo-2"]
    job = PlatformJob(
        tmp_path, source, names, interface="eth0",
        image=find_base(), entrypoint=ENTRYPOINT, more_inputs={LOCAL_PATH: bundle},
    )  # fmt: skip
    with job:
        for name in names:
            job.start(name)
        ended = [job.ended(name) for name in names]
    assert [each.code for each in ended] == [0, 0], ended
    assert all("installed in" in each.log for each in ended)
    assert b"completed" in (ended[0].message or b"")
    job.upload(tmp_path / "out")
    check_output(tmp_path / "out")
    assert tree(tmp_path / "out") == expected


def test_an_image_that_will_not_do_is_told(bundle: Path, source: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    for path in bundle.iterdir():
        if path.name != "wheels":
            (tmp_path / "other" / path.name).write_bytes(path.read_bytes())
    job = PlatformJob(
        tmp_path, source, ["algo-1"], interface=None,
        image=find_base(), entrypoint=ENTRYPOINT, more_inputs={LOCAL_PATH: tmp_path / "other"},
    )  # fmt: skip
    with job:
        job.start("algo-1")
        failed = job.ended("algo-1")
    assert failed.code == 1
    assert failed.message is not None
    assert "the packages cannot be installed in this image (Python 3." in failed.message.decode()
