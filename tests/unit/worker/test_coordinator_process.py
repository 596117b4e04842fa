"""A coordinator is started again when it dies, not when it ends, and not for ever."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from framefleet.common.errors import EXIT_CRASHED
from framefleet.worker.coordinator_process import MAX_RESTARTS, CoordinatorProcess

# it notes that it was there, commits something if it is to, and ends as it is told
PROGRAM = """
import os, sys
journal, starts, commits, endings = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4].split()
with open(starts, "a") as file:
    file.write("x")
number = os.path.getsize(starts)
if number <= commits:
    with open(journal, "a") as file:
        file.write('{"t_s":1,"event":"committed","unit":1}\\n')
ending = endings[min(number, len(endings)) - 1]
if ending == "kill":
    os.kill(os.getpid(), 9)
if ending == "wait":
    import signal
    signal.pause()
sys.exit(int(ending))
"""


class Bench:
    def __init__(self, folder: Path, endings: str, *, commits: int = 0) -> None:
        self.starts = folder / "starts"
        journal = folder / "journal.jsonl"
        arguments = [str(journal), str(self.starts), str(commits), endings]
        self.supervisor = CoordinatorProcess([sys.executable, "-S", "-c", PROGRAM, *arguments], journal)

    def end(self) -> tuple[int, str | None]:
        return self.supervisor.end(60.0, is_stopping=lambda: False)

    @property
    def started(self) -> int:
        return self.starts.stat().st_size


@pytest.mark.parametrize("code", [0, 1, 2, 130])
def test_one_that_ends_by_itself_is_over(tmp_path: Path, code: int) -> None:
    bench = Bench(tmp_path, str(code))
    assert bench.end() == (code, None)
    assert bench.supervisor.look() == f"the coordinator ended with exit code {code}"
    assert bench.started == 1


@pytest.mark.parametrize("ending", ["kill", str(EXIT_CRASHED)])
def test_one_that_dies_is_started_again(
    tmp_path: Path, ending: str, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(tmp_path, f"{ending} {ending} 0")
    assert bench.end() == (0, None)
    assert bench.started == 3
    assert caplog.text.count("is started again") == 2


def test_a_crash_loop_ends_with_a_reason(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "kill")
    code, why = bench.end()
    assert code == -signal.SIGKILL
    assert why is not None
    assert f"was killed by SIGKILL, as it did {MAX_RESTARTS} times before" in why
    assert bench.supervisor.look() == why
    assert bench.started == 1 + MAX_RESTARTS


def test_one_that_gets_further_may_die_more_often(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "kill", commits=5)
    bench.end()
    assert bench.started == 5 + MAX_RESTARTS


def test_one_that_is_to_stop_is_not_started_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "wait")
    assert bench.supervisor.look() is None
    code, why = bench.supervisor.end(60.0, is_stopping=lambda: True)
    assert (code, why) == (-signal.SIGTERM, None)


def test_one_that_does_not_end_is_killed(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "wait")
    pid = bench.supervisor.pid
    assert bench.supervisor.end(0.0, is_stopping=lambda: False) == (-signal.SIGKILL, None)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
