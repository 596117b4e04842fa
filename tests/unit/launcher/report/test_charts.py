"""What the charts draw: every unit, or neighbours together where there are too many; and the rate."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest

from framefleet.launcher.report import charts
from framefleet.launcher.report.charts import over_time
from framefleet.launcher.report.read_job import read_job
from framefleet.launcher.report.timeline import Attempt, Kind, Lane, Timeline
from tests.helpers.fake_journal import eventful_job

S = 1_000_000


def attempt(unit: int, start_s: float, end_s: float, *, frames: int = 0, kind: Kind = Kind.DONE) -> Attempt:
    return Attempt(
        unit=unit, number=1, host="a", video=f"v{unit % 3}", start_us=round(start_s * S),
        end_us=round(end_s * S), kind=kind, frames=frames,
    )  # fmt: skip


def test_every_unit_is_drawn_with_its_video_and_its_marks(tmp_path: Path) -> None:
    eventful_job(tmp_path)
    data = charts.chart_data(read_job(tmp_path), ["video-0.mp4", "video-1.mp4"])
    units = data["units"]
    columns = {
        name: np.frombuffer(base64.b64decode(units[name]), form).tolist()
        for name, form in {"lane": "<u2", "video": "<i4", "kind": "u1", "unit": "<u4", "start": "<f4"}.items()
    }
    assert units["count"] == 7
    assert columns["lane"] == [0, 0, 0, 0, 1, 1, 2]
    assert columns["unit"] == [0, 1, 3, 5, 2, 2, 3]
    assert columns["video"] == [-1, 0, 1, 0, 0, 0, 1]
    done, probe, wasted = (kind.value for kind in (Kind.DONE, Kind.PROBE, Kind.WASTED))
    assert columns["kind"] == [probe, done, done, done, wasted, done + charts.SPLIT, wasted]
    assert columns["start"][1] == pytest.approx(1.001, abs=0.001)
    shares = np.frombuffer(base64.b64decode(units["shares"]), "u1").reshape(-1, 3)
    assert shares[1].tolist() == [0, 128, 102]


def test_where_there_are_too_many_neighbours_are_drawn_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(charts, "MAX_DRAWN", 40)
    work = [attempt(unit, unit / 100, unit / 100 + 0.009, frames=2) for unit in range(1000)]
    work[500].kind = Kind.WASTED
    timeline = Timeline("j", "coordinated", "completed", "", 10 * S, [Lane("a", 0, 0, attempts=work)])
    units = charts.chart_data(timeline, ["v0", "v1", "v2"])["units"]
    of, frames, kinds = (
        np.frombuffer(base64.b64decode(units[name]), form).tolist()
        for name, form in (("of", "<u4"), ("frames", "<u4"), ("kind", "u1"))
    )
    assert units["count"] <= 40
    assert sum(of) == 1000
    assert sum(frames) == 2000
    assert [count for count, kind in zip(of, kinds, strict=True) if kind == Kind.WASTED.value] == [1]


def test_frames_are_spread_over_their_unit() -> None:
    work = [
        attempt(1, 1, 3, frames=40),
        attempt(2, 2, 4, frames=20),
        attempt(3, 0, 5, frames=99, kind=Kind.WASTED),
    ]
    times, rates, busy = over_time(work, 5.0, steps=5)
    assert times.tolist() == [0.5, 1.5, 2.5, 3.5, 4.5]
    assert rates == pytest.approx([0, 20, 30, 10, 0])
    assert busy == pytest.approx([1, 2, 3, 2, 1])


def test_nothing_was_done() -> None:
    _, rates, busy = over_time([], 0.0, steps=2)
    assert rates.tolist() == busy.tolist() == [0, 0]
