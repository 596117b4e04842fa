"""The image of the hosts: found if it is there and holds this source, built if not."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from framefleet import PACKAGE
from framefleet.common.errors import UserError
from framefleet.launcher.package_files import package_files
from framefleet.launcher.targets.docker_engine import last_line, run

IMAGE = "framefleet"
PLATFORM = "linux/amd64"  # SageMaker has no other
BUILD_S = 1800.0  # at most, for fetching and installing over a slow line

ANSI_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
SOURCE_LABEL = "framefleet.source"
BASE_VARIABLE = "BASE_IMAGE"
DEFAULT_BASE = "python:3.11-slim-bookworm"  # the Dockerfile's
MADE_BASE = "framefleet-base"
MAKE_BASE = PACKAGE / "make-base.sh"
FILES = ("Dockerfile", "requirements.txt")  # with these folders, what the Dockerfile takes
FOLDERS = ("common", "coordinator", "launcher", "worker")


def ensure_image(say: Callable[[str], None] = lambda text: None) -> str:
    """Give the image of the hosts, built from the source beside this file; ``say`` tells of slow steps.

    Returns:
        Its id, which stays what it is when others build.

    Raises:
        UserError: it cannot be built.
    """
    wanted = os.environ.get(BASE_VARIABLE)
    digest = source_digest(PACKAGE, wanted or "")
    shown = run(
        [
            "docker",
            "image",
            "inspect",
            "--format",
            f'{{{{.Id}}}} {{{{index .Config.Labels "{SOURCE_LABEL}"}}}}',
            IMAGE,
        ]
    )
    if shown.returncode == 0 and shown.stdout.split()[1:] == [digest]:
        return shown.stdout.split()[0]
    base = wanted or find_base(say)
    say("building the image of the hosts; the first time takes a minute or two ...")
    command = ["docker", "build", "--quiet", "--network", "host", "--platform", PLATFORM, "--tag", IMAGE]
    command += ["--label", f"{SOURCE_LABEL}={digest}", "--build-arg", f"{BASE_VARIABLE}={base}"]
    with tempfile.TemporaryDirectory() as folder:
        copy_source(PACKAGE, Path(folder))
        done = run([*command, folder], timeout_s=BUILD_S)
    if done.returncode:
        raise UserError(
            f"the image of the hosts cannot be built on {base} ({_error_line(done.stderr)}): in a clone, "
            f"`docker build --network host --build-arg {BASE_VARIABLE}={base} .` shows all of it"
        )
    return done.stdout.split()[-1]


def source_files(package: Path) -> dict[str, Path]:
    """What an image is made of, by its place in a clone: a package that is installed has them elsewhere."""
    files = {name: package / name for name in FILES}
    files |= {f"framefleet/{path.name}": path for path in package.glob("*.py")}
    return files | package_files(*FOLDERS, package=package)


def copy_source(package: Path, folder: Path) -> None:
    """Lay out in ``folder`` what ``docker build`` reads."""
    for name, path in source_files(package).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / name)


def source_digest(package: Path, base: str) -> str:
    """A SHA-256 of what an image is made of: the source, and the base that was asked for."""
    digest = hashlib.sha256(base.encode())
    for name, path in sorted(source_files(package).items()):
        digest.update(f"\n{hashlib.sha256(path.read_bytes()).hexdigest()} {name}".encode())
    return digest.hexdigest()


def _error_line(text: str) -> str:
    """What a step of the build says of its failure; the engine's own last line only repeats the step."""
    lines = [ANSI_COLOUR.sub("", line).strip() for line in text.splitlines()]
    return next((line for line in lines if line.startswith("ERROR")), last_line(text))


def find_base(say: Callable[[str], None] = lambda text: None) -> str:
    """The official Python image, or what docker/make-base.sh makes where that cannot be had."""
    for name in (DEFAULT_BASE, MADE_BASE):
        if run(["docker", "image", "inspect", "--format", "{{.Id}}", name]).returncode == 0:
            return name
    say(f"fetching {DEFAULT_BASE} ...")
    pulled = run(["docker", "pull", "--quiet", "--platform", PLATFORM, DEFAULT_BASE], timeout_s=BUILD_S)
    if pulled.returncode == 0:
        return DEFAULT_BASE
    if os.getuid() == 0 and shutil.which("debootstrap") is not None:
        say(f"no image registry can be reached: making a base with {MAKE_BASE} ...")
        made = run([str(MAKE_BASE), "--trust-host", MADE_BASE], timeout_s=BUILD_S)
        if made.returncode == 0:
            say(f"{MADE_BASE} trusts this machine's certificates and mirrors: keep what is built on it here")
            return MADE_BASE
        raise UserError(f"{MAKE_BASE} cannot make a base image: {last_line(made.stderr)}")
    raise UserError(
        f"the base image {DEFAULT_BASE} cannot be fetched ({last_line(pulled.stderr)}): where no registry "
        f"can be reached, run `sudo {MAKE_BASE} --trust-host` once (it needs debootstrap), then this again"
    )
