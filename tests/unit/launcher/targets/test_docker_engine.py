from __future__ import annotations

import os
from pathlib import Path

import pytest

from framefleet.common.errors import UserError
from framefleet.launcher.targets.docker_engine import find_engine, last_line, run, run_engine
from tests.helpers.fake_docker import FakeDocker

INFO = """echo '{"NCPU": 2, "MemTotal": 4096, "SecurityOptions": ["name=seccomp"]}'"""


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDocker:
    return FakeDocker(tmp_path, monkeypatch, alone=True)


def test_an_engine_and_its_compose(docker: FakeDocker) -> None:
    docker.answers(INFO)
    engine = find_engine()
    assert (engine.cpus, engine.memory_bytes, engine.compose) == (2, 4096, ("docker", "compose"))
    assert engine.user == f"{os.getuid()}:{os.getgid()}"


def test_the_older_compose_does(docker: FakeDocker) -> None:
    docker.answers(f'[ "$1" = info ] || exit 1\n{INFO}')
    docker.answers("", name="docker-compose")
    assert find_engine().compose == ("docker-compose",)


def test_root_of_a_rootless_engine_is_the_user(docker: FakeDocker) -> None:
    docker.answers(INFO.replace("name=seccomp", "name=rootless"))
    assert find_engine().user == "0:0"


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (None, "install Docker"),
        ("echo 'Cannot connect to the Docker daemon' >&2; exit 1", "start Docker"),
        ("""echo '{"ServerErrors": ["Cannot connect"]}'""", "does not answer (Cannot connect): start"),
        ("echo 'permission denied while trying to connect' >&2; exit 1", "add you to its group, docker"),
        (f'[ "$1" = info ] || exit 1\n{INFO}', "docker-compose-plugin"),
    ],
)
def test_what_is_missing_is_told_with_a_remedy(docker: FakeDocker, script: str | None, told: str) -> None:
    if script is not None:
        docker.answers(script)
    with pytest.raises(UserError) as error:
        find_engine()
    assert told in str(error.value)
    assert "--target local" in str(error.value)


def test_a_failing_command_is_told_by_its_last_line(docker: FakeDocker) -> None:
    docker.answers("echo first; echo why >&2; echo >&2; exit 3")
    with pytest.raises(UserError, match=r"^cannot make it: why$"):
        run_engine(["docker", "up"], doing="make it")


def test_a_command_that_hangs_has_failed(docker: FakeDocker) -> None:
    docker.answers("exec sleep 60")
    done = run(["docker"], timeout_s=0.2)
    assert done.returncode != 0
    assert last_line(done.stderr) == "no answer within 0 s"
