"""Whole files, and what the platform is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from framefleet.common.files.durable import EXIT_MESSAGE_BYTES, write_exit_message, write_whole


def test_a_message_is_cut_to_a_kilobyte_between_characters(tmp_path: Path) -> None:
    path = tmp_path / "output" / "message"
    write_exit_message(path, "x" + "é" * EXIT_MESSAGE_BYTES)
    data = path.read_bytes()
    assert len(data) == EXIT_MESSAGE_BYTES - 1
    assert data.decode() == "x" + "é" * ((EXIT_MESSAGE_BYTES - 2) // 2)


def test_a_message_of_a_name_that_is_not_text_is_text(tmp_path: Path) -> None:
    write_exit_message(tmp_path / "message", "cannot read \udcff")
    assert (tmp_path / "message").read_text(encoding="utf-8") == "cannot read ?"


def test_a_message_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "output").write_text("a file where a folder should be")
    write_exit_message(tmp_path / "output" / "message", "text")


def test_what_is_not_written_whole_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")

    def fail(*_: object) -> None:
        raise OSError("full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="full"):
        write_whole(path, b"new")
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"old"
