from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import NoReturn

import pytest

from framefleet.launcher.read_account import read_failures, read_summary
from framefleet.launcher.targets.local_host import LocalHost


def test_an_account_that_the_disk_does_not_give_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = LocalHost(name="algo-1", root=tmp_path)
    for path in (tmp_path / "summary.json", tmp_path / "failures.jsonl", host.log):
        path.write_text("{}\n")

    def refuse(*arguments: object, **options: object) -> NoReturn:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("framefleet.common.files.beneath.os.open", refuse)
    monkeypatch.setattr("pathlib.Path.open", refuse)
    assert read_summary(tmp_path / "summary.json") is None
    assert read_failures(tmp_path / "failures.jsonl") == []
    assert host.log_tail() == []
