"""A host of the local target, as its launcher sees it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from targets.hosts import LocalHost


def test_one_that_ends_while_it_is_told_to_leave_tells_its_exit_code(tmp_path: Path) -> None:
    host = LocalHost(name="algo-1", root=tmp_path)
    host.start([sys.executable, "-c", "raise SystemExit(3)"])
    assert host._process is not None
    os.waitid(os.P_PID, host._process.pid, os.WEXITED | os.WNOWAIT)  # ended, and nobody has looked
    host.terminate()
    host.poll()
    assert host.returncode == 3
    host.terminate()
    host.kill()
    host.close()
