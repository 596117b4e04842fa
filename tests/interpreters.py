"""The main job with every Python that is here: installed, run, verified, and its output read.

    python3 tests/interpreters.py

Each cell has a virtual environment of its own. The pins must give the same tree of frames on every Python;
the newest and the oldest versions that pyproject.toml allows may give other bytes, but must be well too. What
cannot be tested here is said; the exit code is 1 if anything failed, or pyenv has a Python that did not run.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
PYTHONS: Final = ("3.11", "3.12", "3.13")
LATER: Final = "3.14"  # tested where it is
OLDEST: Final = "3.11"
NEWEST: Final = ("3.13", "3.12")  # PyAV 19 has nothing for 3.11
READERS: Final = ("duckdb", "pandas", "polars")
READERS_NEED: Final = ("polars-runtime-32",)  # beyond what the runtime pins hold
PATIENCE_S: Final = 3600.0  # for a step: a limit for what hangs, not a measure
JOB: Final = ("--instances", "2", "--slots-per-instance", "1", "--fps", "10")
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


class StepError(Exception):
    """A step failed; the text says which, and how its output ended."""


@dataclass(frozen=True)
class Cell:
    """What to install on which Python."""

    name: str
    python: Path
    requirements: str
    flags: tuple[str, ...] = ()
    highest: bool = False


@dataclass(frozen=True)
class Result:
    tree: str
    frames: int
    versions: str
    seconds: float


class Bench:
    """A folder for the cells, and the videos that they share, made once and from pins."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.videos = folder / "videos"
        self._making = threading.Lock()

    def run(self, cell: Cell) -> Result:
        """Raises StepError."""
        began = time.monotonic()
        home = self.folder / cell.name.replace(" ", "-")
        home.mkdir()
        _step("venv", [str(cell.python), "-m", "venv", str(home / "venv")])
        python = str(home / "venv" / "bin" / "python")
        (home / "requirements.txt").write_text(cell.requirements)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _step("pip install", [*pip, "--only-binary=:all:", *cell.flags, "-r", str(home / "requirements.txt")])
        told = _step(
            "pip list", [python, "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check"]
        )
        versions = dict(line.split("==") for line in told.splitlines() if "==" in line)
        if cell.highest:
            _check_highest(versions)
        self._make_videos(python)
        output = home / "output"
        run = [python, "launch.py"]
        _step("job", [*run, "--input", str(self.videos), "--output", str(output), *JOB])
        _step("verify", [*run, "verify", str(output)])
        _step("verify --against", [*run, "verify", str(output), "--against", str(self.videos)])
        _step("readers", [python, "-m", "tests.helpers.manifest_readers", str(output)])
        tree, frames = _tree(output / "frames")
        shutil.rmtree(home / "venv")
        shown = ", ".join(f"{name} {versions[name]}" for name in ("av", "opencv-python-headless", "numpy"))
        return Result(tree, frames, shown, time.monotonic() - began)

    def _make_videos(self, python: str) -> None:
        with self._making:
            if not self.videos.exists():
                made = self.folder / "made"
                made.mkdir()
                code = "import sys, pathlib, tests.helpers.clips as c; c.make_all(pathlib.Path(sys.argv[1]))"
                _step("videos", [python, "-c", code, str(made)])
                made.rename(self.videos)


def main() -> int:
    pythons, lacking = find_pythons()
    for version, python in pythons.items():
        print(f"Python {version}: {_version(python)} ({python})", flush=True)
    cells, missing = plan(pythons)
    said = [f"NOT TESTED: {text}" for text in [*missing, *lacking]]
    failed = not cells or bool(lacking)
    results = {}
    with tempfile.TemporaryDirectory(prefix="framefleet-") as folder:
        bench = Bench(Path(folder))
        with ThreadPoolExecutor(max_workers=2) as pool:
            for cell, future in [(cell, pool.submit(bench.run, cell)) for cell in cells]:
                try:
                    results[cell.name] = result = future.result()
                except StepError as error:
                    failed = True
                    print(f"FAILED: {cell.name}: {error}", flush=True)
                else:
                    print(
                        f"{cell.name}: {result.frames} frames, tree {result.tree[:16]}, {result.versions}; "
                        f"{result.seconds:.0f} s",
                        flush=True,
                    )
    trees = {name: result.tree for name, result in results.items() if name.startswith("pins")}
    if len(set(trees.values())) > 1:
        failed = True
        said.append(f"FAILED: the pins give different frames: {trees}")
    for name, result in results.items():
        if name not in trees and trees and result.tree not in trees.values():
            said.append(f"{name}: its frames have other bytes than those of the pins, and are well")
    print("\n".join(said))
    return int(failed)


def find_pythons() -> tuple[dict[str, Path], list[str]]:
    """The interpreters by version, pyenv's before those on PATH; and those of pyenv's that do not run."""
    found: dict[str, Path] = {}
    lacking = []
    for version in (*PYTHONS, LATER):
        of_pyenv = list(_of_pyenv(version))
        on_path = shutil.which(f"python{version}")
        for python in [*of_pyenv, *([Path(on_path)] if on_path else [])]:
            if _version(python).startswith(f"{version}."):
                found[version] = python
                break
        if of_pyenv and found.get(version) not in of_pyenv:
            lacking.append(f"pyenv lists Python {version}, and {of_pyenv[0]} does not run")
    return found, lacking


def _of_pyenv(version: str) -> Iterator[Path]:
    """Newest first."""
    if shutil.which("pyenv") is None:
        return
    told = subprocess.run(["pyenv", "root"], capture_output=True, text=True, check=True)
    folders = (Path(told.stdout.strip()) / "versions").glob(f"{version}.*")
    for folder in sorted(folders, key=lambda each: [int(part) for part in re.findall(r"\d+", each.name)])[
        ::-1
    ]:
        yield folder / "bin" / "python"


def _version(python: Path) -> str:
    """As ``3.11.7``; empty if it does not run."""
    command = [str(python), "-c", "import platform; print(platform.python_version())"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except OSError:
        return ""
    return done.stdout.strip()


def plan(pythons: dict[str, Path]) -> tuple[list[Cell], list[str]]:
    """The cells, and what is missing for others."""
    cells = [
        Cell(f"pins on {version}", python, _pins(), ("--require-hashes", "--no-deps"))
        for version, python in pythons.items()
    ]
    missing = [
        f"Python {version}: there is none here" for version in (*PYTHONS, LATER) if version not in pythons
    ]
    newest = next((version for version in NEWEST if version in pythons), None)
    if newest is None:
        missing.append("the newest versions: they need Python 3.12 or later")
    else:
        ranges = "\n".join([*PROJECT["dependencies"], *READERS])
        cells.append(Cell(f"newest on {newest}", pythons[newest], ranges, highest=True))
    if OLDEST not in pythons:
        missing.append(f"the oldest versions: they need Python {OLDEST}")
    else:
        cells.append(Cell(f"oldest on {OLDEST}", pythons[OLDEST], _lowest()))
    return cells, missing


def _pins() -> str:
    """The pins of what runs, and of the readers."""
    more = []
    for block in re.split(r"\n(?=\S)", (ROOT / "requirements-test.txt").read_text()):
        if block.split("==")[0] in (*READERS, *READERS_NEED):
            more.append(block)
    return "\n".join([(ROOT / "requirements.txt").read_text(), *more])


def _lowest() -> str:
    """Each at the lower bound of its range."""
    readers = [each for each in PROJECT["optional-dependencies"]["test"] if each.split(">=")[0] in READERS]
    return "\n".join(re.sub(r">=([\d.]+).*", r"==\1", each) for each in [*PROJECT["dependencies"], *readers])


def _check_highest(versions: dict[str, str]) -> None:
    """That the upper bounds allow no major version but what was installed, so is tested here."""
    for each in PROJECT["dependencies"]:
        name, limit = re.fullmatch(r"([\w-]+)>=[\d.]+,<(\d+)", each).groups()  # type: ignore[union-attr]
        if int(versions[name].split(".")[0]) != int(limit) - 1:
            raise StepError(f"{each} allows more than is tested: pip took {versions[name]}")


def _tree(folder: Path) -> tuple[str, int]:
    """A hash of all names and contents below a folder, and how many files there are."""
    digest = hashlib.sha256()
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in paths:
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{content} {path.relative_to(folder).as_posix()}\n".encode())
    return digest.hexdigest(), len(paths)


def _step(name: str, command: list[str]) -> str:
    """What a command prints, in the repository.

    Raises:
        StepError: it failed.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise StepError(f"{name} does not end: {command}") from error
    if done.returncode:
        last = "\n    ".join((done.stdout + done.stderr).splitlines()[-15:])
        raise StepError(f"{name} ({' '.join(command)}) ended with {done.returncode}:\n    {last}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
