"""Packing is suggested for many frames, once it is known that there are many."""

from __future__ import annotations

import pytest

from framefleet.common.status import Status
from framefleet.launcher.packing_advice import suggest_packing


def status(frames: int, fraction: float) -> Status:
    return Status(
        elapsed_s=1.0, frames=frames, videos=1, videos_done=0, videos_failed=0, units_done=1,
        frames_per_s=1.0, fraction=fraction, left_s=None, hosts=[],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("frames", "fraction", "expected"),
    [(10_001, 0.1, "100,010 frames"), (250_000, 1.0, "250,000 frames"), (50_001, 0.5, "100,002 frames")],
)
def test_many_frames_are_better_packed(frames: int, fraction: float, expected: str) -> None:
    hint = suggest_packing(status(frames, fraction))
    assert hint is not None
    assert expected in hint
    assert "--pack tar" in hint


@pytest.mark.parametrize(("frames", "fraction"), [(0, 0.0), (10_500, 0.09), (100_000, 1.0), (10_000, 0.1)])
def test_few_frames_or_too_early_is_no_time_for_advice(frames: int, fraction: float) -> None:
    assert suggest_packing(status(frames, fraction)) is None
