"""Runs of the benchmark: what they cost is told, and nothing is left of them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from benchmarks.measure import RunError, Running, fresh, run, run_at_once

CORE = max(os.sched_getaffinity(0))
BUSY = "import time\nwhile time.process_time() < 0.3: pass\nprint('{\"taken_s\": [0.5]}')"


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


def test_cpu_time_is_that_of_the_process_and_its_children() -> None:
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BUSY!r}], check=True)"
    done = run(python(child), CORE)
    assert done.cpu_s >= 0.3
    assert done.told == {"taken_s": [0.5]}


def test_it_runs_on_its_core_only() -> None:
    program = "import json, os; print(json.dumps({'cores': list(os.sched_getaffinity(0))}))"
    assert run(python(program), CORE).told == {"cores": [CORE]}


def test_what_fails_says_why() -> None:
    with pytest.raises(RunError, match=r"exit code 1: ValueError: no such frame"):
        run(python("raise ValueError('no such frame')"), CORE)


def test_closing_ends_all_that_was_started() -> None:
    program = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)"
    )
    running = Running(python(program), CORE)
    while not (pid := running.said()):
        assert running.is_running
    running.close()
    assert not running.is_running
    while is_alive(int(pid)):
        pass


def is_alive(pid: int) -> bool:
    """Whether a process exists and is no zombie (its new parent may take its time)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_several_run_at_once() -> None:
    runs, wall_s = run_at_once([python(BUSY), python(BUSY)], [CORE, CORE])
    assert [one.told for one in runs] == [{"taken_s": [0.5]}] * 2
    assert wall_s >= max(one.wall_s for one in runs) - 0.1


def test_a_fresh_folder_is_empty(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "old.jpg").touch()
    assert list(fresh(tmp_path / "images").iterdir()) == []
