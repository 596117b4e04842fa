"""The simulator itself: made-up videos, time, links, slots, the ideal and the others."""

from __future__ import annotations

import random
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import pytest

from framefleet.common.job.sampling import Sampling, Selector
from framefleet.common.job.spec import SchedulingOptions
from framefleet.common.protocol import messages as m
from framefleet.coordinator.simulation.baselines import baselines
from framefleet.coordinator.simulation.campaign import SAMPLINGS, TABLE, campaign_world
from framefleet.coordinator.simulation.footage import TICKS, Footage
from framefleet.coordinator.simulation.hosts import VirtualHost
from framefleet.coordinator.simulation.network import LinkOptions, Network
from framefleet.coordinator.simulation.plan import HostPlan, Plan
from framefleet.coordinator.simulation.scenarios import SCENARIOS
from framefleet.coordinator.simulation.slots import Costs, Spent
from framefleet.coordinator.simulation.timeline import Timeline
from framefleet.coordinator.simulation.world import World

TIME_BASE = Fraction(1, TICKS)


def test_time_jumps_from_call_to_call_in_order() -> None:
    timeline, seen = Timeline(), list[tuple[float, str]]()
    for when, what in ((2.0, "c"), (1.0, "a"), (1.0, "b"), (5.0, "d")):
        timeline.at(when, lambda what: seen.append((timeline.now, what)), what)
    timeline.advance(3.0)
    assert (seen, timeline.now) == ([(1.0, "a"), (1.0, "b"), (2.0, "c")], 3.0)
    timeline.at(1.0, lambda: seen.append((timeline.now, "late")))
    timeline.step()
    assert seen[-1] == (3.0, "late")


# ---- videos -----------------------------------------------------------------------------------------


def picked(
    video: Footage, sampling: Sampling, start: int, stop: int | None, rank: int
) -> list[tuple[int, int]]:
    shown = video.shown(sampling, start, stop)
    return video.pick(sampling, shown, start, rank).pairs()


def selected(video: Footage, sampling: Sampling, start: int, stop: int | None, rank: int) -> list[int]:
    """The frames that the real selector gives of a range."""
    selector = Selector[int](sampling, TIME_BASE, first_pts=0, start=start, stop=stop, rank=rank)
    step = video.gop if sampling.keyframes_only else 1
    chosen = []
    for frame in range(0, video.frames, step):
        pick = selector.feed(frame, frame * video.step)
        if pick is not None:
            chosen.append(pick.item)
    last = selector.end(video.step)
    return chosen if last is None else [*chosen, last.item]


@pytest.mark.parametrize("mode", SAMPLINGS)
@pytest.mark.parametrize("fps", [5, 25])
def test_made_up_videos_give_what_the_selector_gives(mode: str, fps: int) -> None:
    options = SAMPLINGS[mode]
    world = Plan(
        seed=0, hosts=[], footage=[], sampling=options, timestamps=TABLE if options.timestamps else b""
    )
    sampling = world.selection().of("0")
    assert sampling is not None
    video = Footage(index=0, frames=173, fps=fps, gop=10, claimed_s=173 / fps)
    start, stop = sampling.range_of(TIME_BASE)
    cuts = sorted(random.Random(1).sample(range(1, 5 if sampling.times is not None else 30), 3))
    places = [start, *(start + cut * (video.step if sampling.numbered_by_order else 1) for cut in cuts)]
    for begin, end in [*pairwise(places), (places[-1], stop), (start, stop)]:
        if stop is None or begin < stop:
            end = end if stop is None or end is None else min(end, stop)
            found = [frame for _, frame in picked(video, sampling, begin, end, 0)]
            assert found == selected(video, sampling, begin, end, 0), f"[{begin}, {end})"


def test_looks_come_at_keyframes_and_within_long_gops() -> None:
    short, long = Footage(index=0, frames=1000, gop=10), Footage(index=1, frames=1000, gop=1000, rate=1e9)
    assert [short.look_after(frame) for frame in (0, 9, 10)] == [10, 10, 20]
    assert [long.look_after(frame) for frame in (0, 31, 32)] == [32, 32, 64]
    assert [short.look_before(frame) for frame in (9, 10, 25)] == [0, 10, 20]


# ---- hosts ------------------------------------------------------------------------------------------


class Talk:
    """One host with one slot, and what it says."""

    def __init__(self, video: Footage) -> None:
        self.video = video
        self.timeline = Timeline()
        self.said: list[m.FromHost] = []
        plan = Plan(seed=0, hosts=[], footage=[video])
        self.host = VirtualHost(
            "a",
            1,
            speeds=(1.0,),
            timeline=self.timeline,
            footage=[video],
            selection=plan.selection(),
            options=SchedulingOptions(),
            costs=Costs(open_s=0.0, unit_s=0.0),
            spent=Spent(),
            say=lambda host, message: self.said.append(message),
            fate=random.Random(0),
        )
        self.host.start()
        self.host.hear(m.Welcome(job_id="j", heartbeat_s=5.0, lease_s=30.0))

    def assign(self, start: int, stop: int | None) -> m.Lease:
        lease = m.Lease(0, 1)
        task = m.Extract(
            path=b"0",
            size_bytes=1,
            video="0",
            folder="0",
            start=start,
            stop=stop,
            fingerprint=self.video.info().fingerprint,
            duration_s=1.0,
        )
        self.host.hear(m.Assign(lease=lease, task=task))
        return lease

    def heard(self, kind: type[m.Message]) -> list[m.Message]:
        return [message for message in self.said if isinstance(message, kind)]


VIDEO = Footage(
    index=0, frames=500, gop=50, width=1000, height=1000, rate=14e6, claimed_s=20.0
)  # 10 frames a second


def test_a_slot_takes_its_time_and_the_host_publishes_once() -> None:
    talk = Talk(VIDEO)
    lease = talk.assign(0, 100)
    talk.timeline.advance(49.9)
    assert not talk.heard(m.Done)
    talk.timeline.advance(0.2)
    (done,) = talk.heard(m.Done)
    assert isinstance(done, m.Done)
    assert (done.frames, done.decoded, done.saw_end, round(done.seconds)) == (100, 500, False, 50)
    for _ in range(2):
        talk.host.hear(m.Commit(lease=lease, first_sample=0))
        talk.timeline.advance(1.0)
    assert talk.heard(m.Committed) == [m.Committed(leases=[lease])] * 2
    assert list(talk.host.attempts.published) == [lease]


def test_a_slot_shrinks_at_its_next_look_and_no_further_than_it_is() -> None:
    talk = Talk(VIDEO)
    lease = talk.assign(0, 100)
    talk.timeline.advance(12.0)
    talk.host.hear(m.Shrink(lease=lease, stop=3))
    assert not talk.heard(m.Shrunk)
    talk.timeline.advance(3.0)
    assert talk.heard(m.Shrunk) == [m.Shrunk(lease=lease, stop=24)]  # frame 120 is the last before that look
    (done,) = talk.heard(m.Done)
    assert isinstance(done, m.Done)
    assert (done.stop, done.frames, done.saw_end) == (24, 24, False)


def test_a_cut_within_a_gop_costs_its_roll_in() -> None:
    talk = Talk(VIDEO)
    talk.assign(15, 20)  # frames 75 to 99, behind the keyframe 50
    talk.timeline.advance(10.0)
    (done,) = talk.heard(m.Done)
    assert isinstance(done, m.Done)
    assert (done.frames, done.decoded) == (5, 50)
    assert done.seconds == pytest.approx(25 / 14 + 25 / 10)


def test_a_poisoned_gop_crashes_its_slot_whoever_touches_it() -> None:
    talk = Talk(Footage(index=0, frames=100, gop=10, poison=(30,), rate=1e9))
    lease = talk.assign(7, 8)  # frames 35 to 39
    talk.timeline.advance(1.0)
    (failed,) = talk.heard(m.Failed)
    assert isinstance(failed, m.Failed)
    assert (failed.lease, failed.kind) == (lease, "crash")
    assert [ready.slots for ready in talk.heard(m.Ready) if isinstance(ready, m.Ready)] == [1, 0]
    talk.timeline.advance(1.0)
    assert talk.host.slots[0].up


# ---- links ------------------------------------------------------------------------------------------


def test_tcp_keeps_the_order_and_loses_only_what_is_under_way_when_it_breaks() -> None:
    timeline, heard = Timeline(), list[int]()
    network = Network(
        timeline,
        random.Random(1),
        LinkOptions(latency_s=0.1, jitter_s=0.5),
        to_core=lambda peer, message: heard.append(message.slots if isinstance(message, m.Ready) else -1),
    )
    talk = Talk(VIDEO)
    network.join(talk.host)
    for number in range(50):
        network.from_host(talk.host, m.Ready(slots=number))
    timeline.advance(30.0)
    assert heard == list(range(50))
    network.from_host(talk.host, m.Ready(slots=100))
    network.break_link(talk.host)
    network.from_host(talk.host, m.Ready(slots=101))
    assert not network.to_host(talk.host.peer, m.Alive())
    timeline.advance(30.0)
    assert heard[50:] == [101]
    assert network.to_host(talk.host.peer, m.Alive())


# ---- worlds -----------------------------------------------------------------------------------------


def two_hosts(starts: Sequence[float | None]) -> Plan:
    hosts = [HostPlan(name=f"h{n}", speeds=(1.0, 0.5), starts_at=start) for n, start in enumerate(starts)]
    return Plan(seed=0, hosts=hosts, footage=[VIDEO])


def test_the_ideal_fills_all_slots_from_their_start_on() -> None:
    assert two_hosts([0.0]).work_s() == pytest.approx(50.0)
    assert two_hosts([0.0]).ideal_s() == pytest.approx(50 / 1.5)
    assert two_hosts([0.0, None]).ideal_s() == pytest.approx(50 / 1.5)
    assert two_hosts([0.0, 10.0]).ideal_s() == pytest.approx((50 + 15) / 3)
    assert two_hosts([0.0, 1000.0]).ideal_s() == pytest.approx(50 / 1.5)


def test_a_seed_is_a_world() -> None:
    first, again = (World(SCENARIOS["lognormal"].plan(3, 16)).run() for _ in range(2))
    assert first == again
    assert first != World(SCENARIOS["lognormal"].plan(4, 16)).run()


def test_a_campaign_world_has_its_faults_again() -> None:
    first, again = campaign_world(5), campaign_world(5)
    first.run()
    again.run()
    assert first.happened == again.happened
    assert first.server.steps == again.server.steps


@pytest.mark.parametrize(("name", "bound"), [("lognormal", 1.03), ("pareto", 1.03), ("slow", 1.05)])
@pytest.mark.parametrize("slots", [16, 256])
def test_it_keeps_its_bound(name: str, bound: float, slots: int) -> None:
    assert 1.0 <= World(SCENARIOS[name].plan(1, slots)).run().ratio <= bound


@pytest.mark.parametrize("name", ["lognormal", "endless"])
def test_it_is_near_the_optimum_and_whole_files_are_not(name: str) -> None:
    plan = SCENARIOS[name].plan(1, 64, work_per_slot_s=150.0)
    ours = World(plan).run()
    others = dict(baselines(plan))
    assert 1.0 <= ours.ratio < 1.05
    assert all(makespan_s >= plan.ideal_s() for makespan_s in others.values()), "nobody beats the bound"
    assert min(others["whole files, in order"], others["ShardedByS3Key"]) > 1.5 * ours.makespan_s
