"""What packing costs: the same job with loose files and with shards, in turn, by CPU time and by the clock.

``python -m benchmarks.packing`` runs ``launch.py`` as a user does, the merge of the hosts' outputs included.
"""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final, NamedTuple

import click

from benchmarks.report import machine
from framefleet.common.status import Summary
from framefleet.launcher.demo import make_demo_set
from framefleet.launcher.read_account import read_summary

REPOSITORY: Final = Path(__file__).resolve().parents[1]
PR_SET_CHILD_SUBREAPER: Final = 36
WAYS: Final = ("loose", "tar", "parquet")
LENGTHS_S: Final = (200, 60, 40)  # at 5 fps some 420 MB of images: more than one shard


class Run(NamedTuple):
    """``cpu_s``: user and system seconds of all processes of the job; ``wall_s``: from start to exit."""

    cpu_s: float
    wall_s: float
    summary: Summary


def run_once(source: Path, output: Path, way: str, arguments: list[str]) -> Run:
    """One job; its output is removed again."""
    shutil.rmtree(output, ignore_errors=True)
    command = [sys.executable, "launch.py", "--input", str(source), "--output", str(output), *arguments]
    if way != "loose":
        command += ["--pack", way]
    before, begun = _children_cpu_s(), time.monotonic()
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    wall_s = time.monotonic() - begun
    _reap_orphans()
    cpu_s = _children_cpu_s() - before
    summary = read_summary(output / "job" / "summary.json")
    if done.returncode or summary is None:
        raise click.ClickException(f"{' '.join(command)} failed: {done.stdout}{done.stderr}")
    shutil.rmtree(output)
    return Run(cpu_s, wall_s, summary)


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _reap_orphans() -> None:
    """Wait for what the job's processes have left to this one: only then does their time count."""
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


@click.command()
@click.option("--rounds", type=click.IntRange(1), default=7, show_default=True)
@click.option("--fps", default="5", show_default=True)
@click.option("--slots", type=click.IntRange(1), default=2, show_default=True)
@click.option("--resize", help="As launch.py has it.")
@click.option("--way", "ways", type=click.Choice(WAYS[1:]), multiple=True, help="Only this one.")
@click.option("--input", "source", type=click.Path(path_type=Path), help="Videos, instead of demo ones.")
def main(
    rounds: int, fps: str, slots: int, resize: str | None, ways: tuple[str, ...], source: Path | None
) -> None:
    """Run each way once in every round, the order turned by one each time; print medians, and the least CPU
    time of all rounds, which is what other work on the machine has disturbed least."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    arguments = ["--fps", fps, "--slots-per-instance", str(slots)] + (["--resize", resize] if resize else [])
    names = ["loose", *(ways or WAYS[1:])]
    runs: dict[str, list[Run]] = {way: [] for way in names}
    with tempfile.TemporaryDirectory(prefix="framefleet-packing-") as name:
        videos = source or make_demo_set(Path(name) / "in", lengths_s=LENGTHS_S)
        for number in range(rounds):
            for place in range(len(names)):
                way = names[(number + place) % len(names)]
                runs[way].append(run_once(videos, Path(name) / "out", way, arguments))
    first = runs["loose"][0].summary
    print(f"{machine()}; {' '.join(arguments)}; {first.frames:,} frames, {first.bytes / 1e6:,.0f} MB")
    heads = ("least CPU s", "to loose", "CPU s", "to loose", "wall s", "to loose")
    print(" ".join([" " * 8, *(f"{head:>11}" for head in heads)]))
    least_s = {way: min(run.cpu_s for run in runs[way]) for way in names}
    for way in names:
        cpu_s = statistics.median(run.cpu_s for run in runs[way])
        wall_s = statistics.median(run.wall_s for run in runs[way])
        # of one round, as the machine changes from round to round
        pairs = list(zip(runs[way], runs["loose"], strict=True))
        cpu = statistics.median(mine.cpu_s / loose.cpu_s for mine, loose in pairs)
        wall = statistics.median(mine.wall_s / loose.wall_s for mine, loose in pairs)
        least = least_s[way] / least_s["loose"]
        figures = (least_s[way], least, cpu_s, cpu, wall_s, wall)
        print(" ".join([f"{way:8}", *(f"{figure:11.3f}" for figure in figures)]))


if __name__ == "__main__":
    main()
