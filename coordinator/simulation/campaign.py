"""Small worlds in which everything goes wrong, each of another kind: what ``--faults`` runs."""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction

from framefleet.common.job.selection import TIMESTAMPS_FILE, encode_table, format_seconds
from framefleet.common.job.spec import SamplingOptions, SchedulingOptions
from framefleet.coordinator.core.core import Core
from framefleet.coordinator.simulation.faults import Faults
from framefleet.coordinator.simulation.footage import Footage
from framefleet.coordinator.simulation.network import LinkOptions
from framefleet.coordinator.simulation.plan import HostPlan, Plan
from framefleet.coordinator.simulation.server import FREE
from framefleet.coordinator.simulation.transcript import MakeCore
from framefleet.coordinator.simulation.world import World

FPS = 5
CALM_S = 400.0
TIMES = [Fraction(7 * number, 10) for number in range(500)]  # each shows another frame
TABLE = encode_table([(None, [format_seconds(*time.as_integer_ratio()) for time in TIMES])])
SPEEDS = (1.0, 0.3, 0.1)
CLAIMS = (5.0, 5.0, 25.0, 3.3, 0.0)  # frames a second, as containers have it

SAMPLINGS = {
    "5 fps": SamplingOptions(fps=str(FPS)),
    "1 fps": SamplingOptions(fps="1"),
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

HARSH = LinkOptions(
    latency_s=0.0, jitter_s=0.005, loss=0.03, duplication=0.03, late=0.03, calm_after_s=CALM_S
)
TCP = LinkOptions()
FAULTS = Faults(
    slot_crashes=40.0,
    deaths=30.0,
    pauses=25.0,
    breaks=60.0,
    cut_offs=20.0,
    slowings=10.0,
    broken_disks=8.0,
    lies=20.0,
    bad_copies=10.0,
    calm_after_s=CALM_S,
)


def small_plan(
    seed: int,
    sampling: SamplingOptions,
    *,
    claims: tuple[float, ...] = CLAIMS,
    hosts: int = 3,
    links: LinkOptions = HARSH,
    poison: bool = False,
    error_rate: float = 0.01,
) -> Plan:
    """Six short videos of which containers tell lies, one of them unseekable; hosts of two slots."""
    fate = random.Random(f"{seed} small")
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
    return Plan(
        seed=seed,
        hosts=[
            HostPlan(name=f"h{number}", speeds=(1.0, 1.0), starts_at=fate.random() * 20)
            for number in range(hosts)
        ],
        footage=footage,
        sampling=sampling,
        timestamps=TABLE if sampling.timestamps else b"",
        scheduling=SchedulingOptions(unit_min_s=0.5, unit_cap_s=2.0),
        links=links,
        server=FREE,
        error_rate=error_rate,
    )


def campaign_world(seed: int, *, make_core: MakeCore = Core) -> World:
    """The world of a seed: its way of sampling, its links, hosts and videos all follow from that."""
    fate = random.Random(f"{seed} campaign")
    plan = small_plan(
        seed,
        fate.choice(list(SAMPLINGS.values())),
        hosts=fate.randint(2, 5),
        links=fate.choice((HARSH, TCP)),
        poison=fate.random() < 0.3,
        error_rate=fate.choice((0.0, 0.01, 0.05)),
    )
    videos = list(plan.footage)
    if fate.random() < 0.3:
        videos[1] = replace(videos[1], is_video=False)
    if fate.random() < 0.3:
        videos[2] = replace(videos[2], gop=videos[2].frames)
    if fate.random() < 0.3:
        videos[3] = replace(videos[3], frames=videos[3].frames * 10)
    hosts = [replace(host, starts_at=None) if fate.random() < 0.1 else host for host in plan.hosts[1:]]
    if fate.random() < 0.5:  # a mixed cluster: what one kind of host fails at may be left to the slow ones
        hosts = [replace(host, speeds=(fate.choice(SPEEDS),) * 2) for host in hosts]
    # those that never come are waited for no longer than this
    options = SchedulingOptions(unit_min_s=0.5, unit_cap_s=fate.choice((2.0, 15.0)), host_wait_s=600.0)
    plan = replace(plan, footage=videos, hosts=[plan.hosts[0], *hosts], scheduling=options)
    return World(plan, faults=FAULTS, checks=True, make_core=make_core)
