"""Limits on slots: when they are passed, what they are on which host, and what counts as a lack of memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import av
import pytest

from framefleet.common.job.spec import LimitOptions
from framefleet.worker import slot_limits as limits
from framefleet.worker.slot_limits import Limits, Watch, host_memory_bytes, limits_for, resident_bytes
from tests.helpers.jobs import REPOSITORY

GIB = 2**30
LIMITS = Limits(memory_bytes=GIB, no_progress_s=120.0)


def look(
    watch: Watch, now: float, *, busy: bool = True, beats: int = 0, reached: int = 0, used: int | None = 0
) -> str | None:
    return watch.look(now, up=True, busy=busy, beats=beats, reached=reached, resident_bytes=used)


def test_memory_beyond_the_limit_is_told_with_both_figures() -> None:
    watch = Watch(LIMITS)
    assert look(watch, 0.0, used=GIB) is None
    assert look(watch, 0.5, used=GIB * 3 // 2) == "used 1.50 GiB of memory (the limit for a slot is 1.00 GiB)"
    assert look(watch, 1.0, used=None) is None


def test_an_idle_slot_may_not_keep_memory_either() -> None:
    assert look(Watch(LIMITS), 0.0, busy=False, used=2 * GIB) is not None


def test_a_busy_slot_without_a_beat_is_given_up_after_the_limit_and_not_before() -> None:
    watch = Watch(LIMITS)
    told = [look(watch, half / 2, beats=7) for half in range(242)]
    assert told[:241] == [None] * 241
    assert told[241] == "made no progress for 120 s (the limit is 120 s)"


def test_a_beat_begins_the_time_anew() -> None:
    watch = Watch(LIMITS)
    assert not any(look(watch, float(second), beats=second // 100) for second in range(1000))


def test_work_that_goes_in_circles_is_given_up_in_the_end() -> None:
    watch = Watch(LIMITS)
    told = [look(watch, float(second), beats=second) for second in range(3602)]
    assert told[:3601] == [None] * 3601
    assert told[3601] == "was busy for 3601 s and got no further (the limit is 3600 s)"
    watch = Watch(LIMITS)
    assert not any(look(watch, float(second), beats=second, reached=second // 3000) for second in range(9000))


def test_an_idle_slot_need_not_make_progress() -> None:
    watch = Watch(LIMITS)
    assert not any(look(watch, float(second), busy=False) for second in range(1000))
    assert look(watch, 1000.0) is None


def test_time_in_which_the_agent_did_not_look_is_not_held_against_the_slot() -> None:
    watch = Watch(LIMITS)
    now = 0.0
    for _ in range(3):
        look(watch, now)
        now += 86_400.0  # the whole host was suspended
        assert look(watch, now) is None
    seconds = 0
    while look(watch, now) is None:
        now += 1.0
        seconds += 1
    assert 100 < seconds < 120


@pytest.mark.parametrize(
    ("host_gib", "slots", "expected"),
    [
        (None, 8, 2 * GIB),
        (64, 8, 2 * GIB),
        (16, 8, int(16 * GIB * 0.8) // 8),
        (4, 96, GIB // 2),
    ],
)
def test_the_default_is_two_gib_or_a_share_of_the_host(
    host_gib: int | None, slots: int, expected: int
) -> None:
    host_bytes = None if host_gib is None else host_gib * GIB
    found = limits_for(LimitOptions(), slots=slots, host_bytes=host_bytes)
    assert found == Limits(memory_bytes=expected, no_progress_s=120.0)


def test_what_is_asked_for_is_taken_whatever_the_host() -> None:
    options = LimitOptions(memory_mib=3000, no_progress_s=5.0)
    assert limits_for(options, slots=100, host_bytes=GIB) == Limits(3000 * 2**20, 5.0)


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/\n", {"memory.max": "1073741824\n"}, GIB),
        ("0::/a/b\n", {"a/memory.max": "1073741824\n", "a/b/memory.max": "max\n"}, GIB),
        (
            "4:memory:/docker/1\n0::/\n",
            {"memory/memory.limit_in_bytes": "9223372036854771712\n"},
            None,
        ),
        ("4:memory:/docker/1\n0::/\n", {"memory/docker/1/memory.limit_in_bytes": f"{GIB}\n"}, GIB),
        ("1:cpu,cpuacct:/\n", {}, None),
    ],
)
def test_a_container_has_what_its_control_group_allows(
    tmp_path: Path, own: str, files: dict[str, str], expected: int | None
) -> None:
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGESIZE")
    assert machine > GIB
    (tmp_path / "own").write_text(own)
    for name, text in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert host_memory_bytes(tmp_path / "cgroup", tmp_path / "own") == (expected or machine)


def test_a_machine_without_control_groups_has_its_memory(tmp_path: Path) -> None:
    assert host_memory_bytes(tmp_path, tmp_path / "none") == os.sysconf("SC_PHYS_PAGES") * os.sysconf(
        "SC_PAGESIZE"
    )


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory of others is read in /proc")
def test_resident_memory_of_a_process() -> None:
    found = resident_bytes(os.getpid())
    assert found is not None
    assert 2**20 < found < 8 * GIB
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pid = process.pid
    assert resident_bytes(pid) is None


def test_a_wild_size_in_a_file_is_no_lack_of_memory() -> None:
    limits.check_memory(av.error.MemoryError(12, "Cannot allocate memory"))
    limits.check_memory(ValueError("not about memory"))


ALLOCATE = """
import ctypes, sys
import av
from framefleet.worker import slot_limits as limits

allocated = bytearray(100 * 2**20)
limits.enter(limits.Limits(256 * 2**20, 1.0), ctypes.c_uint64())
limits.check_memory(av.error.MemoryError(12, "a wild size"))
held = bytearray(200 * 2**20)
limits.check_memory(av.error.MemoryError(12, "a wild size"))
try:
    bytearray(3 * 2**30)
except MemoryError:
    print("refused")
more = bytearray(100 * 2**20)
limits.check_memory(ValueError("not about memory"))
try:
    limits.check_memory(av.error.MemoryError(12, "the limit"))
except MemoryError as error:
    print(error)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="RLIMIT_DATA bounds mmap on Linux only")
def test_the_hard_limit_refuses_what_is_far_too_much_and_tells_it_from_damage() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ALLOCATE], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        "refused\nthe slot has passed its memory limit\n",
        "",
    )
