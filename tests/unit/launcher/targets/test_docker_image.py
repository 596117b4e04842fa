from __future__ import annotations

import os
from pathlib import Path

import pytest

from framefleet import PACKAGE
from framefleet.common.errors import UserError
from framefleet.launcher.targets import docker_image as image
from framefleet.launcher.targets.docker_image import (
    DEFAULT_BASE,
    MADE_BASE,
    copy_source,
    ensure_image,
    source_digest,
)
from tests.helpers.fake_docker import FakeDocker
from tests.helpers.jobs import REPOSITORY

BUILD = 'if [ "$1" = build ]; then echo sha256:new; exit 0; fi'


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDocker:
    monkeypatch.delenv("BASE_IMAGE", raising=False)
    return FakeDocker(tmp_path, monkeypatch, alone=True)


def built(docker: FakeDocker) -> list[str]:
    return [call for call in docker.calls if call.startswith("docker build")]


def test_an_image_of_this_source_is_not_built_again(docker: FakeDocker) -> None:
    docker.answers(f"echo sha256:there {source_digest(PACKAGE, '')}")
    assert ensure_image() == "sha256:there"
    assert built(docker) == []


@pytest.mark.parametrize("base", [DEFAULT_BASE, MADE_BASE])
def test_it_is_built_on_the_base_that_is_there(docker: FakeDocker, base: str) -> None:
    docker.answers(f'{BUILD}\nfor last; do :; done; [ "$last" = {base} ]')
    assert ensure_image() == "sha256:new"
    (call,) = built(docker)
    assert f"BASE_IMAGE={base}" in call
    assert f"framefleet.source={source_digest(PACKAGE, '')}" in call


def test_the_user_chooses_the_base(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASE_IMAGE", "mine")
    docker.answers(f"{BUILD}\nexit 1")
    ensure_image()
    assert "BASE_IMAGE=mine" in built(docker)[0]


def test_without_a_registry_root_has_a_base_made(
    docker: FakeDocker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker = tmp_path / "make-base.sh"
    maker.write_text(f'#!/bin/sh\necho "$*" >"{tmp_path}/made"\n')
    maker.chmod(0o755)
    monkeypatch.setattr(image, "MAKE_BASE", maker)
    monkeypatch.setattr(os, "getuid", lambda: 0)
    docker.answers("", name="debootstrap")
    docker.answers(f"{BUILD}\nexit 1")
    told: list[str] = []
    ensure_image(told.append)
    assert (tmp_path / "made").read_text() == f"--trust-host {MADE_BASE}\n"
    assert f"BASE_IMAGE={MADE_BASE}" in built(docker)[0]
    assert any("no image registry" in text for text in told)


def test_others_are_told_the_command(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    docker.answers("echo 'no such host' >&2; exit 1")
    with pytest.raises(UserError, match=r"\(no such host\).*`sudo .*make-base.sh --trust-host`"):
        ensure_image()


def test_a_build_that_fails_is_told_by_its_last_line(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BASE_IMAGE", "mine")
    docker.answers("echo 'no matching distribution' >&2; exit 1")
    with pytest.raises(UserError, match=r"cannot be built on mine \(no matching distribution\)"):
        ensure_image()


def test_the_digest_tells_one_source_from_another(tmp_path: Path) -> None:
    package = tmp_path / "framefleet"
    copy_source(PACKAGE, tmp_path)
    for name in ("common", "coordinator", "launcher", "worker"):
        (tmp_path / name).rename(package / name)
    for name in ("Dockerfile", "requirements.txt"):
        (tmp_path / name).rename(package / name)

    def digest() -> str:
        return source_digest(package, "base")

    first = digest()
    assert first == source_digest(PACKAGE, "base"), "an installed package makes the image that a clone makes"
    (package / "common" / "__pycache__").mkdir()
    (package / "common" / "__pycache__" / "a.pyc").write_text("1")
    (package / "README.md").write_text("1")
    assert digest() == first
    assert source_digest(package, "other base") != first
    errors = package / "common" / "errors.py"
    text = errors.read_text()
    errors.write_text(f"{text}#")
    assert digest() != first
    errors.write_text(text)
    assert digest() == first
    errors.rename(errors.with_name("other.py"))
    assert digest() != first


def test_the_source_is_what_the_build_reads() -> None:
    """What .dockerignore lets through, and the Dockerfile copies."""
    ignored = (REPOSITORY / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in ignored if line.startswith("!")}
    dockerfile = (REPOSITORY / "Dockerfile").read_text().splitlines()
    copied = {line.split()[1] for line in dockerfile if line.startswith("COPY ")}
    assert copied == allowed
    assert copied == {*image.FILES, *image.FOLDERS, "framefleet/*.py"} - {"Dockerfile"}


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
