"""The core against random hosts, and links that lose, delay, repeat and reorder.

Nothing is lost or done twice. Every run must end with each frame that is wanted committed exactly once, under
its name, whatever the seed; a failing seed is its own reproduction.
"""

from __future__ import annotations

import pytest

from framefleet.common.job.spec import SamplingOptions
from framefleet.coordinator.simulation.campaign import CALM_S, CLAIMS, FPS, SAMPLINGS, small_plan
from framefleet.coordinator.simulation.faults import Faults
from framefleet.coordinator.simulation.judge import judge
from framefleet.coordinator.simulation.world import World
from framefleet.coordinator.state import UnitState

MODES = SAMPLINGS
FAULTS = Faults(deaths=14.0, slot_crashes=5.0, lost_for_good=0.0, calm_after_s=CALM_S)


def world(
    seed: int, sampling: SamplingOptions, claims: tuple[float, ...] = CLAIMS, *, poison: bool = False
) -> World:
    """Six short videos and three hosts that die now and then, over links that do all but forge."""
    return World(small_plan(seed, sampling, claims=claims, poison=poison), faults=FAULTS, checks=True)


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
