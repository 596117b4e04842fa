"""Clips that are made once for a test run, and which tests take long."""

from __future__ import annotations

import fcntl
import hashlib
import signal
from collections.abc import Iterator
from pathlib import Path

import av
import pytest
from hypothesis import HealthCheck, settings

from tests.helpers import clips as clips_module
from tests.helpers.clips import make_all
from tests.helpers.jobs import end_jobs

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # what a shell without job control starts in the background ignores it, and so would all that tests start
    signal.signal(signal.SIGINT, signal.default_int_handler)

# a machine that is busy with other tests takes any time for an example
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

UNIT = Path(__file__).parent / "unit"
# modules of it of more than some 6 s of CPU time, which "make check" leaves to "make test"
SLOW = {
    "common/output/test_packing", "coordinator/core/test_core_random", "coordinator/core/test_replay",
    "coordinator/simulation/test_simulation", "coordinator/simulation/test_transcript",
    "coordinator/test_catalogue", "launcher/output/test_merge_shards", "launcher/output/test_resume",
    "launcher/plan/test_plan_job", "launcher/plan/test_plan_simulated", "launcher/sagemaker/test_command",
    "launcher/sagemaker/test_follow", "launcher/sagemaker/test_input_listing",
    "launcher/sagemaker/test_result", "launcher/sagemaker/test_resume",
    "launcher/sagemaker/test_resume_shards", "launcher/sagemaker/test_sdk",
    "launcher/sagemaker/test_source_bundle", "launcher/sagemaker/test_submit",
    "launcher/targets/test_local", "launcher/test_demo", "worker/bitstream/test_droppable_exact",
    "worker/extraction/test_extract", "worker/extraction/test_extract_damaged",
    "worker/publishing/test_publisher",
}  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", 'slow: left out by "make check"')


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(UNIT) and item.path.relative_to(UNIT).with_suffix("").as_posix() in SLOW:
            item.add_marker("slow")


@pytest.fixture(autouse=True)
def no_job_is_left() -> Iterator[None]:
    """Ends the jobs that a failed test has left running, or held."""
    yield
    end_jobs()


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one clip of every kind that ``clips`` makes: by the first of the processes that run
    tests, unless an earlier run has left those of the same recipe."""
    recipe = Path(clips_module.__file__).read_bytes() + av.__version__.encode()
    folder = tmp_path_factory.getbasetemp().parent / f"clips-{hashlib.sha256(recipe).hexdigest()[:16]}"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            making = tmp_path_factory.mktemp("clips")
            make_all(making)
            making.rename(folder)
    return folder


@pytest.fixture
def aws_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """An empty account of moto's in this process; nothing reaches AWS, nor the user's own configuration."""
    from moto import mock_aws

    for name in ("AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in [
        ("AWS_ACCESS_KEY_ID", "testing"),
        ("AWS_SECRET_ACCESS_KEY", "testing"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AWS_CONFIG_FILE", str(tmp_path / "no-config")),
        ("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials")),
    ]:
        monkeypatch.setenv(name, value)
    with mock_aws():
        yield
