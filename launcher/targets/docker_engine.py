"""The container engine, through its own commands: what it is, what it may use, and its compose."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from framefleet.common.errors import UserError

ANSWER_S = 120.0  # for a command of the engine's, which a busy machine may take long for

LOCAL_REMEDY = "--target local needs no engine"


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
        UserError: there is none, it may not be used, or there is no compose.
    """
    if shutil.which("docker") is None:
        raise UserError(
            f"--target compose needs the command docker, which is not here: install Docker; {LOCAL_REMEDY}"
        )
    told = run(["docker", "info", "--format", "{{json .}}"])
    try:
        info = msgspec.json.decode(told.stdout, type=_Info)
    except msgspec.DecodeError:
        info = _Info()
    if told.returncode or info.errors or not info.cpus:
        raise UserError(_no_answer(info.errors[0] if info.errors else last_line(told.stderr)))
    if run(["docker", "compose", "version"]).returncode == 0:
        compose: tuple[str, ...] = ("docker", "compose")
    elif shutil.which("docker-compose") is not None:
        compose = ("docker-compose",)
    else:
        raise UserError(
            "--target compose needs compose, which is not here beside Docker: install its plugin "
            f"(docker-compose-plugin) or docker-compose; {LOCAL_REMEDY}"
        )
    rootless = any("rootless" in option for option in info.security or [])
    return Engine(info.cpus, info.memory_bytes, rootless, compose)


def _no_answer(why: str) -> str:
    if "permission denied" in why.lower():
        return (
            f"you may not use the container engine ({why}): "
            f"let an administrator add you to its group, docker, or use sudo; {LOCAL_REMEDY}"
        )
    return f"the container engine does not answer ({why}): start Docker; {LOCAL_REMEDY}"


def run_engine(command: Sequence[str], *, doing: str, environment: Mapping[str, str] | None = None) -> str:
    """Run a command of the engine's and return what it printed.

    Raises:
        UserError: it failed; ``doing`` names what is not done.
    """
    done = run(command, environment)
    if done.returncode:
        raise UserError(f"cannot {doing}: {last_line(done.stderr)}")
    return done.stdout


def run(
    command: Sequence[str],
    environment: Mapping[str, str] | None = None,
    *,
    timeout_s: float = ANSWER_S,
) -> subprocess.CompletedProcess[str]:
    """Run a command in a session of its own: a Ctrl-C at the terminal is the launcher's to deal with.

    Whatever fails, a time that is over too, is a return code other than 0.
    """
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="backslashreplace",
            check=False,
            start_new_session=True,
            env=None if environment is None else {**os.environ, **environment},
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", f"no answer within {timeout_s:.0f} s")


def last_line(text: str) -> str:
    """The last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it says nothing"
