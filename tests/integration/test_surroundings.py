"""Jobs from the command line in odd locales, on full disks, without a terminal, with a long TMPDIR."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.jobs import REPOSITORY, check_output, rows, tree

# as LANG=en_US (ISO 8859-1) is: Python takes names for text of that encoding
NOT_UTF8 = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


@pytest.fixture
def source(clips: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(clips / "vp9.webm", folder / "a.webm")
    return folder


def launch(*arguments: str | Path, **options: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "launch.py", *map(str, arguments)], cwd=REPOSITORY, **options)


@pytest.mark.parametrize("more", [[], ["--pack", "tar"], ["--mode", "sharded"]])
def test_names_are_utf8_in_any_locale(source: Path, clips: Path, tmp_path: Path, more: list[str]) -> None:
    names = [b"\xc3\xa9t\xc3\xa9.webm", "\N{SNOWMAN}/\N{SNOWMAN}.webm".encode(), b"latin-\xe9.webm"]
    for name in names:
        path = source / os.fsdecode(name)
        path.parent.mkdir(exist_ok=True)
        shutil.copy(clips / "vp9.webm", path)
    trees = []
    for number, locale in enumerate([{}, NOT_UTF8]):
        output = tmp_path / f"out{number}"
        job = launch(
            "--input", source, "--output", output, "--instances", "2", *more, env={**os.environ, **locale}
        )
        assert job.wait() == 0
        check_output(output)
        assert launch("verify", output, env={**os.environ, **locale}).wait() == 0
        trees.append(
            (tree(output), sorted((row["video"], row["sample"], row["file"]) for row in rows(output)))
        )
    if more[:1] != ["--pack"]:
        assert trees[0] == trees[1]
    assert {row[0] for row in trees[1][1]} == {"a.webm", "été.webm", "☃/☃.webm", "latin-%E9.webm"}


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_full_disk_below_the_log_costs_the_log(source: Path, tmp_path: Path, stream: str) -> None:
    with Path("/dev/full").open("wb") as full:
        job = launch("--input", source, "--output", tmp_path / "out", **{stream: full})
        assert job.wait() == 0
    check_output(tmp_path / "out")
    assert tree(tmp_path / "out")


def test_an_answer_that_could_not_be_written_is_a_failure(source: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        plan = launch("plan", "--input", source, stdout=full, stderr=subprocess.PIPE)
        _, told = plan.communicate()
    assert (plan.returncode, told) == (
        1,
        b"Error: the answer could not be written: No space left on device\n",
    )


def test_standard_streams_may_be_closed(source: Path, tmp_path: Path) -> None:
    def close_all() -> None:
        for number in range(3):
            os.close(number)

    job = launch("--input", source, "--output", tmp_path / "out", preexec_fn=close_all)
    assert job.wait() == 0
    check_output(tmp_path / "out")
    assert tree(tmp_path / "out")


def test_a_terminal_may_go(source: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    job = launch("--input", source, "--output", tmp_path / "out", stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    os.read(ours, 1)  # the view is there
    os.close(ours)  # from here on a write to it fails: EIO
    assert job.wait() == 0
    check_output(tmp_path / "out")
    assert tree(tmp_path / "out")


@pytest.mark.parametrize("mode", ["coordinated", "sharded"])
def test_a_temporary_folder_may_have_a_long_path(source: Path, tmp_path: Path, mode: str) -> None:
    long = tmp_path / ("y" * 120)
    long.mkdir()
    job = launch(
        "--input", source, "--output", tmp_path / "out", "--mode", mode,
        env={**os.environ, "TMPDIR": str(long), "FRAMEFLEET_SHARED": "/of/another/job"},
    )  # fmt: skip
    assert job.wait() == 0
    check_output(tmp_path / "out")
    assert tree(tmp_path / "out")
