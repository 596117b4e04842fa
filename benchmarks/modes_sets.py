"""The videos that modes are compared on: the demo set, made heavy tails, and a folder of the user's."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.modes_results import Promise
from framefleet.launcher.demo import LENGTHS_S, make_demo_set, repeat_clip

VERSION: Final = "2"  # of the recipes; other ones have other folders
SEED: Final = 5
MIN_LENGTH_S: Final = 2

ONE_LONG: Final = 0.25  # of all footage is in one video: twice the share of a host of eight
SHORT: Final = 47
LOGNORMAL: Final = 64
SIGMA: Final = 1.2  # the longest of these are some twenty times as long as the one in the middle
EQUAL: Final = 64  # eight for each of eight hosts: dealt out whole, they end together


@dataclass(frozen=True, slots=True)
class VideoSet:
    """Videos by name, with their lengths in seconds; none if they are the user's."""

    name: str
    title: str
    promise: Promise | None
    lengths_s: dict[str, int]

    @property
    def footage_s(self) -> int:
        return sum(self.lengths_s.values())


def made_sets(footage_s: int) -> dict[str, VideoSet]:
    """The sets that can be made, each of about ``footage_s`` seconds but for the demo, which is as it is."""
    chance = random.Random(SEED)
    short_s = (1 - ONE_LONG) * footage_s / SHORT
    one_long = [ONE_LONG * footage_s, *(short_s * chance.uniform(0.5, 1.5) for _ in range(SHORT))]
    lognormal = [chance.lognormvariate(0, SIGMA) for _ in range(LOGNORMAL)]
    scale = footage_s / sum(lognormal)
    chance.shuffle(one_long)  # names say nothing of lengths
    sets = (
        VideoSet("demo", "the demo set", None, {}),
        _named("one-long", f"one long video among {SHORT} short ones", one_long),
        _named("lognormal", f"{LOGNORMAL} videos of lognormal lengths", [each * scale for each in lognormal]),
        _named("equal", f"{EQUAL} equal videos", [footage_s / EQUAL] * EQUAL, "free"),
    )
    return {each.name: each for each in sets}


def _named(name: str, title: str, lengths_s: list[float], promise: Promise = "efficient") -> VideoSet:
    lengths = {
        f"video-{number:03}.mp4": max(MIN_LENGTH_S, round(length_s))
        for number, length_s in enumerate(lengths_s, start=1)
    }
    return VideoSet(name, title, promise, lengths)


def make_set(chosen: VideoSet, folder: Path) -> Path:
    """The folder of a set's videos below ``folder``, made now if it is not there."""
    if chosen.name == "demo":
        return make_demo_set(folder / "demo", lengths_s=LENGTHS_S)
    target = folder / f"{chosen.name}-{chosen.footage_s}-{VERSION}"
    if not target.is_dir():
        making = target.with_name(f".{target.name}")
        making.mkdir(parents=True, exist_ok=True)
        for _ in repeat_clip(making, chosen.lengths_s):
            pass
        making.replace(target)
    return target
