"""A host of the local target, as its launcher sees it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from framefleet.common.job.spec import JobSpec
from framefleet.launcher.targets.local_host import LocalHost


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


LOOK = """
import os, sys
from framefleet.common.host.layout import Layout
sys.exit(str(Layout.from_environment().videos) != sys.argv[1] or "FRAMEFLEET_SHARED" in os.environ)
"""


def test_its_tree_needs_no_links_and_is_of_no_other_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*paths: object, **options: object) -> None:
        raise PermissionError(1, "Operation not permitted")  # as exFAT and CIFS do

    monkeypatch.setattr(os, "symlink", refuse)
    monkeypatch.setenv("FRAMEFLEET_SHARED", "/of/another/job")
    videos = tmp_path / "videos"
    host = LocalHost(name="algo-1", root=tmp_path / "algo-1")
    host.prepare(hosts=["algo-1"], videos=videos, spec=JobSpec(job_id="job"))
    host.start([sys.executable, "-c", LOOK, str(videos)])
    while host.running:
        host.poll()
    host.close()
    assert host.returncode == 0
