"""Clips that are made once for a test run."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clips import make_all
from tests.jobs import end_jobs

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # what a shell without job control starts in the background ignores it, and so would all that tests start
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def no_job_is_left() -> Iterator[None]:
    """Ends the jobs that a failed test has left running, or held."""
    yield
    end_jobs()


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one clip of every kind that ``tests.clips`` makes."""
    folder = tmp_path_factory.mktemp("clips")
    make_all(folder)
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
