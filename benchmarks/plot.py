"""The picture of docs/benchmarks.md: how many times our CPU time each contestant takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from benchmarks import clips
from benchmarks.contestants import FLOOR, OURS
from benchmarks.results import FFMPEGS, Cell, Results

INK: Final = "#7d8590"  # readable on white and on black
COLOURS: Final = {
    "framefleet": "#2f81f7",
    "ffmpeg": "#d29922",
    "ffmpeg-seek": "#9e6a03",
    "opencv-read": "#8957e5",
    "opencv-grab": "#a371f7",
    "opencv-seek": "#6e40c9",
    "pyav": "#3fb950",
    "decord": "#f85149",
    "torchcodec": "#db61a2",
}
CLIPPED: Final = 6.0  # times our time; longer bars are cut, with their figure


def draw(results: Results, path: Path) -> None:
    """Draw a row for each clip and a column for each sampling, as SVG without a background."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    mpl.rcParams.update(
        {
            "text.color": INK,
            "axes.labelcolor": INK,
            "axes.edgecolor": INK,
            "xtick.color": INK,
            "ytick.color": INK,
            "font.size": 8,
            "svg.hashsalt": "framefleet",
            "svg.fonttype": "none",
        }
    )
    known = {(cell.clip, cell.sampling): cell for cell in results.cells}
    samplings = list(dict.fromkeys(cell.sampling for cell in results.cells))
    rows = [name for name in clips.CLIPS if any(clip == name for clip, _ in known)]
    figure, grid = pyplot.subplots(
        len(rows), len(samplings), figsize=(2.4 * len(samplings), 1.7 * len(rows)), squeeze=False, sharex=True
    )
    for row, clip in enumerate(rows):
        for column, sampling in enumerate(samplings):
            axes = grid[row][column]
            axes.set_facecolor("none")
            axes.spines[["top", "right"]].set_visible(False)
            axes.set_xlim(0, CLIPPED)
            if row == 0:
                axes.set_title(sampling, color=INK)
            if column == 0:
                axes.set_ylabel(clip)
            cell = known.get((clip, sampling))
            if cell is not None:
                _bars(axes, cell)
    figure.supxlabel("CPU time by ours, net of start-up", color=INK)
    figure.tight_layout()
    figure.savefig(path, transparent=True, metadata={"Date": None})
    pyplot.close(figure)


def _bars(axes: Any, cell: Cell) -> None:
    names = [OURS, *(name for name in cell.others if not cell.measured[name].objection)]
    times = [1 / cell.ratio(name, net=True) for name in names]
    colours = [COLOURS["ffmpeg" if name in FFMPEGS else name] for name in names]
    bars = axes.barh(range(len(names)), [min(time, CLIPPED) for time in times], color=colours)
    axes.bar_label(
        bars,
        [f" {name} {time:.2f}" for name, time in zip(names, times, strict=True)],
        fontsize=6,
        color=INK,
        padding=-1,
        label_type="edge",
    )
    axes.set_yticks([])
    axes.invert_yaxis()
    axes.axvline(1, color=INK, linewidth=0.6)
    if FLOOR in cell.measured and cell.measured[FLOOR].floor_s:
        axes.axvline(1 / cell.ratio(FLOOR, net=True), color=INK, linewidth=0.6, linestyle=":")
