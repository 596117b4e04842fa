"""What was measured, as it is kept, and the figures that follow from it."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Final

import msgspec

from benchmarks.contestants import FLOOR, OURS

FAR: Final = 1.3  # times our time: who takes longer is measured once, as the ratio is clear
FFMPEGS: Final = ("ffmpeg", "ffmpeg-threads")  # one contestant in two dresses: the better one counts

# CPU of ffmpeg's command line that we may take, for x264's defaults at 1080p; and of the floor, anywhere
FFMPEG_BOUNDS: Final = {"5 fps": 0.72, "1 fps": 0.62, "0.1 fps": 0.27}
FFMPEG_BOUND_CLIP: Final = "h264"
FLOOR_BOUND: Final = 1.05
PEER_BOUND: Final = 1.0
TWO_SLOTS_BOUND: Final = 1.9


class Measured(msgspec.Struct, kw_only=True):
    """One contestant in one cell; the times are those of each round.

    ``net_s`` are CPU seconds without start-up: less what it used until all modules were loaded, by its own
    account, and less what the rest takes for a video of one small frame.
    ``costs`` are the CPU seconds of its steps that it told in the last round (ours and the floor do), and
    ``floor_s`` the floor's sums of each round.
    """

    cpu_s: list[float] = []
    net_s: list[float] = []
    wall_s: list[float] = []
    floor_s: list[float] = []
    costs: dict[str, float] = {}
    images: int = 0
    mean_bytes: int = 0
    min_psnr_db: float = 0.0
    objection: str = ""


class Cell(msgspec.Struct, kw_only=True):
    """One clip and one sampling, measured in one run. ``exact``: our pixels are those of plain decoding."""

    clip: str
    sampling: str
    date: str
    commit: str
    exact: bool | None
    measured: dict[str, Measured]

    def cpu_s(self, name: str, *, net: bool) -> float:
        """Median CPU seconds, with the program's start-up or (``net``) without it."""
        measured = self.measured[name]
        if name == FLOOR:
            return median(measured.floor_s)
        return median(measured.net_s if net else measured.cpu_s)

    def ratio(self, name: str, *, net: bool) -> float:
        """Our CPU time by that of another."""
        return self.cpu_s(OURS, net=net) / self.cpu_s(name, net=net)

    @property
    def ffmpeg(self) -> str | None:
        """The better of ffmpeg's two dresses."""
        found = [name for name in FFMPEGS if name in self.measured and self.measured[name].images]
        return min(found, key=lambda name: self.cpu_s(name, net=True), default=None)

    @property
    def others(self) -> list[str]:
        """All that are compared with us and were measured, the floor left out."""
        return [
            name
            for name, measured in self.measured.items()
            if name not in (OURS, FLOOR) and measured.images and (name not in FFMPEGS or name == self.ffmpeg)
        ]

    @property
    def fastest(self) -> str | None:
        """The best of the others that take the frames that are wanted."""
        agreeing = [name for name in self.others if not self.measured[name].objection]
        return min(agreeing, key=lambda name: self.cpu_s(name, net=True), default=None)


class TwoSlots(msgspec.Struct, kw_only=True):
    """Seconds of one slot alone, and of two at once on two cores, in turn."""

    clip: str
    sampling: str
    one_s: list[float]
    two_s: list[float]

    @property
    def gain(self) -> float:
        """How many times the work of one two do."""
        return 2 * median(self.one_s) / median(self.two_s)


class Results(msgspec.Struct, kw_only=True):
    """Everything; cells are replaced as they are measured again."""

    machine: str = ""
    real_scenes: bool = True
    versions: dict[str, str] = {}
    cells: list[Cell] = []
    two_slots: TwoSlots | None = None

    def put(self, cell: Cell) -> None:
        """Keep ``cell`` in the place of what was known of it."""
        for place, old in enumerate(self.cells):
            if (old.clip, old.sampling) == (cell.clip, cell.sampling):
                self.cells[place] = cell
                return
        self.cells.append(cell)


class Bound(msgspec.Struct, frozen=True):
    """One thing that must hold: ``value`` is at most ``limit``, or at least if ``at_least``.

    ``gross``: the same with the programs' start-up; None where that means nothing.
    """

    text: str
    value: float
    gross: float | None
    limit: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def bounds(results: Results) -> list[Bound]:
    """All bounds that the results can tell of."""
    found = []
    for cell in results.cells:
        where = f"{cell.clip}, {cell.sampling}"

        def against(name: str, text: str, limit: float, cell: Cell = cell, where: str = where) -> None:
            gross = None if name == FLOOR else cell.ratio(name, net=False)
            found.append(Bound(f"{where}: ours / {text}", cell.ratio(name, net=True), gross, limit))

        limit = FFMPEG_BOUNDS.get(cell.sampling) if cell.clip == FFMPEG_BOUND_CLIP else None
        if limit is not None and cell.ffmpeg is not None:
            against(cell.ffmpeg, "ffmpeg", limit)
        if cell.fastest is not None:
            against(cell.fastest, f"the fastest other ({cell.fastest})", PEER_BOUND)
        if FLOOR in cell.measured and cell.measured[FLOOR].floor_s:
            against(FLOOR, "floor", FLOOR_BOUND)
    if results.two_slots is not None:
        text = "work of two slots by that of one"
        found.append(Bound(text, results.two_slots.gain, None, TWO_SLOTS_BOUND, at_least=True))
    return found


def load(path: Path) -> Results:
    """What is kept at ``path``; nothing if there is no such file."""
    return msgspec.json.decode(path.read_bytes(), type=Results) if path.exists() else Results()


def save(path: Path, results: Results) -> None:
    """Keep ``results`` at ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1))
