"""How fast the coordinator hands out units, beside four other systems, and what a million videos take.

    python -m benchmarks.dispatch --folder /tmp --peer dask=/tmp/dask/bin/python --peer ray=...

Each peer lives in an environment of its own (``pip install`` of ``distributed``, ``ray``, ``parsl``,
``ipyparallel``) and is left out where there is none. All take turns for some rounds; ratios are of medians.
docs/benchmarks-dispatch.md is written with ``--write``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
import msgspec
from rich.console import Console

from benchmarks import dispatch_report
from benchmarks.contestants import REPOSITORY
from benchmarks.dispatch_job import JobError, Setting, run_job
from benchmarks.dispatch_million import make_tree
from benchmarks.dispatch_profile import profile
from benchmarks.dispatch_task import Listed, Peer, Results
from benchmarks.report import machine
from framefleet.common.host.layout import Layout

PEERS: Final = ("dask", "ray", "parsl", "ipyparallel")
PEER_TIMEOUT_S: Final = 300.0
MILLION_TIMEOUT_S: Final = 1800.0
PAGE: Final = REPOSITORY / "docs" / "benchmarks-dispatch.md"


def settings(units: int) -> list[Setting]:
    """What is measured of this project: at full speed with few hosts and many, and at the load of 4,000 slots
    with units of 2 s."""
    return [
        Setting("2 hosts of 16 slots", hosts=2, slots=16, units=units),
        Setting("1,000 hosts of 4 slots", hosts=1000, slots=4, units=units),
        Setting("1,000 hosts of 4 slots, units of 2 s", hosts=1000, slots=4, units=units // 2, hold_s=2.0),
    ]


def run_peer(name: str, python: Path, tasks: int) -> Peer:
    """One round of a peer: ``tasks`` no-op tasks.

    Raises:
        JobError: it failed.
    """
    # some start programs of theirs by name
    path = f"{python.parent}{os.pathsep}{os.environ.get('PATH', '')}"
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                [python, REPOSITORY / "benchmarks" / "dispatch_peers.py", name, str(tasks)],
                stdin=subprocess.DEVNULL, capture_output=True, timeout=PEER_TIMEOUT_S, cwd=folder,
                env={**os.environ, "PATH": path},
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise JobError(f"{name}: {error}") from None
    said = done.stdout.decode().strip().splitlines()
    if done.returncode or not said:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise JobError(f"{name}: exit code {done.returncode}: {' '.join(last)}")
    told = json.loads(said[-1])
    return Peer(per_s=told["tasks"] / told["seconds"], version=told["version"])


def run_million(folder: Path, videos: int) -> Listed:
    """List so many files below ``folder`` and do their job, in a process of its own.

    Raises:
        JobError: it failed.
    """
    root = Path(tempfile.mkdtemp(dir=folder, prefix="dispatch-"))
    try:
        make_tree(Layout(root).videos, videos)
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.dispatch_million", root],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=MILLION_TIMEOUT_S, cwd=REPOSITORY,
        )  # fmt: skip
        if done.returncode:
            last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise JobError(f"exit code {done.returncode}: {' '.join(last)}")
        return msgspec.json.decode(done.stdout, type=Listed)
    except subprocess.TimeoutExpired as error:
        raise JobError(str(error)) from None
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _peers(_: click.Context, __: click.Parameter, values: Sequence[str]) -> dict[str, Path]:
    peers = {}
    for value in values:
        name, _sign, python = value.partition("=")
        if name not in PEERS or not python:
            raise click.BadParameter(f"{value!r} is not NAME=PYTHON with a name of {', '.join(PEERS)}")
        peers[name] = Path(python)
    return peers


@click.command(help=__doc__)
@click.option(
    "--folder", type=click.Path(path_type=Path), default=Path(tempfile.gettempdir()), help="On a disk."
)
@click.option("--peer", "peers", multiple=True, callback=_peers, metavar="NAME=PYTHON", help="Repeatable.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--units", default=100_000, show_default=True, help="Of one round of this project.")
@click.option("--tasks", default=3000, show_default=True, help="Of one round of a peer.")
@click.option("--videos", default=1_000_000, show_default=True, help="Of the long list; 0: leave it out.")
@click.option("--profile-units", default=30_000, show_default=True, help="Of the profile; 0: leave it out.")
@click.option("--list-folder", type=click.Path(path_type=Path), default=Path("/dev/shm"), show_default=True)
@click.option("--write", is_flag=True, help=f"Write {PAGE.relative_to(REPOSITORY)}.")
def main(
    folder: Path,
    peers: dict[str, Path],
    rounds: int,
    units: int,
    tasks: int,
    videos: int,
    profile_units: int,
    list_folder: Path,
    write: bool,
) -> None:
    console = Console()
    results = Results(machine=machine(), date=f"{datetime.now(UTC):%Y-%m-%d}", rounds=rounds, tasks=tasks)
    for number in range(rounds):
        console.print(f"round {number + 1} of {rounds}", style="dim")
        for setting in settings(units):
            results.ours.setdefault(setting.title, []).append(run_job(setting, folder))
        for name in PEERS:
            if name not in peers:
                results.missing[name] = "no environment given"
            elif name not in results.missing:
                try:
                    results.peers.setdefault(name, []).append(run_peer(name, peers[name], tasks))
                except JobError as error:
                    results.missing[name] = str(error)
    if profile_units:
        console.print("with a profiler", style="dim")
        results.profile = profile(settings(profile_units)[1], folder)
    if videos:
        console.print(f"{videos:,} videos", style="dim")
        results.listed = run_million(list_folder, videos)
    dispatch_report.show(results, console)
    if write:
        PAGE.write_text(dispatch_report.page(results))
        console.print(f"written: {PAGE}")


if __name__ == "__main__":
    try:
        main()
    except JobError as error:
        print(f"framefleet: {error}", file=sys.stderr)
        sys.exit(1)
