"""A ``docker`` command of a test's own choice, first on the PATH; it writes down what it was called with."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


class FakeDocker:
    """Answers by a shell script, in which ``$calls`` is a folder of the test's."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, *, alone: bool = False) -> None:
        self.folder = folder / "docker"
        self.bin = self.folder / "bin"
        self.bin.mkdir(parents=True)
        self._log = self.folder / "log"
        monkeypatch.setenv("PATH", str(self.bin) + ("" if alone else f":{os.environ['PATH']}"))

    def answers(self, script: str, *, name: str = "docker") -> None:
        """Make ``name`` run ``script``, of shell builtins or programs in /bin."""
        path = self.bin / name
        begin = f'calls="{self.folder}"\necho "{name} $*" >>"{self._log}"\nPATH=/usr/bin:/bin'
        path.write_text(f"#!/bin/sh\n{begin}\n{script}\n")
        path.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        return self._log.read_text().splitlines() if self._log.exists() else []
