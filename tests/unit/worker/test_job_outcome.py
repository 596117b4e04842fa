"""How a job ended, read from the primary's account."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from framefleet.common.protocol.messages import End
from framefleet.coordinator.journal import Journal
from framefleet.worker.job_outcome import Account
from tests.unit.launcher.console.test_summary import summary


@pytest.mark.parametrize(
    ("outcome", "reason", "end"),
    [
        ("completed", "", End(failed=None)),
        ("failed", "no space", End(failed="no space")),
        ("interrupted", "", End(failed="interrupted")),
    ],
)
def test_the_end_is_told_as_the_coordinator_would(
    tmp_path: Path, outcome: str, reason: str, end: End
) -> None:
    done = summary(outcome=outcome, reason=reason)
    account = Account(tmp_path, done.job_id)
    (tmp_path / "summary.json").write_bytes(msgspec.json.encode(done))
    assert account.end() == end
    assert Account(tmp_path, "another job").end() is None


def test_a_run_that_was_stopped_before_this_one_is_no_end(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    path.write_bytes(msgspec.json.encode(summary(outcome="interrupted")))
    account = Account(tmp_path, "job")
    assert account.end() is None
    path.unlink()
    assert account.end() is None
    path.write_bytes(msgspec.json.encode(summary(outcome="interrupted")))
    os.utime(path, ns=(0, 0))  # another file, also where inodes and clocks repeat
    assert account.end() == End(failed="interrupted")


def test_without_a_whole_account_nothing_has_ended(tmp_path: Path) -> None:
    assert Account(tmp_path / "none", "j").end() is None
    assert Account(tmp_path, "j").end() is None
    (tmp_path / "summary.json").write_bytes(b"{")
    assert Account(tmp_path, "j").end() is None


def test_a_journal_that_is_touched_shows_that_the_coordinator_lives(tmp_path: Path) -> None:
    account, path = Account(tmp_path, "j"), tmp_path / "journal.jsonl"
    assert not account.has_moved()
    with Journal(path) as journal:
        assert [account.has_moved(), account.has_moved()] == [False, False]
        journal.append({"event": "start"})
        assert [account.has_moved(), account.has_moved()] == [True, False]
        os.utime(path, ns=(1, 1))
        assert account.has_moved()
        journal.beat()
        assert [account.has_moved(), account.has_moved()] == [True, False]
