"""The folder of a job that never was: a journal written line by line, for the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CLOCK_S = 5000.0  # what the hosts' clocks read when the job begins


class FakeJournal:
    """A journal with one slot's or host's deeds after another; ``write`` puts them in order of time."""

    def __init__(self, *, at: str = "2026-01-01T00:00:00.000+00:00") -> None:
        self.lines: list[dict[str, Any]] = []
        self.say(0.0, "start", job="20260101-000000-abcdef", at=at, videos=2, start=None)

    def say(self, t_s: float, event: str, **fields: Any) -> None:
        self.lines.append({"t_s": round(t_s, 4), "event": event, **fields})

    def host(self, name: str, *, slots: int = 1, t_s: float = 0.5, incarnation: str = "x") -> None:
        self.say(t_s, "host_up", host=name, incarnation=incarnation, slots=slots)
        self.say(t_s + 0.1, "ready", host=name, slots=slots)

    def lease(self, unit: int, host: str, t_s: float, *, video: int = 0, attempt: int = 1) -> None:
        self.say(
            t_s, "leased", unit=unit, attempt=attempt, host=host, start=0, stop=9, videos=[video], probe=False
        )

    def unit(
        self,
        unit: int,
        host: str,
        t_s: float,
        seconds: float,
        *,
        slot: int | None = 0,
        video: int = 0,
        attempt: int = 1,
        frames: int = 10,
        phases: tuple[float, ...] = (0.0, 0.0, 0.5, 0.1, 0.2, 0.1),
        failed: str = "",
    ) -> None:
        """An attempt from lease to commit. ``slot`` None: as older journals tell it, without timing."""
        self.lease(unit, host, t_s, video=video, attempt=attempt)
        end_s = t_s + seconds + 0.002
        said: dict[str, Any] = {"unit": unit, "attempt": attempt, "host": host, "seconds": seconds}
        if slot is not None:
            said["timing"] = [slot, CLOCK_S + t_s + 0.001, *(part * seconds for part in phases)]
        if failed:
            self.say(end_s, "failed", **said, kind="crash", reason=failed)
            return
        self.say(end_s, "staged", **said, frames=frames)
        said.pop("timing", None)
        name = f"video-{video}.mp4"
        self.say(
            end_s + 0.01, "committed", **said, video=name, frames=frames, suspect=0, bytes=99, start=0, stop=9
        )

    def end(self, t_s: float, outcome: str = "completed") -> None:
        self.say(t_s, "end", outcome=outcome, reason="")

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        in_order = sorted(self.lines, key=lambda line: line["t_s"])
        path.write_text("".join(json.dumps(line) + "\n" for line in in_order), encoding="utf-8")


def eventful_job(output: Path) -> None:
    """Two hosts of two slots and one: units, a probe, a crash, a split, a host that is lost."""
    journal = FakeJournal()
    journal.host("algo-1", slots=2)
    journal.host("algo-2", t_s=1.0)
    journal.say(0.6, "leased", unit=0, attempt=1, host="algo-1", start=0, stop=None, videos=[0], probe=True)
    found = [[0, {"codec": "h264"}], [1, {"codec": "h264"}]]
    journal.say(
        0.8, "probed", unit=0, attempt=1, host="algo-1", seconds=0.19, found=found, refused=[],
        names=[[0, "video-0.mp4"], [1, "video-1.mp4"]], timing=[0, CLOCK_S + 0.601],
    )  # fmt: skip
    journal.unit(1, "algo-1", 1.0, 3.0, slot=0)
    journal.unit(2, "algo-1", 1.0, 1.0, slot=1, failed="the slot process was killed by SIGSEGV")
    journal.unit(2, "algo-1", 2.5, 4.0, slot=1, attempt=2)
    journal.say(4.0, "split", unit=2, stop=5, rest=5)
    journal.lease(3, "algo-2", 1.5, video=1)
    journal.say(4.5, "host_lost", host="algo-2", incarnation="x", reason="was not heard for 3 s")
    journal.unit(3, "algo-1", 4.6, 1.4, slot=0, video=1, attempt=2)
    journal.unit(5, "algo-1", 6.1, 1.9, slot=0)
    journal.end(8.1)
    journal.say(8.2, "host_left", host="algo-1", reason="the job is over")
    journal.write(output / "job" / "journal.jsonl")
