"""JSON that is nested without end, as no job writes it, is damage like any other."""

from __future__ import annotations

from pathlib import Path

import pytest

from framefleet.common.errors import UserError
from framefleet.common.job.spec import read_spec
from framefleet.common.status import STATUS_PREFIX, decode_status
from framefleet.coordinator.journal import read_journal
from framefleet.launcher.read_account import read_failures, read_summary
from framefleet.launcher.verify.job_account import read_account

MEMBER = '"x": ' + "[" * 100_000 + "]" * 100_000 + "}"
NESTED = '{"member": 1, ' + MEMBER


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "job").mkdir()
    path = tmp_path / "job" / "summary.json"
    path.write_text(f"{NESTED}\n")
    return path


def test_accounts(path: Path) -> None:
    assert read_summary(path) is None
    assert read_failures(path) == []
    with pytest.raises(UserError, match=r"job/summary.json: cannot be read"):
        read_account(path.parents[1], ["job/summary.json"])


def test_a_specification(path: Path) -> None:
    with pytest.raises(UserError, match="is not valid"):
        read_spec(path)


def test_a_journal(path: Path) -> None:
    with path.open("a") as journal:
        journal.write('{"event": "end"}\n')
    with pytest.raises(UserError, match="journal"):
        list(read_journal(path))


def test_a_status_line() -> None:
    assert decode_status(f"{STATUS_PREFIX}{MEMBER}") is None
