"""Makespans of planned jobs: what is simulated is bounded, and what it stands for comes out."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from framefleet.coordinator.simulation.plan import HostPlan, Plan
from framefleet.coordinator.simulation.world import World
from framefleet.launcher.plan.command import INSTANCES, TYPES
from framefleet.launcher.plan.estimate import Estimate
from framefleet.launcher.plan.prices import Instance, read_prices
from framefleet.launcher.plan.simulate import MOST_UNITS, _footage, joined, simulate

INSTANCE = Instance(price=1.0, vcpus=8, slot_speed=0.6)


def footage_of(hours: float, count: int, *, gop_s: float = 2.0) -> list[Estimate]:
    """Uneven videos of so many hours in all; a tenth of that is work."""
    chance = random.Random(1)
    shares = [chance.lognormvariate(0, 1) for _ in range(count)]
    lengths = [hours * 3600 * share / sum(shares) for share in shares]
    return [Estimate(0.1 * length, 5 * length, 1e5, 10**6, gop_s, length) for length in lengths]


def unscaled_s(videos: list[Estimate], instances: int) -> float:
    """The makespan of all of it, as it is."""
    speeds = (INSTANCE.slot_speed,) * INSTANCE.vcpus
    hosts = [HostPlan(name=f"h{number}", speeds=speeds) for number in range(instances)]
    footage = [_footage(number, each) for number, each in enumerate(videos)]
    return World(Plan(seed=1, hosts=hosts, footage=footage)).run().makespan_s


@pytest.mark.parametrize(
    ("hours", "count", "gop_s", "instances"),
    [
        (60, 900, 2.0, 2),  # joined and shortened
        (60, 5, 2.0, 1),
        (40, 100, 2.0, 32),  # slots are left out too
        (60, 100, 60.0, 32),
    ],
)
def test_a_job_made_smaller_takes_as_long(hours: float, count: int, gop_s: float, instances: int) -> None:
    videos = footage_of(hours, count, gop_s=gop_s)
    made = simulate(videos, INSTANCE, instances, most_units=1000)
    assert made.units < 2500
    assert made.makespan_s == pytest.approx(unscaled_s(videos, instances), rel=0.03)


def test_what_cannot_be_cut_decides_in_a_job_made_smaller_too() -> None:
    long = replace(footage_of(40, 1)[0], gop_s=40 * 3600.0)
    made = simulate([long, *footage_of(400, 400)], INSTANCE, 32)
    assert made.makespan_s >= long.work_s / INSTANCE.slot_speed


def test_a_thousand_hours_are_a_bounded_number_of_units_in_every_row() -> None:
    videos, known = footage_of(1000, 3000), read_prices()
    for name in TYPES:
        for count in (INSTANCES[0], INSTANCES[-1]):
            instance = known.instances[name]
            made = simulate(videos, instance, count)
            assert made.units < 1.5 * MOST_UNITS
            slots = count * instance.vcpus
            assert made.makespan_s == pytest.approx(360_000 / 0.6 / slots, rel=0.03)


@pytest.mark.parametrize("hours", [200.0, 17e9 / 3600])
@pytest.mark.parametrize("instances", [1, 32])
def test_a_length_that_was_believed_does_not_hang_it(hours: float, instances: int) -> None:
    made = simulate(footage_of(hours, 1), INSTANCE, instances)
    assert made.units < 1.5 * MOST_UNITS
    assert made.makespan_s == pytest.approx(360 * hours / 0.6 / 8 / instances, rel=0.03)


def test_joining_keeps_the_work_and_the_largest() -> None:
    videos = [Estimate(float(number), 300.0, 1e5, 10**6, 2.0, 60.0) for number in range(1, 101)]
    few = joined(videos, 20)
    assert len(few) == 20
    assert sum(each.work_s for each in few) == pytest.approx(sum(each.work_s for each in videos))
    assert sum(each.size_bytes for each in few) == sum(each.size_bytes for each in videos)
    assert max(each.work_s for each in few) >= 100
    assert joined(videos, 100) == videos


def test_twice_the_work_takes_twice_as_long() -> None:
    once, twice = (
        [Estimate(work_s, 300.0, 1e5, 10**6, 2.0, 600.0) for _ in range(30)] for work_s in (20.0, 40.0)
    )
    assert simulate(twice, INSTANCE, 2).makespan_s == pytest.approx(
        2 * simulate(once, INSTANCE, 2).makespan_s, rel=0.1
    )
