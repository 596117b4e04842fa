"""A host with the keys and leases that lies: nothing it says may raise, or leave the core inconsistent."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from framefleet.common.job.sampling import MAX_INT32
from framefleet.common.job.spec import CutRule, SamplingOptions, SchedulingOptions
from framefleet.common.media import (
    MAX_BYTES,
    MAX_COUNT,
    MAX_DURATION_S,
    MAX_FRAME_RATE,
    MAX_HINTS,
    MAX_TICK,
    VideoInfo,
)
from framefleet.common.protocol import messages as m
from framefleet.coordinator.events import Record, Tick
from framefleet.coordinator.status.summaries import FrameRate, status, summary
from tests.helpers.core_bench import Bench

STEPS = 150


class Liar:
    """Messages in due form, with the extremes of what their bounds allow."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)

    def count(self, most: int = MAX_COUNT) -> int:
        return self.chance.choice([0, 1, 2, 5, self.chance.randrange(most), most])

    def tick(self) -> int:
        return self.chance.choice(
            [0, 1, -1, 40, self.chance.randrange(-MAX_TICK, MAX_TICK), MAX_TICK, -MAX_TICK - 1]
        )

    def info(self) -> VideoInfo:
        chance = self.chance
        return VideoInfo(
            container="x", codec=chance.choice(["h264", ""]),
            width=max(1, self.count(MAX_INT32)), height=max(1, self.count(MAX_INT32)),
            time_base_num=max(1, self.count(MAX_INT32)), time_base_den=max(1, self.count(MAX_INT32)),
            first_pts=self.tick(),
            duration_s=chance.choice([0.0, 1e-300, 1.0, 60.0, MAX_DURATION_S]),
            frame_rate=chance.choice([0.0, 1e-300, 1e-9, 25.0, MAX_FRAME_RATE]),
            keyframes=[self.tick() for _ in range(chance.choice([0, 1, 50, MAX_HINTS]))],
            seekable=chance.random() < 0.8, size_bytes=self.count(MAX_BYTES),
            checksum=chance.choice(["", "same", "x" * 255]),
        )  # fmt: skip

    def done(self, lease: m.Lease) -> m.Done:
        chance = self.chance
        return m.Done(
            lease=lease, stop=chance.choice([None, self.count()]), frames=self.count(), suspect=self.count(),
            bytes=self.count(MAX_BYTES), decoded=self.count(), errors=self.count(),
            saw_end=chance.random() < 0.3, seconds=chance.choice([0.0, 1e-9, 1.0, 1e9]),
            notes=["x"] * chance.choice([0, 16]), shown=self.count(),
        )  # fmt: skip

    def about(self, bench: Bench) -> m.FromHost:
        """A message about something that the host holds, or about anything."""
        chance = self.chance
        held = bench.running("a")
        unit = chance.choice(held) if held and chance.random() < 0.9 else None
        lease = unit.lease if unit is not None else m.Lease(self.count(), max(1, self.count()))
        answers: list[m.FromHost] = [
            m.Ready(slots=chance.choice([0, 1, 3, m.MAX_SLOTS])),
            m.Progress(units=[m.UnitProgress(lease.unit, lease.attempt, self.count(), self.count(), 1e9)]),
            m.Failed(lease=lease, kind=chance.choice(["input", "error", "crash"]), text="x", seconds=1e9),
            m.Shrunk(lease=lease, stop=chance.choice([None, self.count(), MAX_TICK])),
            m.Committed(leases=[lease], trimmed=[m.Trimmed(lease, self.count(), self.count(MAX_BYTES))]),
            self.done(lease),
            self.done(lease),
            m.Bye(reason=""),
        ]
        if unit is not None and unit.is_probe and chance.random() < 0.8:
            found = [(index, self.info()) for index in unit.files]
            return m.Probed(lease=lease, found=found, refused=[], seconds=1e9)
        return chance.choice(answers[:-1] * 5 + answers)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(
    "sampling",
    [
        {"fps": "5"},
        {"fps": "100000"},
        {"fps": "native", "max_frames_per_video": 7},
        {"every": 3},
        {"every": 3, "max_frames_per_video": 10**9},
        {"keyframes": True},
    ],
    ids=str,
)
def test_lies_in_due_form_do_no_harm(sampling: dict[str, Any], seed: int) -> None:
    liar = Liar(seed)
    cut: CutRule = liar.chance.choice(["keyframes", "anywhere", "never"])
    bench = Bench(
        videos=8, sampling=SamplingOptions(**sampling), hosts=("a", "b"), options=SchedulingOptions(cut=cut)
    )
    for _ in range(STEPS):
        if bench.core.outcome is not None:
            break
        bench.hello("a", slots=3)
        message = liar.about(bench)
        assert m.decode_from_host(m.encode(message)) == message
        bench.say("a", message)
        bench.tell(Tick(), after_s=liar.chance.choice([0.0, 0.1, 12.0]))
    for send in bench.sent:
        m.decode_from_coordinator(m.encode(send.message))
    for action in bench.others:
        if isinstance(action, Record):
            msgspec.json.encode(action.entry)
    msgspec.json.encode(summary(bench.core, bench.now, "completed", ""))
    msgspec.json.encode(status(bench.core, bench.now, FrameRate()))
