"""The number of slots follows what a container may use, not what its machine has."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from framefleet.common.host.cores import usable_cores

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="control groups are Linux's")

V2, V1 = "0::/\n", "5:memory:/docker/1\n4:cpu,cpuacct:/docker/1\n0::/docker/1\n"


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        (V2, {"cpu.max": "25000 100000\n"}, 1),
        (V2, {"cpu.max": "150000 100000\n"}, 2),
        (V2, {"cpu.max": "200000 100000\n"}, 2),
        (V2, {"cpu.max": "max 100000\n"}, 64),
        (V2, {"cpu.max": "9900000 100000\n"}, 64),
        ("0::/a/b\n", {"a/cpu.max": "300000 100000\n", "a/b/cpu.max": "max 100000\n"}, 3),
        (V1, {"cpu/cpu.cfs_quota_us": "25000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        (V1, {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 64),
        (V1, {"cpu/docker/1/cpu.cfs_quota_us": "70000\n", "cpu/docker/1/cpu.cfs_period_us": "20000\n"}, 4),
        (V1, {"cpu/cpu.cfs_quota_us": "25000\n"}, 64),
        (V2, {"cpu.max": "nonsense\n"}, 64),
        (V2, {"cpu.max": "1 0\n"}, 64),
        ("1:pids:/\n", {}, 64),
    ],
)
def test_a_container_has_the_cores_that_its_control_group_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str, files: dict[str, str], expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)))
    (tmp_path / "own").write_text(own)
    for name, text in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert usable_cores(tmp_path / "cgroup", tmp_path / "own") == expected


def test_without_control_groups_it_is_what_the_scheduler_allows(tmp_path: Path) -> None:
    assert usable_cores(tmp_path, tmp_path / "none") == len(os.sched_getaffinity(0))
