"""Two jobs in one page: the same axis of time, their accounts beside each other, and what each cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from framefleet.common.errors import UserError
from framefleet.launcher.report.accounting import Account, account
from framefleet.launcher.report.html import Column, card, duration, esc, percent, table
from framefleet.launcher.report.make_report import write_text
from framefleet.launcher.report.page import account_bar, account_table, charts, document
from framefleet.launcher.report.read_job import read_job
from framefleet.launcher.report.timeline import US, Kind, Timeline, video_rows

HOUR_US = 3600 * US


def make_comparison(first: Path, second: Path, page: Path, *, price: float | None = None) -> Path:
    """Compare the jobs in two output folders; ``price`` is that of an instance for an hour.

    Raises:
        UserError: one of them holds no job, or the page cannot be written.
    """
    jobs = [read_job(first), read_job(second)]
    text = render_comparison(jobs, titles(jobs, [first.resolve().name, second.resolve().name]), price=price)
    try:
        write_text(page, text)
    except OSError as error:
        raise UserError(f"cannot write {page}: {error.strerror or error}") from error
    return page


def titles(jobs: Sequence[Timeline], folders: Sequence[str]) -> list[str]:
    """A short name for each job: its mode where they differ in that, else its folder, else a letter."""
    for names in ([job.mode for job in jobs], list(folders)):
        if len(set(names)) == len(jobs):
            return names
    return [f"{folder} ({letter})" for folder, letter in zip(folders, "AB", strict=True)]


def render_comparison(jobs: Sequence[Timeline], names: Sequence[str], *, price: float | None = None) -> str:
    """The page of two jobs under their names."""
    end_us = max(job.makespan_us for job in jobs)
    videos = [row.name for row in video_rows(each for job in jobs for each in job.attempts())]
    accounts = [account(job.lanes, job.makespan_us) for job in jobs]
    title = " and ".join(names)
    bars = "".join(
        f"<h3>{esc(name)}</h3>{account_bar(each, of_us=max(whole.total for whole in accounts))}"
        for name, each in zip(names, accounts, strict=True)
    )
    told = f'<p class="sub">Framefleet jobs {esc(jobs[0].job_id)} and {esc(jobs[1].job_id)}, side by side</p>'
    sections = [
        f"<header><h1>{esc(title)}</h1>{told}</header>",
        card("At a glance", _figures(jobs, accounts, names, price)),
        card(
            "Where the time went",
            bars,
            account_table("accounting", list(zip(names, accounts, strict=True))),
            note="The slot time of each job, in categories that add up exactly; the bars have one scale.",
        ),
        *(charts(job, videos, end_us=end_us, title=name) for job, name in zip(jobs, names, strict=True)),
    ]
    return document(f"Framefleet: {title}", sections)


def _figures(
    jobs: Sequence[Timeline], accounts: Sequence[Account], names: Sequence[str], price: float | None
) -> str:
    columns = [Column("", numeric=False), *(Column(name) for name in names), Column("second / first")]
    hours = [len(job.hosts) * job.makespan_us / HOUR_US for job in jobs]
    both = list(zip(jobs, accounts, strict=True))
    rows = [
        _row("Makespan", [job.makespan_us for job in jobs], duration),
        _row("Hosts", [len(job.hosts) for job in jobs]),
        _row("Slots", [len(job.lanes) for job in jobs]),
        _row("Frames", [job.frames for job in jobs]),
        _row("Frames per second", [_rate(job) for job in jobs], lambda value: f"{value:,.1f}"),
        _row("Efficiency", [whole.share(whole.useful) for _, whole in both], percent),
        _row("Idle share", [whole.share(whole.idle) for _, whole in both], percent),
        _row("Slots' time at work", [whole.busy for _, whole in both], duration),
        _row("Units", [sum(each.kind is Kind.DONE for each in job.attempts()) for job in jobs]),
        _row("Instance-hours", hours, lambda value: f"{value:,.4g}"),
    ]
    if price is not None:
        rows.append(_row("Cost", [each * price for each in hours], lambda value: f"{value:,.4g}"))
    return table("comparison", columns, rows)


def _rate(job: Timeline) -> float:
    return job.frames * US / job.makespan_us if job.makespan_us else 0.0


def _row(name: str, values: Sequence[float], form: Callable[[float], str] = "{:,}".format) -> list[str]:
    ratio = f"{values[1] / values[0]:.2f}" if values[0] else "&ndash;"
    return [esc(name), *(esc(form(value)) for value in values), ratio]
