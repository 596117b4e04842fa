"""The core against random hosts, and links that lose, delay, repeat and reorder.

Nothing is lost or done twice. Every run must end with each frame that is wanted committed exactly once, under
its name, whatever the seed; a failing seed is its own reproduction.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from fractions import Fraction

import pytest

from framefleet.common.job.selection import TIMESTAMPS_FILE, encode_table, format_seconds
from framefleet.common.job.spec import SamplingOptions, SchedulingOptions
from framefleet.coordinator.simulation.faults import Faults
from framefleet.coordinator.simulation.footage import Footage
from framefleet.coordinator.simulation.judge import judge
from framefleet.coordinator.simulation.network import LinkOptions
from framefleet.coordinator.simulation.plan import HostPlan, Plan
from framefleet.coordinator.simulation.server import FREE
from framefleet.coordinator.simulation.world import World
from framefleet.coordinator.state import UnitState

FPS = 5
TIMES = [Fraction(7 * number, 10) for number in range(500)]  # each shows another frame
CALM_S = 400.0

MODES = {
    "5 fps": SamplingOptions(fps=str(FPS)),
    "native": SamplingOptions(fps="native"),
    "every 3rd": SamplingOptions(every=3),
    "every 7th": SamplingOptions(every=7, start="1.1", end="11"),
    "keyframes": SamplingOptions(keyframes=True),
    "times": SamplingOptions(timestamps=TIMESTAMPS_FILE),
    "times within": SamplingOptions(
        timestamps=TIMESTAMPS_FILE, start="2", end="0:12", max_frames_per_video=9
    ),
    "5 fps, 20 frames": SamplingOptions(fps=str(FPS), max_frames_per_video=20),
    "native, 30 frames": SamplingOptions(fps="native", max_frames_per_video=30),
    "every 3rd, 12 frames": SamplingOptions(every=3, start="0.5", max_frames_per_video=12),
    "keyframes, 3 frames": SamplingOptions(keyframes=True, max_frames_per_video=3),
}


def world(
    seed: int,
    sampling: SamplingOptions,
    claims: Sequence[float] = (5.0, 5.0, 25.0, 3.3, 0.0),  # frames a second, as containers have it
    *,
    poison: bool = False,
) -> World:
    """Six short videos and three hosts that die now and then, over links that do all but forge."""
    fate = random.Random(seed)
    footage = []
    for index in range(6):
        frames = int(FPS * max(1.0, fate.lognormvariate(3, 1)))
        footage.append(
            Footage(
                index=index,
                frames=frames,
                fps=FPS,
                gop=10,
                width=640,
                height=360,
                rate=4e6,  # a GOP takes up to 1.7 s, so that there is time for things to go wrong
                claimed_s=frames / FPS * (0.5 + fate.random()),
                claimed_fps=fate.choice(claims),
                seekable=index != 5,
                poison=(frames // 20 * 10,) if poison and index == 0 else (),
            )
        )
    hosts = [HostPlan(name=name, speeds=(1.0, 1.0), starts_at=fate.random() * 20) for name in "abc"]
    plan = Plan(
        seed=seed,
        hosts=hosts,
        footage=footage,
        sampling=sampling,
        timestamps=encode_table([(None, [format_seconds(*time.as_integer_ratio()) for time in TIMES])]),
        scheduling=SchedulingOptions(unit_min_s=0.5, unit_cap_s=2.0),
        links=LinkOptions(
            latency_s=0.0, jitter_s=0.005, loss=0.03, duplication=0.03, late=0.03, calm_after_s=CALM_S
        ),
        server=FREE,
        error_rate=0.01,
    )
    faults = Faults(deaths=14.0, slot_crashes=5.0, lost_for_good=0.0, calm_after_s=CALM_S)
    return World(plan, faults=faults, checks=True)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(8))
def test_every_wanted_frame_is_committed_exactly_once(seed: int, mode: str) -> None:
    run = world(seed, MODES[mode])
    run.run()
    assert all(failure.kind == "lost" for failure in run.core.failures.failures)
    judge(run)


@pytest.mark.parametrize("seed", range(4))
def test_only_a_poison_gop_is_lost(seed: int) -> None:
    run = world(seed, MODES["5 fps"], poison=True)
    run.run()
    judge(run)
    poisoned = run.plan.footage[0].poison[0]
    failed = [unit for unit in run.core.pool.units.values() if unit.state is UnitState.FAILED]
    assert any(
        not unit.is_probe and unit.video == 0 and unit.start <= poisoned < (unit.stop or 10**9)
        for unit in failed
    )


@pytest.mark.parametrize(("claims", "is_right"), [((5.0,), True), ((25.0, 3.3, 0.0), False)])
def test_units_are_done_again_only_where_a_container_is_wrong(
    claims: tuple[float, ...], is_right: bool
) -> None:
    redone = 0
    for seed in range(3):
        run = world(seed, MODES["every 3rd"], claims)
        run.run()
        if not any(unit.state is UnitState.FAILED for unit in run.core.pool.units.values()):
            redone += sum(entry["event"] == "redone" for entry in run.server.records)
    assert redone == 0 if is_right else redone > 10


def test_no_more_is_handed_out_than_a_limit_makes_likely() -> None:
    run = world(1, SamplingOptions(fps=str(FPS), max_frames_per_video=20))
    run.run()
    for video in run.core.pool.videos[:5]:
        assert video.next_start <= 20, "each position gives a frame here"
