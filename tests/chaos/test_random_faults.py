"""A short series of jobs under random faults; ``python -m tests.campaigns.monkey`` makes longer ones."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.campaigns.monkey import Undisturbed

SEEDS = range(1000, 1003)

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="processes of a host are found in /proc"
)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return Undisturbed(tmp_path_factory.mktemp("monkey"))


@pytest.mark.parametrize("seed", SEEDS)
def test_faults_change_nothing(undisturbed: Undisturbed, tmp_path: Path, seed: int) -> None:
    undisturbed.disturbed(tmp_path / "out", seed)
