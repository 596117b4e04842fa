"""The results as a table on the screen, and as docs/benchmarks.md with its picture."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks import clips, plot
from benchmarks.contestants import FLOOR, OURS, contestants
from benchmarks.results import FAR, Bound, Cell, Results, bounds

PICTURE: Final = "benchmarks-extraction.svg"
MARKS: Final = {True: "met", False: "**missed**"}

INTRODUCTION: Final = """\
# Benchmarks: extraction

CPU seconds (user and system) for the same frames of the same video, one process pinned to one core.
Written by

```
{command}
```

on {machine}, {dates}. The numbers in the tables are **our time divided by theirs** (below 1: we are
faster), ratios of medians of {rounds} rounds in which all take turns (those that take over {far} times
our time have one), without the programs' start-up (loading Python and modules, and what is left
for a video of one small frame); with start-up in parentheses. JPEG quality is 95, and `-q:v 2` for
ffmpeg. Before anything is timed, what each takes is compared with the definition of sampling: who takes other
frames is marked †. Our frames are compared with those of plain decoding, pixel by pixel: {exact}.

Clips: {clips}, at 30 frames a second. {scenes}
"""

REAL: Final = (
    "They are joined from eleven scenes (camera, film, animation) of nine real videos of 360 to 1080 lines, "
    "scaled to 1080p, so they hold less detail than footage of that size; the 2160p clip shows four at once."
)
DEMO: Final = (
    "They show one scene and its mirror image, as no folder of real clips was there: a poor mixture."
)


def machine() -> str:
    """The processor, the system and Python, in a few words."""
    model = "unknown processor"
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].partition(":")[2].strip() if lines else model
    system = f"{platform.system()} {platform.release()}"
    return f"{model}, {os.cpu_count()} cores, {system}, Python {platform.python_version()}"


def titles() -> dict[str, str]:
    """What contestants are called, by name, whether they can run here or not."""
    return {name: one.title for name, one in contestants(torchcodec_python=Path("python")).items()}


def by_clip(results: Results) -> Iterator[tuple[clips.Clip, list[Cell]]]:
    """The cells of each clip, in the order in which clips and samplings are known."""
    for clip in clips.CLIPS.values():
        cells = [cell for cell in results.cells if cell.clip == clip.name]
        if cells:
            yield clip, cells


def show(results: Results, console: Console) -> None:
    """Print a table for each clip, and the bounds."""
    for clip, cells in by_clip(results):
        table = Table(title=f"{clip.title}: our CPU time / theirs, net of start-up (with it)")
        table.add_column("")
        for cell in cells:
            table.add_column(cell.sampling, justify="right")
        for row in rows(cells):
            table.add_row(*row)
        console.print(table)
    table = Table("bound", "value", "with start-up", "limit", "")
    for bound in bounds(results):
        values = (_number(bound.value), _number(bound.gross), _limit(bound))
        table.add_row(bound.text, *values, "met" if bound.met else "[bold red]missed")
    console.print(table)


def rows(cells: Sequence[Cell]) -> Iterator[list[str]]:
    """A row for us (CPU seconds), and one for each other contestant (ratios)."""
    names = titles()
    yield [
        "Framefleet, CPU s",
        *(f"{cell.cpu_s(OURS, net=True):.2f} ({cell.cpu_s(OURS, net=False):.2f})" for cell in cells),
    ]
    for name, title in names.items():
        if name != OURS and any(name in cell.measured for cell in cells):
            yield [title, *(_ratio(cell, name) for cell in cells)]


def write(results: Results, docs: Path, *, modes: str) -> None:
    """Write the page and its picture into ``docs``; ``modes``: the page on both modes in short."""
    if results.cells:
        plot.draw(results, docs / PICTURE)
        (docs / "benchmarks.md").write_text(page(results, modes=modes))


def page(results: Results, *, modes: str = "") -> str:
    """The whole page, in Markdown; ``modes``: the other page in short."""
    rounds = sorted({len(cell.measured[OURS].cpu_s) for cell in results.cells})
    dates = sorted({cell.date for cell in results.cells})
    wrong = [f"{cell.clip}, {cell.sampling}" for cell in results.cells if cell.exact is False]
    parts = [
        INTRODUCTION.format(
            command="python -m benchmarks.extraction",
            machine=results.machine,
            dates=" to ".join(dict.fromkeys([dates[0], dates[-1]])),
            rounds=" to ".join(str(number) for number in dict.fromkeys([rounds[0], rounds[-1]])),
            far=FAR,
            exact=f"**not equal in {'; '.join(wrong)}**" if wrong else "they are equal, all of them",
            clips="; ".join(
                f"{clip.title}, `{' '.join(clip.encoder)}`, {clip.frames / clips.FPS:.0f} s"
                for clip, _ in by_clip(results)
            ),
            scenes=REAL if results.real_scenes else DEMO,
        ),
        f"![CPU time of each contestant by ours]({PICTURE})\n",
        *([modes] if modes else []),
        "## Bounds\n",
        _markdown(
            ["", "value", "with start-up", "limit", ""],
            [
                [bound.text, _number(bound.value), _number(bound.gross), _limit(bound), MARKS[bound.met]]
                for bound in bounds(results)
            ],
        ),
    ]
    for clip, cells in by_clip(results):
        parts.append(f"## {clip.title}\n")
        parts.append(_markdown(["", *(cell.sampling for cell in cells)], list(rows(cells))))
        parts += [f"† {remark}\n" for remark in dict.fromkeys(_remarks(cells))]
        parts.append(_markdown(*_shares(cells)))
    parts.append("## Images\n\nSize, and likeness to the decoded frame in the worst of those looked at.\n")
    parts.append(_markdown(*_images(results)))
    parts.append("## Versions\n")
    known = titles()
    parts.append(
        _markdown(
            ["", "version"],
            [
                [known[name], version]
                for name, version in results.versions.items()
                if name in known and version
            ],
        )
    )
    return "\n".join(parts)


def _ratio(cell: Cell, name: str) -> str:
    measured = cell.measured.get(name)
    if measured is None:
        return ""
    if not measured.images:
        return "fails †"
    text = f"{cell.ratio(name, net=True):.2f}"
    if name != FLOOR:
        text += f" ({cell.ratio(name, net=False):.2f})"
    return f"{text} †" if measured.objection else text


def _remarks(cells: Sequence[Cell]) -> Iterator[str]:
    names = titles()
    for cell in cells:
        for name, measured in cell.measured.items():
            if measured.objection:
                yield f"{names[name]}, {cell.sampling}: {measured.objection}"


def _shares(cells: Sequence[Cell]) -> tuple[list[str], list[list[str]]]:
    """Where our time goes, by what the floor's program measured of each step alone."""
    header = ["our CPU time, per cent", *(cell.sampling for cell in cells)]
    steps = [_steps(cell) for cell in cells]
    table = [
        [title, *(f"{share[title]:.1f}" if share else "" for share in steps)]
        for title in next((share for share in steps if share), {})
    ]
    return header, table


def _steps(cell: Cell) -> dict[str, float]:
    """Per cent of our CPU time that each step takes; nothing if the floor was not measured."""
    floor = cell.measured.get(FLOOR)
    if floor is None or not floor.costs:
        return {}
    total_s = cell.cpu_s(OURS, net=True)
    shares = {
        title: 100 * floor.costs[key] / total_s
        for title, key in (
            ("decoding", "decode_s"),
            ("converting", "convert_s"),
            ("encoding", "encode_s"),
            ("hashing and writing", "write_s"),
        )
    }
    shares["probing before"] = 100 * cell.measured[OURS].costs.get("probe_s", 0.0) / total_s
    shares["the rest: reading, planning, Python"] = 100 - sum(shares.values())
    return shares


def _images(results: Results) -> tuple[list[str], list[list[str]]]:
    table = []
    names = titles()
    for clip, cells in by_clip(results):
        cell = cells[0]
        for name, measured in cell.measured.items():
            if measured.images and name != FLOOR:
                size = f"{measured.mean_bytes / 1000:.0f} kB"
                table.append(
                    [f"{clip.title}, {cell.sampling}", names[name], size, f"{measured.min_psnr_db:.1f} dB"]
                )
    return ["", "", "mean size", "PSNR"], table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _limit(bound: Bound) -> str:
    return f"at {'least' if bound.at_least else 'most'} {bound.limit:g}"


def _markdown(header: Sequence[str], table: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in table]
    return "\n".join(lines) + "\n"
