"""Clips that are made once for a test run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clips import make_all


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one clip of every kind that ``tests.clips`` makes."""
    folder = tmp_path_factory.mktemp("clips")
    make_all(folder)
    return folder
