"""A job's folder as a timeline."""

from __future__ import annotations

from pathlib import Path

from framefleet.common.errors import UserError
from framefleet.launcher.read_account import read_failures, read_summary
from framefleet.launcher.report import read_journal
from framefleet.launcher.report.lanes import lanes_of, us
from framefleet.launcher.report.timeline import Timeline
from framefleet.launcher.text import natural_key

JOURNAL = "journal.jsonl"


def read_job(output: Path, name: str = "") -> Timeline:
    """The job whose output folder this is; it may have been sharded, interrupted, or still run.

    ``name``: which job, where an output has an account for each, as those on SageMaker have.

    Raises:
        UserError: there is no job's journal, or it cannot be read.
    """
    folder = output / "job" / name
    paths, mode = [folder / JOURNAL], "coordinated"
    if not paths[0].exists():
        found = folder.glob(f"*/{JOURNAL}")
        paths, mode = sorted(found, key=lambda path: natural_key(path.parent.name)), "sharded"
    if not paths:
        raise UserError(f"{output} holds no job: there is no {folder / JOURNAL}")
    told = [read_journal.read(path) for path in paths]
    summary = read_summary(folder / "summary.json")
    origin = min((journal.at for journal in told if journal.at is not None), default=None)
    shifts = [
        (journal.at - origin).total_seconds() if journal.at is not None and origin is not None else 0.0
        for journal in told
    ]
    makespan_s = max(
        shift_s + (journal.last_work_s if journal.outcome == "completed" else journal.last_s)
        for journal, shift_s in zip(told, shifts, strict=True)
    )
    lanes = []
    for journal, shift_s in zip(told, shifts, strict=True):
        lanes += lanes_of(journal, shift_s=shift_s, makespan_us=us(makespan_s))
    outcomes = {journal.outcome or "unfinished" for journal in told}
    worst = next(
        name for name in ("unfinished", "failed", "interrupted", "completed", *outcomes) if name in outcomes
    )
    return Timeline(
        job_id=told[0].job_id,
        mode=summary.mode if summary is not None else mode,
        outcome=summary.outcome if summary is not None else worst,
        started_at=origin.isoformat(timespec="seconds") if origin is not None else "",
        makespan_us=us(makespan_s),
        lanes=sorted(lanes, key=lambda lane: (natural_key(lane.host), lane.slot)),
        restarts=sum(journal.restarts for journal in told),
        summary=summary,
        failures=read_failures(folder / "failures.jsonl"),
    )
