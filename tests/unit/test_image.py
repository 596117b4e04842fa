from __future__ import annotations

import os
from pathlib import Path

import pytest

from framefleet.common.errors import UserError
from targets import image
from targets.image import DEFAULT_BASE, MADE_BASE, ensure_image, source_digest
from tests.fake_docker import FakeDocker

BUILD = 'if [ "$1" = build ]; then echo sha256:new; exit 0; fi'


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDocker:
    monkeypatch.delenv("BASE_IMAGE", raising=False)
    return FakeDocker(tmp_path, monkeypatch, alone=True)


def built(docker: FakeDocker) -> list[str]:
    return [call for call in docker.calls if call.startswith("docker build")]


def test_an_image_of_this_source_is_not_built_again(docker: FakeDocker) -> None:
    docker.answers(f"echo sha256:there {source_digest(image.REPOSITORY, '')}")
    assert ensure_image() == "sha256:there"
    assert built(docker) == []


@pytest.mark.parametrize("base", [DEFAULT_BASE, MADE_BASE])
def test_it_is_built_on_the_base_that_is_there(docker: FakeDocker, base: str) -> None:
    docker.answers(f'{BUILD}\nfor last; do :; done; [ "$last" = {base} ]')
    assert ensure_image() == "sha256:new"
    (call,) = built(docker)
    assert f"BASE_IMAGE={base}" in call
    assert f"framefleet.source={source_digest(image.REPOSITORY, '')}" in call


def test_the_user_chooses_the_base(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASE_IMAGE", "mine")
    docker.answers(f"{BUILD}\nexit 1")
    ensure_image()
    assert "BASE_IMAGE=mine" in built(docker)[0]


def test_without_a_registry_root_has_a_base_made(
    docker: FakeDocker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "clone"
    (folder / "docker").mkdir(parents=True)
    (folder / "Dockerfile").touch()
    maker = folder / image.MAKE_BASE
    maker.write_text(f'#!/bin/sh\necho "$*" >"{folder}/made"\n')
    maker.chmod(0o755)
    monkeypatch.setattr(image, "REPOSITORY", folder)
    monkeypatch.setattr(os, "getuid", lambda: 0)
    docker.answers("", name="debootstrap")
    docker.answers(f"{BUILD}\nexit 1")
    told: list[str] = []
    ensure_image(told.append)
    assert (folder / "made").read_text() == f"--trust-host {MADE_BASE}\n"
    assert f"BASE_IMAGE={MADE_BASE}" in built(docker)[0]
    assert any("no image registry" in text for text in told)


def test_others_are_told_the_command(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    docker.answers("echo 'no such host' >&2; exit 1")
    with pytest.raises(UserError, match=r"\(no such host\).*`sudo docker/make-base.sh --trust-host`"):
        ensure_image()


def test_a_build_that_fails_is_told_by_its_last_line(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BASE_IMAGE", "mine")
    docker.answers("echo 'no matching distribution' >&2; exit 1")
    with pytest.raises(UserError, match=r"cannot be built on mine \(no matching distribution\)"):
        ensure_image()


def test_the_digest_tells_one_source_from_another(tmp_path: Path) -> None:
    def digest() -> str:
        return source_digest(tmp_path, "base")

    (tmp_path / "common" / "__pycache__").mkdir(parents=True)
    (tmp_path / "common" / "a.py").write_text("1")
    first = digest()
    (tmp_path / "common" / "__pycache__" / "a.pyc").write_text("1")
    (tmp_path / "README.md").write_text("1")
    assert digest() == first
    assert source_digest(tmp_path, "other base") != first
    (tmp_path / "common" / "a.py").write_text("2")
    assert digest() != first
    (tmp_path / "common" / "a.py").write_text("1")
    assert digest() == first
    (tmp_path / "common" / "a.py").rename(tmp_path / "common" / "b.py")
    assert digest() != first


def test_the_source_is_what_the_build_reads() -> None:
    """What .dockerignore lets through, and the Dockerfile copies."""
    lines = (image.REPOSITORY / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    assert allowed == set(image.SOURCE) - {"Dockerfile", ".dockerignore"}
    copied = [
        line.split()[1]
        for line in (image.REPOSITORY / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY ")
    ]
    assert set(copied) == allowed


def test_a_build_that_fails_tells_the_error_of_its_step(docker: FakeDocker) -> None:
    docker.answers(
        """if [ "$1" = build ]; then
        printf '\\033[91mERROR: no such hash\\n\\033[0mThe command pip returned a non-zero code: 1\\n' >&2
        exit 1
        fi
        for last; do :; done; [ "$last" = framefleet-base ]"""
    )
    with pytest.raises(UserError, match=r"\(ERROR: no such hash\)"):
        ensure_image()
