from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from framefleet.common.errors import UserError
from framefleet.common.files import temporary


@pytest.fixture(autouse=True)
def own_tempdir(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)


def test_a_short_folder_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", None)
        temporary.use_short_folder()
        assert tempfile.gettempdir() == folder


def test_a_long_one_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / ("y" * temporary.MAX_FOLDER_BYTES)
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    temporary.use_short_folder()
    assert tempfile.gettempdir() == "/tmp"


def test_none_at_all_is_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setenv("TMPDIR", "/nowhere")
    monkeypatch.setattr(tempfile, "gettempdir", none)
    monkeypatch.setattr(temporary, "SHORT", ("/nowhere/else",))
    with pytest.raises(UserError, match=r"TMPDIR is '/nowhere': set it to a folder .* mount one at /tmp"):
        temporary.use_short_folder()
