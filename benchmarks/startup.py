"""How long a host takes from its start to its first frame, and what it does in that time.

``python -m benchmarks.startup [--against COMMIT]`` runs a job of one host and one short video again and
again: the host is the primary, so its start holds the coordinator's too. With another commit, both take
turns, and the ratios of their medians tell what a change has brought. Writes docs/benchmarks-startup.md.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import click
import msgspec
from rich.console import Console

from benchmarks import startup_marks as marks
from benchmarks.report import machine
from framefleet.common.host.layout import ROOT_VARIABLE, Layout
from framefleet.common.job.spec import SPEC_VERSION
from framefleet.common.protocol.transport import make_keys

REPOSITORY: Final = Path(__file__).resolve().parent.parent
CLIP: Final = REPOSITORY / "assets" / "bigbuckbunny.mp4"
PAGE: Final = REPOSITORY / "docs" / "benchmarks-startup.md"
TIMEOUT_S: Final = 60.0
POLL_S: Final = 0.002
TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
PROGRAMS: Final = {
    "agent": "framefleet.worker.host",
    "coordinator": "framefleet.coordinator.__main__",
    "slot's libraries": "framefleet.worker.slots.slot_main",
}
IMPORT_RUNS: Final = 7  # the least time of each module counts: whatever disturbs adds
BOUND_S: Final = 1.0
SMALL_MS: Final = 1.5  # packages that take less are added up

INTRODUCTION: Final = """\
# Benchmarks: start-up

From the start of a host's process to its first frame written. The job has one host with {slots}, so this host
is the last one up and the primary too: its coordinator starts with it, on the same cores. The video is the
demo clip (1280x720, H.264). Written by

```
{command}
```

on {machine}: medians of {rounds} rounds{turns}. Modules were compiled
beforehand, as they are in the image.

**First frame after {first_s:.2f} s** (the quickest round: {best_s:.2f} s; the bound is {bound:g} s), for
{cpu_s:.2f} CPU seconds of all processes together, which is what counts on a host with a fraction of a CPU: a
quarter of one takes at least {quarter_s:.1f} s.
"""

BREAKDOWN: Final = """\
## Who is where, and when

Milliseconds since the host's start, and the CPU milliseconds that the process in question has used until
then. The "libraries" are the process that slots are forked from: it loads PyAV, OpenCV and numpy once.
"""

IMPORTS: Final = """\
## Imports

Milliseconds in the modules of each package, by `-X importtime`, the least of {runs} runs for each module;
before them come {bare:.0f} ms for an interpreter that imports nothing. All three programs start at the same
time. """


@dataclass(frozen=True)
class Start:
    """One start: its marks, with times since the process's start (seconds), and the CPU of all processes."""

    marks: Sequence[marks.Mark]
    cpu_s: float

    @property
    def first_frame_s(self) -> float:
        return next(mark.at for mark in self.marks if mark.label == marks.LAST)


def start_once(tree: Path, compiled: Path, *, slots: int) -> Start:
    """Start a host of the checkout ``tree``, its compiled modules in ``compiled``; end it after its first
    frame.
        Raises:
            click.ClickException: there was none.
    """
    with tempfile.TemporaryDirectory() as name, _port() as port:
        folder = Path(name)
        layout = _make_job(folder / "host", port, slots)
        hooks, told = folder / "hooks", folder / "marks"
        hooks.mkdir()
        marks.install(hooks)
        environment = _environment(tree, compiled, hooks)
        environment |= {ROOT_VARIABLE: str(layout.root), marks.MARKS_VARIABLE: str(told)}
        with (folder / "log").open("wb") as log:
            begun = time.monotonic()
            host = subprocess.Popen(
                [sys.executable, "-m", "framefleet.worker"],
                cwd=tree, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip
        try:
            while time.monotonic() < begun + TIMEOUT_S and host.poll() is None:
                cpu_s, reached = _cpu_of_session(host.pid), marks.read(told)
                if any(mark.label == marks.LAST for mark in reached):
                    return Start(
                        [msgspec.structs.replace(mark, at=mark.at - begun) for mark in reached], cpu_s
                    )
                time.sleep(POLL_S)
            last = (folder / "log").read_text(errors="replace").splitlines()[-1:]
            raise click.ClickException(f"a host of {tree} wrote no frame: {''.join(last) or 'no words'}")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(host.pid, signal.SIGKILL)
            host.wait()


def _make_job(root: Path, port: int, slots: int) -> Layout:
    """The tree of a host. The specification holds what every version knows."""
    layout = Layout(root)
    for path in (layout.resource_config, layout.job_spec, layout.videos / CLIP.name):
        path.parent.mkdir(parents=True)
    layout.output.mkdir()
    layout.resource_config.write_text(json.dumps({"current_host": "algo-1", "hosts": ["algo-1"]}))
    shutil.copy(CLIP, layout.videos)
    spec = {
        "job_id": "start-up",
        "version": SPEC_VERSION,
        "endpoint": f"tcp://127.0.0.1:{port}",
        "slots_per_host": slots,
        "keys": msgspec.to_builtins(make_keys()),
    }
    layout.job_spec.write_text(json.dumps(spec))
    return layout


@contextlib.contextmanager
def _port() -> Iterator[int]:
    """A free port, kept from others while it is not yet listened to."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


def _environment(tree: Path, compiled: Path, *before: Path) -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    paths = os.pathsep.join(str(path) for path in (*before, tree))
    return environment | {"PYTHONPATH": paths, "PYTHONPYCACHEPREFIX": str(compiled)}


def _cpu_of_session(leader: int) -> float:
    """CPU seconds of the processes in a session, and of those that they have waited for."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()  # from field 3 of proc(5) on
            if int(fields[3]) == leader:
                ticks += sum(int(field) for field in fields[11:15])
    return ticks / TICKS_PER_S


def imports_of(module: str, tree: Path, compiled: Path) -> dict[str, float]:
    """Milliseconds in the modules of each package that loading ``module`` loads."""
    least: dict[str, float] = {}
    for _ in range(IMPORT_RUNS):
        run = subprocess.run(
            [sys.executable, "-X", "importtime", "-c", f"import {module}"],
            cwd=tree, env=_environment(tree, compiled), capture_output=True, text=True, check=False,
        )  # fmt: skip
        if run.returncode:
            return {}  # this version has no such module
        for line in run.stderr.splitlines():
            own, _, name = line.removeprefix("import time:").split("|")
            if own.strip().isdigit():
                known = least.get(name.strip(), float("inf"))
                least[name.strip()] = min(known, int(own) / 1000)
    packages: dict[str, float] = {}
    for name, own_ms in least.items():
        package = name.partition(".")[0]
        if package in sys.stdlib_module_names or package.startswith("_") or package == "sitecustomize":
            package = "Python's own"
        packages[package] = packages.get(package, 0.0) + own_ms
    return packages


def bare_interpreter_ms() -> float:
    """The least time that an interpreter takes for nothing."""
    times = []
    for _ in range(IMPORT_RUNS):
        begun = time.monotonic()
        subprocess.run([sys.executable, "-c", ""], check=True)
        times.append(time.monotonic() - begun)
    return 1000 * min(times)


@contextlib.contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """Another commit of this repository, in a folder of its own for as long as it is needed."""
    with tempfile.TemporaryDirectory() as name:
        tree = Path(name) / "tree"
        git = ["git", "-C", str(REPOSITORY), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(tree), commit], check=True)
        try:
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)


def breakdown(rounds: Sequence[Start]) -> dict[tuple[str, str], tuple[float, float]]:
    """For each point (role, label) that all rounds have: median milliseconds since the start, and of CPU."""
    seen: dict[tuple[str, str], list[marks.Mark]] = {}
    for one in rounds:
        first: dict[tuple[str, str], marks.Mark] = {}
        for mark in one.marks:
            first.setdefault((mark.role, mark.label), mark)
        for point, mark in first.items():
            seen.setdefault(point, []).append(mark)
    table = {
        point: (1000 * median(mark.at for mark in found), 1000 * median(mark.cpu_s for mark in found))
        for point, found in seen.items()
        if len(found) == len(rounds)
    }
    return dict(sorted(table.items(), key=lambda item: item[1][0]))


def page(
    rounds: Mapping[str, Sequence[Start]],
    imports: Mapping[str, Mapping[str, Mapping[str, float]]],
    *,
    bare_ms: float,
    slots: int,
    command: str,
) -> str:
    """The page in Markdown. The first of ``rounds`` and ``imports`` is this version, a second another."""
    names = list(rounds)
    ours = rounds[names[0]]
    first_s = {name: median(one.first_frame_s for one in starts) for name, starts in rounds.items()}
    cpu_s = {name: median(one.cpu_s for one in starts) for name, starts in rounds.items()}
    now = names[0]
    parts = [
        INTRODUCTION.format(
            slots="one slot" if slots == 1 else f"{slots} slots",
            command=command,
            machine=machine(),
            rounds=len(ours),
            turns=f", taking turns with {names[1]}" if len(names) > 1 else "",
            first_s=first_s[now],
            best_s=min(one.first_frame_s for one in ours),
            bound=BOUND_S,
            cpu_s=cpu_s[now],
            quarter_s=4 * cpu_s[now],
        )
    ]
    if len(names) > 1:
        before = names[1]
        parts.append(
            f"Against {before}: {first_s[now] / first_s[before]:.2f} of the time "
            f"({first_s[before]:.2f} s then), {cpu_s[now] / cpu_s[before]:.2f} of the CPU time "
            f"({cpu_s[before]:.2f} s then).\n"
        )
    parts.append(BREAKDOWN)
    tables = {name: breakdown(starts) for name, starts in rounds.items()}
    header = ["process", "point", *(f"{name}, ms | CPU ms" for name in names)]
    lines = [_row(header), "|---" * (2 + 2 * len(names)) + "|"]
    for role, label in tables[now]:
        cells = []
        for name in names:
            at = tables[name].get((role, label))
            cells.append(f"{at[0]:.0f} | {at[1]:.0f}" if at else " | ")
        lines.append(_row([role, label, *cells]))
    parts.append("\n".join(lines) + "\n")
    parts.append(IMPORTS.format(runs=IMPORT_RUNS, bare=bare_ms))
    for name in names:
        lines = [_row([name, *PROGRAMS]), "|---" * (1 + len(PROGRAMS)) + "|"]
        lines += [_row(cells) for cells in _import_rows(imports[name])]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _import_rows(imports: Mapping[str, Mapping[str, float]]) -> Iterator[list[str]]:
    most = {
        package: max(imports[program].get(package, 0.0) for program in PROGRAMS)
        for program in PROGRAMS
        for package in imports[program]
    }
    large = sorted((package for package in most if most[package] >= SMALL_MS), key=lambda p: -most[p])
    for package in large:
        yield [package, *(_ms(imports[program].get(package, 0.0)) for program in PROGRAMS)]
    rest = [sum(ms for p, ms in imports[program].items() if p not in large) for program in PROGRAMS]
    yield ["others", *map(_ms, rest)]
    yield ["**all**", *(f"**{sum(imports[program].values()):.0f}**" for program in PROGRAMS)]


def _ms(value: float) -> str:
    return f"{value:.1f}" if value else ""


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


@click.command()
@click.option("--rounds", type=click.IntRange(1), default=9, show_default=True)
@click.option("--slots", type=click.IntRange(1), default=1, show_default=True, help="Slots of the host.")
@click.option("--against", metavar="COMMIT", help="Another commit, to take turns with.")
@click.option("--page", "target", type=click.Path(path_type=Path), default=PAGE, help="What to write.")
def main(rounds: int, slots: int, against: str | None, target: Path) -> None:
    """From a host's start to its first frame, step by step."""
    console = Console()
    with contextlib.ExitStack() as resources:
        compiled = Path(resources.enter_context(tempfile.TemporaryDirectory()))
        trees = {"now": REPOSITORY}
        if against:
            trees[f"commit {against[:7]}"] = resources.enter_context(checkout(against))
        starts: dict[str, list[Start]] = {name: [] for name in trees}
        for number in range(rounds + 1):
            for place, (name, tree) in enumerate(trees.items()):
                one = start_once(tree, compiled / str(place), slots=slots)
                if number:  # the round before the first one compiles
                    starts[name].append(one)
                    console.print(f"{name}: first frame {one.first_frame_s:.2f} s, CPU {one.cpu_s:.2f} s")
        imports = {
            name: {
                program: imports_of(module, tree, compiled / str(place))
                or imports_of("framefleet.worker.__main__", tree, compiled / str(place))
                for program, module in PROGRAMS.items()
            }
            for place, (name, tree) in enumerate(trees.items())
        }
    command = "python -m benchmarks.startup" + (f" --against {against}" if against else "")
    target.write_text(page(starts, imports, bare_ms=bare_interpreter_ms(), slots=slots, command=command))
    console.print(f"written: {target}")


if __name__ == "__main__":
    main()
