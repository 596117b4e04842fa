"""Sets of made-up videos of which the lengths, costs and claims are drawn from a seed."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from framefleet.coordinator.scheduling.policy import DEFAULT_RATE, ENCODE_WEIGHT
from framefleet.coordinator.simulation.footage import Footage

FPS = 25
SAMPLED_FPS = 5
SIZES = ((1920, 1080, 0.55), (1280, 720, 0.35), (3840, 2160, 0.10))
CODECS = (("h264", 1.0, 0.7), ("hevc", 0.6, 0.3))  # name, rate against the default, share
GOPS = (25, 50, 125, 250)  # one second to ten, as encoders are set by default
FRAME_WORK = 1 + ENCODE_WEIGHT * SAMPLED_FPS / FPS  # of a frame's pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Videos by the distribution of their work.

    Attributes:
        seconds: work of the next video, in seconds of a slot of speed 1.
        rate_error: sigma of the lognormal factor by which a video's rate differs from that of its class.
        wild: factor, up to which (or down to its inverse) the rate differs instead, evenly in its logarithm.
        claim_error: the same sigma for the duration that a container claims; it is a second off anyhow.
        endless_gops: share of videos that are one GOP.
    """

    about: str
    seconds: Callable[[random.Random], float]
    rate_error: float = 0.3
    wild: float = 0.0
    claim_error: float = 0.0
    endless_gops: float = 0.0
    one_of: float = 0.0
    """Share of all work that is one video."""

    def videos(self, fate: random.Random, total_s: float) -> list[Footage]:
        """So many videos that their work is about ``total_s`` seconds; the order has no meaning."""
        works = list(self._works(fate, total_s))
        fate.shuffle(works)
        return [self._video(fate, index, work_s) for index, work_s in enumerate(works)]

    def _works(self, fate: random.Random, total_s: float) -> Iterator[float]:
        left = total_s
        if self.one_of:
            left -= total_s * self.one_of
            yield total_s * self.one_of
        while left > 0:
            work_s = min(self.seconds(fate), max(left, 0.5))
            left -= work_s
            yield work_s

    def _video(self, fate: random.Random, index: int, work_s: float) -> Footage:
        ((width, height, _),) = fate.choices(SIZES, [share for *_, share in SIZES])
        ((codec, factor, _),) = fate.choices(CODECS, [share for *_, share in CODECS])
        rate = DEFAULT_RATE * factor * math.exp(fate.gauss(0.0, self.rate_error))
        if self.wild:
            rate = DEFAULT_RATE * factor * self.wild ** fate.uniform(-1.0, 1.0)
        frames = max(1, round(work_s * rate / (width * height * FRAME_WORK)))
        is_one_gop = fate.random() < self.endless_gops
        return Footage(
            index=index,
            frames=frames,
            fps=FPS,
            gop=frames if is_one_gop else fate.choice(GOPS),
            width=width,
            height=height,
            codec=codec,
            rate=rate,
            claimed_s=max(
                0.0, frames / FPS * math.exp(fate.gauss(0.0, self.claim_error)) + fate.uniform(-1, 1)
            ),
            claimed_fps=float(FPS),
        )


def lognormal(median_s: float, sigma: float) -> Callable[[random.Random], float]:
    return lambda fate: fate.lognormvariate(math.log(median_s), sigma)


def pareto(least_s: float, alpha: float) -> Callable[[random.Random], float]:
    return lambda fate: least_s * fate.paretovariate(alpha)


WORKLOADS = {
    "lognormal": Workload(
        about="lognormal lengths, median 40 s of work, sigma 1.6", seconds=lognormal(40, 1.6)
    ),
    "pareto": Workload(about="Pareto lengths, alpha 1.1, from 5 s on", seconds=pareto(5, 1.1)),
    "endless": Workload(about="one video is a third of all work", seconds=lognormal(40, 1.0), one_of=1 / 3),
    "tiny": Workload(about="files of half a second to two", seconds=lambda fate: fate.uniform(0.5, 2.0)),
    "gops": Workload(
        about="a tenth of the videos are one single GOP", seconds=lognormal(40, 1.6), endless_gops=0.1
    ),
    "claims": Workload(
        about="containers claim durations that are wrong by 30 %", seconds=lognormal(40, 1.6), claim_error=0.3
    ),
    "wrong": Workload(
        about="each video's cost is off by a factor up to 5", seconds=lognormal(40, 1.6), wild=5.0
    ),
}
