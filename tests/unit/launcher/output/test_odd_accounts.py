"""What hosts have left of an account or a specification, and is no file of ours, is not waited for, nor read
without end."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from framefleet.common.files.beneath import Below
from framefleet.common.host.layout import Layout
from framefleet.common.job.spec import JobSpec, write_spec
from framefleet.launcher.output.committed_rows import read_commits
from framefleet.launcher.output.host_folders import abandoned
from framefleet.launcher.output.resume import check_options, take_over
from framefleet.launcher.read_account import read_failures, read_summary
from tests.unit.launcher.output.test_take_over import files, make_output, request_of

COMMITTED = b'{"event":"committed","unit":%d,"attempt":1,"host":"a","frames":1}\n'


def grow(path: Path) -> None:
    path.touch()
    os.truncate(path, 2**42)


HARMS: list[Callable[[Path], object]] = [
    os.mkfifo,
    Path.mkdir,
    lambda path: path.symlink_to("/dev/zero"),
    grow,
    lambda path: path.write_bytes(b'{"job_id":"\xff"}\n'),
    lambda path: path.write_bytes(b"[" * 100_000),
]


@pytest.mark.parametrize("harm", HARMS)
def test_of_an_odd_account_nothing_is_read(tmp_path: Path, harm: Callable[[Path], object]) -> None:
    path = tmp_path / "file"
    harm(path)
    assert read_summary(path) is None
    assert read_failures(path) == []
    with Below(tmp_path) as below:
        assert read_commits(below, "file") == {}


def test_what_stands_before_a_hole_in_a_journal_counts(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_bytes(COMMITTED % 1 + bytes(4096) + b"\n" + COMMITTED % 2)
    grow(tmp_path / "journal.jsonl")
    with Below(tmp_path) as below:
        assert set(read_commits(below, "journal.jsonl")) == {(1, 1, "a"), (2, 1, "a")}


def test_folders_without_hosts_are_nothing_that_a_launcher_has_left(tmp_path: Path) -> None:
    for name in (".framefleet-lost/algo-1", ".framefleet-mine/photos", ".framefleet-none"):
        (tmp_path / name).mkdir(parents=True)
    assert abandoned(tmp_path) == [tmp_path / ".framefleet-lost"]


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("hosts", [("algo-1",), ("algo-1", "algo-2")])
def test_an_odd_specification_is_none(
    tmp_path: Path, harm: Callable[[Path], object], hosts: tuple[str, ...]
) -> None:
    output = make_output(tmp_path, None)
    before = files(output)
    root = output / ".framefleet-lost"
    for host in ("algo-1", "algo-2"):
        layout = Layout(root / host)
        write_spec(layout.job_spec, JobSpec(job_id="lost"))
        layout.output.mkdir(parents=True)
        if host in hosts:
            layout.job_spec.unlink()
            harm(layout.job_spec)
    request = request_of(output, None)
    if len(hosts) == 2:
        check_options(replace(request, output=tmp_path / "none"), [root])
    done = take_over(request, roots=[root])
    assert sum(video.frames for video in done.videos) == 80
    assert files(output) == before
    assert not root.exists()
