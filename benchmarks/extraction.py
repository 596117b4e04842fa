"""CPU seconds for the same frames: this project, ffmpeg, and the Python libraries, on one core.

    python -m benchmarks.extraction --folder /tmp/bench --torchcodec-python /tmp/other/bin/python

The clips are made first (minutes), once. Each cell is a clip and a sampling: all contestants extract it
once, which shows whether they take the same frames; those that are near then take turns in further rounds.
Results are kept in the folder, cell by cell, so that a part can be measured again; docs/benchmarks.md and its
picture are written from them.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import clips, measure, modes_report, report
from benchmarks.agreement import Reference, agreement, differing, read_reference
from benchmarks.contestants import FLOOR, OURS, Contestant, contestants
from benchmarks.measure import Run, RunError, fresh
from benchmarks.results import FAR, FFMPEGS, Cell, Measured, Results, TwoSlots, load, save
from benchmarks.task import Task

SAMPLINGS: Final = ("5 fps", "1 fps", "0.1 fps", "keyframes", "1 fps, 256")
RATES: Final = {"5 fps": "5", "1 fps": "1", "0.1 fps": "1/10", "keyframes": None, "1 fps, 256": "1"}
SHORT_SIDE: Final = 256
START_UP_ROUNDS: Final = 3
QUICK: Final = "h264:1 fps"
QUICK_CONTESTANTS: Final = (OURS, FLOOR, "ffmpeg", "opencv-grab", "decord")


@dataclass(frozen=True)
class Bench:
    """Where and with whom to measure."""

    folder: Path
    field: Mapping[str, Contestant]
    rounds: int
    core: int
    console: Console
    start_up_s: Mapping[str, float]


def task_of(clip: clips.Clip, path: Path, sampling: str, folder: Path) -> Task:
    """The task of a cell."""
    task = Task(video=str(path), folder=str(folder), rate=RATES[sampling])
    if sampling.endswith("256"):
        width, height = clip.size
        return replace(task, short=SHORT_SIDE, size=(round(SHORT_SIDE * width / height), SHORT_SIDE))
    return task


def run(bench: Bench, contestant: Contestant, task: Task) -> Run:
    """One run, into the task's folder, which is emptied before."""
    fresh(Path(task.folder))
    return measure.run(contestant.command(task), bench.core)


def started(bench: Bench) -> Bench:
    """The bench with those contestants that can make an image of a video of one small frame, and what
    that costs."""
    path = clips.make(clips.START_UP, clips.material(), bench.folder)
    task = Task(video=str(path), folder=str(bench.folder / "images"), rate="1/10")
    found = {}
    for name, contestant in bench.field.items():
        try:
            found[name] = median(loaded_s(run(bench, contestant, task)) for _ in range(START_UP_ROUNDS))
        except RunError as error:
            bench.console.print(f"{name} is left out: {error}")
    field = {name: contestant for name, contestant in bench.field.items() if name in found}
    return replace(bench, field=field, start_up_s=found)


def loaded_s(done: Run) -> float:
    """CPU seconds since all modules were loaded, if the program tells when that was."""
    start_s: float = done.told.get("start_s", 0.0)
    return done.cpu_s - start_s


def look(
    bench: Bench, sampling: str, task: Task, reference: Reference
) -> tuple[bool | None, dict[str, Measured]]:
    """Who takes which frames, and what that cost: the first round.

    Also whether our pixels are exact; None: not asked, as they are resized.
    """
    exact = None
    if task.size is None:
        lossless = replace(task, lossless=True)
        run(bench, bench.field[OURS], lossless)
        exact = not differing(reference, sampling, lossless)
    found = {}
    for name, contestant in bench.field.items():
        if not contestant.can(task):
            continue
        try:
            done = run(bench, contestant, task)
        except RunError as error:
            found[name] = Measured(objection=f"fails: {error}")
            continue
        seen = agreement(reference, sampling, task, done.told)
        found[name] = Measured(
            images=seen.images,
            mean_bytes=seen.mean_bytes,
            min_psnr_db=seen.min_psnr_db,
            objection=seen.objection,
        )
        note(found[name], done, bench.start_up_s[name])
    return exact, found


def note(measured: Measured, done: Run, start_up_s: float) -> None:
    """Add a run to what is known of a contestant, and what is left without its ``start_up_s``."""
    measured.cpu_s.append(done.cpu_s)
    measured.net_s.append(loaded_s(done) - start_up_s)
    measured.wall_s.append(done.wall_s)
    measured.costs = done.told.get("costs", {})
    if "floor_s" in measured.costs:
        measured.floor_s.append(measured.costs["floor_s"])


def near(measured: Mapping[str, Measured]) -> list[str]:
    """Who has more rounds: ours, the floor, ffmpeg's better dress, and those that are not far."""
    known = {name: one.cpu_s[0] for name, one in measured.items() if one.cpu_s}
    ffmpeg = min((name for name in FFMPEGS if name in known), key=lambda name: known[name], default=None)
    return [
        name
        for name, cpu_s in known.items()
        if name in (OURS, FLOOR, ffmpeg) or (name not in FFMPEGS and cpu_s <= FAR * known[OURS])
    ]


def measure_rounds(bench: Bench, task: Task, measured: Mapping[str, Measured], progress: Progress) -> None:
    """The rounds behind the first one."""
    names = near(measured)
    bar = progress.add_task("", total=(bench.rounds - 1) * len(names))
    for number in range(1, bench.rounds):
        for name in names:
            progress.update(bar, description=f"  round {number + 1}: {name}")
            note(measured[name], run(bench, bench.field[name], task), bench.start_up_s[name])
            progress.advance(bar)
    progress.remove_task(bar)


def two_slots(bench: Bench, path: Path, rounds: int) -> TwoSlots:
    """One of our slots alone, and two at once on two cores, in turn; each does the whole clip at 5 fps.

    Raises:
        RunError: one of them failed.
    """
    cores = sorted(os.sched_getaffinity(0))[:2]
    tasks = [task_of(clips.CLIPS["h264"], path, "5 fps", bench.folder / f"images-{core}") for core in cores]
    one_s, two_s = [], []
    for _ in range(rounds):
        for task in tasks:
            fresh(Path(task.folder))
        commands = [bench.field[OURS].command(task) for task in tasks]
        one_s.append(measure.run_at_once(commands[:1], cores[:1])[1])
        for task in tasks:
            fresh(Path(task.folder))
        two_s.append(measure.run_at_once(commands, cores)[1])
    return TwoSlots(clip="h264", sampling="5 fps", one_s=one_s, two_s=two_s)


def measure_all(bench: Bench, cells: Sequence[tuple[str, str]], results: Results, kept: Path) -> None:
    """Measure the cells (clip and sampling), clip by clip, keeping each when it is done."""
    source = clips.material()
    results.real_scenes = source.is_real
    results.machine = report.machine()
    results.versions = {name: contestant.version() for name, contestant in bench.field.items()}
    with Progress(
        TextColumn("{task.description:<28}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=bench.console,
    ) as progress:
        bar = progress.add_task("start-up", total=len(cells))
        bench = started(bench)
        for clip_name in dict.fromkeys(clip for clip, _ in cells):
            clip = clips.CLIPS[clip_name]
            progress.update(bar, description=f"{clip_name}: making, decoding")
            path = clips.make(clip, source, bench.folder)
            tasks = {
                sampling: task_of(clip, path, sampling, bench.folder / "images")
                for name, sampling in cells
                if name == clip_name
            }
            reference = read_reference(path, tasks)
            for sampling, task in tasks.items():
                progress.update(bar, description=f"{clip_name}, {sampling}")
                exact, measured = look(bench, sampling, task, reference)
                measure_rounds(bench, task, measured, progress)
                cell = Cell(
                    clip=clip_name,
                    sampling=sampling,
                    date=datetime.now(UTC).date().isoformat(),
                    commit=results.versions[OURS],
                    exact=exact,
                    measured=measured,
                )
                results.put(cell)
                save(kept, results)
                progress.advance(bar)


def chosen_cells(text: str | None) -> list[tuple[str, str]]:
    """Cells by ``--cells``: ``clip:sampling`` or ``clip``, separated by semicolons; None: all.

    Raises:
        click.BadParameter: there is no such clip or sampling.
    """
    found = []
    for part in (text or ";".join(clips.CLIPS)).split(";"):
        clip, _, sampling = part.strip().partition(":")
        if clip not in clips.CLIPS or (sampling and sampling not in SAMPLINGS):
            known = f"clips are {', '.join(clips.CLIPS)}; samplings are {' | '.join(SAMPLINGS)}"
            raise click.BadParameter(f"no cell {part.strip()!r}: {known}", param_hint="--cells")
        found += [(clip, name) for name in SAMPLINGS if not sampling or name == sampling]
    return found


def chosen_field(text: str | None, field: Mapping[str, Contestant]) -> dict[str, Contestant]:
    """Contestants by ``--contestants``: names separated by commas; None: all. Ours is always among them.

    Raises:
        click.BadParameter: there is none of such a name.
    """
    names = [name.strip() for name in text.split(",")] if text else list(field)
    for name in names:
        if name not in field:
            raise click.BadParameter(
                f"no contestant {name!r}: there are {', '.join(field)}", param_hint="--contestants"
            )
    return {name: contestant for name, contestant in field.items() if name in {*names, OURS}}


@click.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default="build/benchmarks",
    show_default=True,
    help="For clips, images and results.",
)
@click.option("--cells", help="'clip:sampling' or 'clip', separated by ';' (all).")
@click.option("--contestants", "wanted", help="Names separated by ',' (all).")
@click.option(
    "--repeats", type=click.IntRange(min=1), default=5, show_default=True, help="Rounds of measuring."
)
@click.option("--core", type=int, default=None, help="The core to measure on (the last one).")
@click.option(
    "--torchcodec-python",
    type=click.Path(exists=True, path_type=Path),
    help="A Python interpreter that has torchcodec.",
)
@click.option("--quick", is_flag=True, help="One cell, few contestants, one round; the documents stay.")
@click.option("--no-measuring", is_flag=True, help="Write the documents from what is kept.")
@click.option("--two-slots/--no-two-slots", "slots", default=True, help="Measure two slots against one too.")
def main(
    folder: Path,
    cells: str | None,
    wanted: str | None,
    repeats: int,
    core: int | None,
    torchcodec_python: Path | None,
    quick: bool,
    no_measuring: bool,
    slots: bool,
) -> None:
    """Measure extraction against other tools, and write docs/benchmarks.md."""
    console = Console()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    kept = folder / ("quick.json" if quick else "results.json")
    results = Results() if quick else load(kept)
    if not no_measuring:
        known = contestants(torchcodec_python=torchcodec_python)
        bench = Bench(
            folder=folder.resolve(),
            field=chosen_field(wanted or (",".join(QUICK_CONTESTANTS) if quick else None), known),
            rounds=1 if quick else repeats,
            core=max(os.sched_getaffinity(0)) if core is None else core,
            console=console,
            start_up_s={},
        )
        try:
            measure_all(bench, chosen_cells(cells or (QUICK if quick else None)), results, kept)
            if slots and not quick:
                path = clips.make(clips.CLIPS["h264"], clips.material(), bench.folder)
                results.two_slots = two_slots(bench, path, repeats)
        except KeyboardInterrupt:
            console.print("interrupted; the cells measured so far are kept")
            sys.exit(130)
        save(kept, results)
    report.show(results, console)
    if not quick:
        docs = clips.REPOSITORY / "docs"
        report.write(results, docs, modes=modes_report.in_short(docs))


if __name__ == "__main__":
    main()
