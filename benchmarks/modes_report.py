"""Sharded and coordinated side by side: on the screen, and as docs/benchmarks-modes.md with its picture."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks.modes_results import Bound, Results, SetResults, Setup, Way, bounds
from benchmarks.plot import COLOURS, INK
from benchmarks.report import MARKS

PAGE: Final = "benchmarks-modes.md"
PICTURE: Final = "benchmarks-modes.svg"
COMPARED: Final[tuple[Way, ...]] = ("coordinated", "sharded")
BAR_COLOURS: Final = {"coordinated": COLOURS["framefleet"], "sharded": COLOURS["ffmpeg"]}
HEADER: Final = (
    "",
    "makespan, s",
    "by W/S",
    "efficiency",
    "by its own account",
    "idle",
    "idlest host",
    "instance-seconds",
)

INTRODUCTION: Final = """\
# Benchmarks: sharded against coordinated

The same videos, hosts and extraction code, in both modes: whole videos dealt out beforehand (`--mode
sharded`, as a static split of the file list does), and ranges of frames for whoever is free (`--mode
coordinated`). Written by

```
{command}
```

on {machine}, {date}, commit {commit}: {hosts}. {rounds} in which the modes take turns; medians. All runs
on a set gave the same frames, byte for byte.

- *Makespan*: from the start of the first host to the last row on disk: the hosts' own start-up counts.
- *W/S*: what the work would take if no slot ever waited: the time that the slots of one host, alone with the
  CPU time and slots of all of them ({alone}; processes that share a core take a tenth more CPU time than one
  that has it alone, whoever schedules them), were busy with the same work. It is measured, and of that host's
  own units: a schedule that cuts the work otherwise may spend a little more or less. *Efficiency*: W/S by
  makespan; *by its own account*: by the makespan that the job's summary tells, which begins with the
  coordinator.
- *Idle*: the share of the hosts' time, start-up included, in which their slots had no work: of all hosts, and
  of the one that had the most.

![Makespan of both modes by W/S]({picture})

Two jobs on the demo set, as `launch.py report --compare` draws them (of another run than the figures below):

![Slots of a coordinated job and of a sharded one](comparison.png)
"""


def lines(each: SetResults, setup: Setup, price: float | None) -> list[list[str]]:
    """A row for each mode, and one for W/S."""
    table = []
    for way in COMPARED:
        makespan_s = each.makespan_s(way)
        row = [
            way,
            f"{makespan_s:.1f}",
            f"{makespan_s / each.work_s:.2f}",
            f"{each.efficiency(way):.3f}",
            f"{each.told_efficiency(way):.3f}",
            f"{100 * each.idle(way):.0f} %",
            f"{100 * each.worst_idle(way):.0f} %",
            f"{setup.hosts * makespan_s:.0f}",
        ]
        if price is not None:
            row.append(f"{cost_of_100_hours(each, way, setup, price):.2f}")
        table.append(row)
    bound = ["W/S", f"{each.work_s:.1f}", "1.00", "1.000", "", "", "", f"{setup.hosts * each.work_s:.0f}"]
    return [*table, bound + [""] * (price is not None)]


def cost_of_100_hours(each: SetResults, way: Way, setup: Setup, price: float) -> float:
    """What a hundred hours of such footage cost in such instances, at ``price`` for each hour of one."""
    hours = setup.hosts * each.makespan_s(way) / 3600
    return hours * price * 100 * 3600 / each.footage_s


def _header(price: float | None) -> list[str]:
    return [*HEADER, *([f"100 h of footage at {price:g} an hour"] if price is not None else [])]


def show(results: Results, console: Console, *, price: float | None) -> None:
    """Print a table for each set that is complete, and the bounds."""
    complete = [each for each in results.sets if each.is_complete]
    for each in complete:
        table = Table(*_header(price), title=describe(each))
        for row in lines(each, results.setup, price):
            table.add_row(*row)
        console.print(table)
    if complete:
        table = Table("bound", "value", "limit", "")
        for bound in bounds(complete):
            table.add_row(
                bound.text, f"{bound.value:.3f}", _limit(bound), "met" if bound.met else "[red]missed"
            )
        console.print(table)


def describe(each: SetResults) -> str:
    """The set in a line."""
    share = each.longest_s / each.footage_s if each.footage_s else 0.0
    return (
        f"{each.title}: {each.videos} videos, {each.footage_s / 60:.0f} min, "
        f"the longest {100 * share:.0f} % of it"
    )


def write(results: Results, docs: Path, *, price: float | None, command: str) -> None:
    """Write the page and its picture into ``docs``."""
    complete = [each for each in results.sets if each.is_complete]
    if complete:
        docs.mkdir(parents=True, exist_ok=True)
        (docs / PAGE).write_text(page(results, complete, price=price, command=command))
        draw(complete, docs / PICTURE)


def in_short(docs: Path) -> str:
    """What the page says of each set, and its picture, for another page; nothing where there is none."""
    try:
        told = (docs / PAGE).read_text()
    except FileNotFoundError:
        return ""
    found = re.findall(r"^## ([^:\n]+): .*\n\nCoordinated is ([\d.]+) times", told, re.MULTILINE)
    sets = "; ".join(f"{name[:1].lower()}{name[1:]}: {times}" for name, times in found)
    return (
        f"Sharded against coordinated on containers has [a page of its own]({PAGE}). "
        f"By how many times coordinated\nis as fast: {sets}.\n\n"
        f"![Makespan of both modes by W/S]({PICTURE})\n"
    )


def page(results: Results, complete: Sequence[SetResults], *, price: float | None, command: str) -> str:
    """The whole page, in Markdown."""
    setup = results.setup
    counts = sorted({len(each.runs[way]) for each in complete for way in COMPARED})
    limit = "without limits" if setup.cpus is None else f"containers of {setup.cpus:g} CPU"
    slots = "slot" if setup.alone_slots == 1 else "slots"
    parts = [
        INTRODUCTION.format(
            command=command,
            machine=results.machine,
            date=results.date,
            commit=setup.commit,
            hosts=f"{setup.hosts} hosts, {limit}, {setup.slots} slot each, {setup.fps} fps",
            rounds=f"{' to '.join(map(str, dict.fromkeys([counts[0], counts[-1]])))} rounds",
            alone=f"{setup.alone_slots} {slots}",
            picture=PICTURE,
        ),
        "## Bounds\n",
        _markdown(
            ["", "value", "limit", ""],
            [[b.text, f"{b.value:.3f}", _limit(b), MARKS[b.met]] for b in bounds(complete)],
        ),
    ]
    for each in complete:
        title = describe(each)
        parts += [
            f"## {title[0].upper()}{title[1:]}\n",
            f"Coordinated is {each.gain:.2f} times as fast as sharded.\n",
            _markdown(_header(price), lines(each, setup, price)),
        ]
    return "\n".join(parts)


def draw(sets: Sequence[SetResults], path: Path) -> None:
    """A bar for each mode of each set: its makespan by W/S. SVG without a background."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    for coloured in ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"):
        mpl.rcParams[coloured] = INK
    mpl.rcParams.update({"font.size": 8, "svg.hashsalt": "framefleet", "svg.fonttype": "none"})
    figure, axes = pyplot.subplots(figsize=(7, 0.9 + 0.62 * len(sets)))
    axes.set_facecolor("none")
    axes.spines[["top", "right"]].set_visible(False)
    for offset, way in enumerate(COMPARED):
        places = [place + (offset - 0.5) * 0.36 for place in range(len(sets))]
        values = [each.makespan_s(way) / each.work_s for each in sets]
        bars = axes.barh(places, values, height=0.34, color=BAR_COLOURS[way], label=way)
        axes.bar_label(bars, [f" {value:.2f}" for value in values], color=INK)
    axes.set_yticks(range(len(sets)), [each.title for each in sets])
    axes.invert_yaxis()
    axes.axvline(1, color=INK, linewidth=0.6)
    axes.set_xlabel("makespan by W/S (1: no slot ever waits)")
    axes.legend(frameon=False, loc="lower right")
    figure.tight_layout()
    figure.savefig(path, transparent=True, metadata={"Date": None})
    pyplot.close(figure)


def _limit(bound: Bound) -> str:
    return f"at {'least' if bound.at_least else 'most'} {bound.limit:g}"


def _markdown(header: Sequence[str], table: Sequence[Sequence[str]]) -> str:
    rows = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    rows += ["| " + " | ".join(row) + " |" for row in table]
    return "\n".join(rows) + "\n"
