"""The container engine, through its own commands: what it is, the image of the hosts, and compose."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from common.errors import UserError

REPOSITORY = Path(__file__).resolve().parent.parent
IMAGE = "framefleet"
PLATFORM = "linux/amd64"  # SageMaker has no other
BASE_VARIABLE = "BASE_IMAGE"
MADE_BASE = "framefleet-base"  # by docker/make-base.sh

TAIL_LINES = 12
REMEDY = "is Docker installed, and may you use it? --target local needs none"


class _Info(msgspec.Struct):
    """The fields of ``docker info`` that matter here."""

    cpus: int = msgspec.field(name="NCPU", default=0)
    memory_bytes: int = msgspec.field(name="MemTotal", default=0)
    security: list[str] | None = msgspec.field(name="SecurityOptions", default=None)
    errors: list[str] | None = msgspec.field(name="ServerErrors", default=None)


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine that answers.

    Attributes:
        cpus, memory_bytes: of the machine that it runs containers on.
        rootless: its containers' root is the user who runs it.
        compose: the command of compose, version 2 or 1.
    """

    cpus: int
    memory_bytes: int
    rootless: bool
    compose: tuple[str, ...]

    @property
    def user(self) -> str:
        """Whom hosts must run as for what they write to be the launcher's user's."""
        return "0:0" if self.rootless else f"{os.getuid()}:{os.getgid()}"


def find_engine() -> Engine:
    """The engine that the ``docker`` command reaches.

    Raises:
        UserError: there is none, or no compose.
    """
    if shutil.which("docker") is None:
        raise UserError(f"the command docker, which --target compose needs, is not there: {REMEDY}")
    told = _run(["docker", "info", "--format", "{{json .}}"])
    try:
        info = msgspec.json.decode(told.stdout, type=_Info)
    except msgspec.DecodeError:
        info = _Info(errors=[_last_line(told.stderr)])
    if told.returncode or info.errors or not info.cpus:
        why = info.errors[0] if info.errors else _last_line(told.stderr)
        raise UserError(f"the container engine does not answer ({why}): {REMEDY}")
    if _run(["docker", "compose", "version"]).returncode == 0:
        compose: tuple[str, ...] = ("docker", "compose")
    elif shutil.which("docker-compose") is not None:
        compose = ("docker-compose",)
    else:
        raise UserError(
            "Docker is here, and compose is not: install its plugin (docker-compose-plugin) or docker-compose"
        )
    rootless = any("rootless" in option for option in info.security or [])
    return Engine(info.cpus, info.memory_bytes, rootless, compose)


def build_image() -> str:
    """Build the image of the hosts from the source beside this file; seconds if little has changed.

    Returns:
        Its id, which stays what it is when others build.

    Raises:
        UserError: it cannot be built.
    """
    command = ["docker", "build", "--quiet", "--network", "host", "--platform", PLATFORM, "--tag", IMAGE]
    base = os.environ.get(BASE_VARIABLE) or (MADE_BASE if _has_image(MADE_BASE) else None)
    if base is not None:
        command += ["--build-arg", f"{BASE_VARIABLE}={base}"]
    done = _run([*command, str(REPOSITORY)])
    if done.returncode:
        told = "\n".join(f"  | {line}" for line in (done.stdout + done.stderr).splitlines()[-TAIL_LINES:])
        raise UserError(
            "the image of the hosts cannot be built (where no image registry can be reached, "
            f"docker/make-base.sh makes a base for it):\n{told}"
        )
    return done.stdout.split()[-1]


def run_engine(command: Sequence[str], *, doing: str, environment: Mapping[str, str] | None = None) -> str:
    """Run a command of the engine's and return what it printed.

    Raises:
        UserError: it failed; ``doing`` names what is not done.
    """
    done = _run(command, environment)
    if done.returncode:
        raise UserError(f"cannot {doing}: {_last_line(done.stderr)}")
    return done.stdout


def _has_image(name: str) -> bool:
    return _run(["docker", "image", "inspect", "--format", "{{.Id}}", name]).returncode == 0


def _run(
    command: Sequence[str], environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """In a session of its own: a Ctrl-C at the terminal is the launcher's to deal with."""
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="backslashreplace",
        check=False,
        start_new_session=True,
        env=None if environment is None else {**os.environ, **environment},
    )


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it says nothing"
