"""``--target compose`` from the command line, and the plain ``docker-compose.yml``."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

from framefleet.common.host.shared_filesystem import LOCK_FILE
from framefleet.launcher.targets.docker_engine import Engine
from framefleet.launcher.targets.docker_image import ensure_image
from tests.faults.faulty_containers import GATE_MOUNTS, docker
from tests.faults.held_slots import Gate
from tests.helpers.jobs import REPOSITORY, Job, check_output, summary, tree

pytestmark = pytest.mark.timeout(600)

BAD_USE, INTERRUPTED = 2, 130
MOST_BYTES = 600_000_000


class LaunchedJob(Job):
    """A job of ``launch.py``."""

    def __init__(self, source: Path, output: Path, *options: str, held_after: int | None = None) -> None:
        program = ["launch.py"]
        if held_after is not None:
            self.gate = Gate(output.parent, held_after)
            program = ["-m", "tests.faults.faulty_containers", str(self.gate.folder)]
        folders = ["--input", str(source), "--output", str(output)]
        self.start(output, [sys.executable, *program, *folders, "--fps", "native", *options])


def left_of(output: Path) -> list[str]:
    """Containers and networks of jobs in an output."""
    found = []
    for listing in (["ps", "--all"], ["network", "ls"]):
        told = docker(*listing, "--filter", "label=framefleet.folder", "--format", "{{.Labels}}")
        found += [line for line in told.splitlines() if str(output) in line]
    return found


def check_limits(output: Path, *, cpus: float, memory_mib: int) -> None:
    """The containers of a running job may use so much, and write to nothing but their output."""
    (roots,) = output.glob(".framefleet-*/")
    name = roots.name.removeprefix(".")
    for host in ("algo-1", "algo-2"):
        (told,) = json.loads(docker("inspect", f"{name}-{host}"))
        assert told["HostConfig"]["NanoCpus"] == cpus * 1e9
        assert told["HostConfig"]["Memory"] == memory_mib * 2**20
        mounts = {mount["Destination"]: mount["RW"] for mount in told["Mounts"]}
        assert {target: mode for target, mode in mounts.items() if target not in GATE_MOUNTS} == {
            "/opt/ml/config": False,
            "/opt/ml/processing/input/job": False,
            "/opt/ml/processing/input/videos": False,
            "/opt/ml/processing/output": True,
        }


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


def test_a_launcher_is_interrupted_and_another_killed(
    source: Path, tmp_path: Path, expected: dict[str, str]
) -> None:
    output = tmp_path / "out"
    options = ("--target", "compose", "--instances", "2", "--cpus", "0.5", "--memory", "700")
    interrupted = LaunchedJob(source, output, *options, held_after=1)
    interrupted.until_told("committed")
    check_limits(output, cpus=0.5, memory_mib=700)
    interrupted.process.send_signal(signal.SIGINT)
    assert interrupted.wait() == INTERRUPTED, interrupted.text
    assert left_of(output) == []
    killed = LaunchedJob(source, output, *options, "--resume", held_after=1)
    killed.until_told("committed")
    killed.process.kill()
    killed.wait()
    # its hosts are told to leave, and until they have left the folder is not another job's
    resumed = LaunchedJob(source, output, *options, "--resume")
    while resumed.wait() == BAD_USE:
        assert "is running in" in resumed.text
        resumed = LaunchedJob(source, output, *options, "--resume")
    assert resumed.process.returncode == 0, resumed.text
    check_output(output)
    assert tree(output) == expected
    assert left_of(output) == []


def test_metrics_are_served_outside_the_containers(source: Path, tmp_path: Path) -> None:
    with socket.socket() as free, socket.socket() as taken:
        for each in (free, taken):
            each.bind(("127.0.0.1", 0))
        port, other = free.getsockname()[1], taken.getsockname()[1]
        taken.listen()
        free.close()
        options = ("--target", "compose", "--instances", "2", "--cpus", "0.5", "--metrics-port")
        job = LaunchedJob(source, tmp_path / "out", *options, str(port), held_after=1)
        job.until_told("committed")
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            told = answer.read().decode()
        job.gate.open()
        assert job.wait() == 0, job.text
        without = LaunchedJob(source, tmp_path / "without", *options, str(other))
        assert without.wait() == 0, without.text
    assert re.search(r"^framefleet_job_info\{.*\} 1\.0$", told, re.MULTILINE)
    assert re.search(r'^framefleet_host_\w+\{host="algo-2"\} ', told, re.MULTILINE)
    assert f"metrics cannot be served at 127.0.0.1:{other}" in without.text


def test_the_image_is_small_and_holds_no_compiler(engine: Engine) -> None:
    image = ensure_image()
    assert int(docker("image", "inspect", "--format", "{{.Size}}", image)) <= MOST_BYTES
    look = "command -v gcc cc c++ g++ clang tcc as ld make; find /opt -mindepth 1; true"
    assert docker("run", "--rm", "--entrypoint", "sh", image, "-c", look) == ""


def test_the_plain_compose_file(
    engine: Engine, source: Path, tmp_path: Path, expected: dict[str, str]
) -> None:
    output = tmp_path / "out"
    command = [
        *engine.compose,
        "--file",
        str(REPOSITORY / "docker-compose.yml"),
        "--project-name",
        "framefleet-plain",
    ]
    environment = {
        **os.environ,
        "INPUT": str(source),
        "OUTPUT": str(output),
        "OPTIONS": "--fps native",
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
    assert {path.stat().st_uid for path in (output / "frames").rglob("*")} == {1000}
    check_output(output)
    assert tree(output) == expected
    assert sorted(path.name for path in output.iterdir()) == [LOCK_FILE, "frames", "job", "manifest"]
    assert {"report.html", "trace.json"} <= {path.name for path in (output / "job").iterdir()}
    assert "There is no report" not in told
    assert len(summary(output).hosts) == 8
