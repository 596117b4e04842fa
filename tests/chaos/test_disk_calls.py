"""A few of what the campaigns ``lost_writes``, ``nth_call`` and ``damage`` try in full."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.campaigns.disk_calls import compiler
from tests.helpers.jobs import REPOSITORY

pytestmark = [
    pytest.mark.skipif(compiler() is None, reason="calls are watched by a library in C, on Linux"),
    pytest.mark.timeout(1200),  # minutes, on a machine that is busy with other tests
]


def campaign(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=REPOSITORY, capture_output=True, text=True, timeout=1100
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "options", [["--disks", "16"], ["--disks", "8", "--again", "--pack", "tar"]], ids=["frames", "shards"]
)
def test_what_a_kill_or_a_power_cut_leaves_is_gone_on_with(options: list[str]) -> None:
    campaign("tests.campaigns.lost_writes", "--seed", "1", "--jobs", "1", *options)


@pytest.mark.parametrize(
    "options",
    [
        ["--part", "end", "--part", "resume", "--runs", "16"],
        ["--part", "resume", "--runs", "10", "--pack", "parquet"],
        ["--part", "coordinator", "--runs", "1"],
    ],
    ids=["frames", "shards", "coordinator"],
)
def test_a_call_that_fails_loses_nothing(options: list[str]) -> None:
    campaign("tests.campaigns.nth_call", "--seed", "1", *options)


def test_damage_is_no_loss_and_no_traceback() -> None:
    campaign("tests.campaigns.damage", "--seed", "1", "--runs", "6", "--jobs", "1")
