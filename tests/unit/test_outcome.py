"""How a job ended, read from the primary's account."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from common.messages import End
from tests.unit.test_summary import summary
from worker.outcome import read_end


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
    (tmp_path / "summary.json").write_bytes(msgspec.json.encode(done))
    assert read_end(tmp_path, done.job_id) == end
    assert read_end(tmp_path, "another job") is None


def test_without_a_whole_account_nothing_has_ended(tmp_path: Path) -> None:
    assert read_end(tmp_path / "none", "j") is None
    assert read_end(tmp_path, "j") is None
    (tmp_path / "summary.json").write_bytes(b"{")
    assert read_end(tmp_path, "j") is None
