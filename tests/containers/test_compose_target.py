"""``--target compose`` from the command line, and the plain ``docker-compose.yml``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from targets.engine import Engine
from tests.faulty_containers import docker
from tests.jobs import REPOSITORY, Job, check_output, summary, tree

pytestmark = pytest.mark.timeout(600)


class LaunchedJob(Job):
    """A job of ``launch.py``."""

    def __init__(self, source: Path, output: Path, *options: str) -> None:
        self.output = output
        command = [sys.executable, "launch.py", "--input", str(source), "--output", str(output)]
        self.process = subprocess.Popen(
            [*command, "--fps", "native", *options],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.text = ""

    def until_committed(self) -> None:
        self.until(lambda: any(entry["event"] == "committed" for entry in self.journal()))


def left_of(output: Path) -> list[str]:
    """Containers and networks of jobs in an output."""
    found = []
    for listing in (["ps", "--all"], ["network", "ls"]):
        told = docker(*listing, "--filter", "label=framefleet.folder", "--format", "{{.Labels}}")
        found += [line for line in told.splitlines() if str(output) in line]
    return found


def test_one_command_makes_eight_hosts_and_the_tree_of_the_local_target(
    source: Path, tmp_path: Path, expected: dict[str, str]
) -> None:
    output = tmp_path / "out"
    job = LaunchedJob(source, output, "--target", "compose", "--instances", "8")
    assert job.wait() == 0, job.text
    check_output(output)
    assert tree(output) == expected
    assert len(summary(output).hosts) == 8
    assert left_of(output) == []


def test_a_launcher_is_killed_and_another_interrupted(
    source: Path, tmp_path: Path, expected: dict[str, str]
) -> None:
    output = tmp_path / "out"
    options = ("--target", "compose", "--instances", "2", "--cpus", "0.25")
    killed = LaunchedJob(source, output, *options)
    killed.until_committed()
    killed.process.kill()
    killed.wait()
    # its hosts are told to leave, but nobody removes them; until they are gone, the folder is not another job's
    interrupted = LaunchedJob(source, output, *options, "--resume")
    while interrupted.process.wait(300) == 2:
        interrupted.wait()
        assert "is running in" in interrupted.text
        interrupted = LaunchedJob(source, output, *options, "--resume")
    assert left_of(output) == []


def test_the_plain_compose_file(
    engine: Engine, source: Path, tmp_path: Path, expected: dict[str, str]
) -> None:
    output = tmp_path / "out"
    command = [*engine.compose, "--file", str(REPOSITORY / "docker-compose.yml"), "--project-name", "framefleet-plain"]
    environment = {
        **os.environ,
        "INPUT": str(source),
        "OUTPUT": str(output),
        "OPTIONS": "--fps native",
        "OWNER": f"{os.getuid()}:{os.getgid()}",
    }

    def compose(*arguments: str) -> str:
        done = subprocess.run(
            [*command, *arguments], env=environment, capture_output=True, text=True, timeout=400, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    try:
        compose("up")
        told = compose("run", "--rm", "merge")
    finally:
        compose("down", "--timeout", "0")
    assert "completed" in told
    check_output(output)
    assert tree(output) == expected
    assert sorted(path.name for path in output.iterdir()) == ["frames", "job", "manifest"]
    assert len(summary(output).hosts) == 8
