"""What all tests on containers need: an engine that answers, the image of the hosts, and some videos."""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path

import pytest

from framefleet.common.errors import UserError
from framefleet.launcher.demo import make_demo_set
from framefleet.launcher.targets.docker_engine import Engine, find_engine
from framefleet.launcher.targets.docker_image import ensure_image
from tests.helpers.jobs import run_job, tree


@pytest.fixture(scope="session", autouse=True)
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """The engine; without one, all of these tests are skipped. The image is built by one process, once."""
    try:
        found = find_engine()
    except UserError as error:
        pytest.skip(f"containers cannot be tried here: {error}")
    with (tmp_path_factory.getbasetemp().parent / "image.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ensure_image()
    return found


@pytest.fixture(scope="session")
def source(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More than four held hosts can have begun."""
    folder = make_demo_set(tmp_path_factory.mktemp("containers") / "demo", lengths_s=(4, 2), loop_frames=25)
    shutil.copy(clips / "hevc-open-mp4.mp4", folder)
    return folder


@pytest.fixture(scope="session")
def expected(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The tree that the local target makes."""
    output = tmp_path_factory.mktemp("expected") / "out"
    run_job(source, output, instances=2, fps="native")
    return tree(output)
