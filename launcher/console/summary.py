"""What the user reads when a job is over."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from framefleet.common.status import Failure, Summary
from framefleet.launcher.console.display import percent
from framefleet.launcher.job import JobRequest, JobResult
from framefleet.launcher.text import count_of, natural_key, printable

MAX_FAILURES_SHOWN = 20
MAX_NOTES_SHOWN = 20


def print_result(console: Console, request: JobRequest, result: JobResult) -> None:
    """Print the table of hosts, the figures, what went wrong, and where the frames are."""

    def say(text: str, style: str = "") -> None:
        console.print(Text(printable(text), style=style), soft_wrap=True)

    print_account(console, result, source=str(request.input))
    if (request.output / "job" / "logs").is_dir():
        say(f"Logs:     {request.output / 'job' / 'logs'}")
    if result.frames_merged:
        say(f"Frames:   {request.output / ('frames' if request.pack is None else 'shards')}")
        say(f"Manifest: {request.output / 'manifest'}")
    if not result.no_report:
        say(f"Report:   {request.output / 'job' / 'report.html'}")
    elif result.summary is not None:
        say(f"There is no report: {result.no_report}", style="yellow")
        say(f"Account:  {request.output / 'job'}")


def print_account(console: Console, result: JobResult, *, source: str) -> None:
    """Print what the job tells of itself; ``source`` is where its videos came from."""

    def say(text: str, style: str = "") -> None:
        console.print(Text(printable(text), style=style), soft_wrap=True)

    summary = result.summary
    if summary is None:
        say(_without_summary(result), style="bold red")
    else:
        if summary.videos == 0:
            say(f"There is nothing to extract: no files were found in {source}")
        else:
            console.print(_host_table(summary))
            for line in _figures(summary):
                say(line)
        if summary.outcome != "completed":
            say(f"The job {_ended(summary)}.", style="bold red")
    for line in _failure_lines(summary, result.failures):
        say(line)
    for trouble in result.trouble:
        say(f"Trouble: {trouble}", style="red")
    for line in _note_lines(summary.notes if summary is not None else []):
        say(line)
    for line in result.log_tail:
        say(f"  | {line}")


def _host_table(summary: Summary) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("host", no_wrap=True, overflow="crop")
    for heading in ("slots", "units", "frames", "busy s", "idle"):
        table.add_column(heading, justify="right", no_wrap=True)
    for host in sorted(summary.hosts, key=lambda host: natural_key(host.host)):
        name = printable(host.host) + (" (lost)" if host.state == "lost" else "")
        figures = (f"{host.slots:,}", f"{host.units:,}", f"{host.frames:,}", f"{host.busy_s:,.1f}")
        table.add_row(Text(name), *figures, percent(host.idle_share))
    return table


def _figures(summary: Summary) -> list[str]:
    failed = f", {summary.videos_failed:,} failed" if summary.videos_failed else ""
    suspect = f", {summary.suspect_frames:,} of them suspect" if summary.suspect_frames else ""
    retries = f", {summary.retries:,} retried" if summary.retries else ""
    videos = f"{summary.videos_done:,} of {count_of(summary.videos, 'video')}{failed}"
    bound = f"lower bound W/S = {summary.work_s:.1f} s / {summary.speed:g} = {summary.lower_bound_s:.1f} s"
    taken = f", {summary.taken_over:,} taken over from before" if summary.taken_over else ""
    dropped = f", {summary.dropped_frames:,} of them left out" if summary.dropped_frames else ""
    frames = f"{count_of(summary.frames, 'frame')}{suspect}{dropped}{taken} ({_size(summary.bytes)})"
    if not summary.units:
        return [f"{frames} from {videos}, no work{retries}"]
    return [
        f"{frames} from {videos}, in {count_of(summary.units, 'unit')}{retries}",
        f"makespan {summary.makespan_s:.1f} s, {bound}, efficiency {percent(summary.efficiency)}",
    ]


def _ended(summary: Summary) -> str:
    how = "was interrupted" if summary.outcome == "interrupted" else "failed"
    return f"{how}: {summary.reason}".rstrip(". ") if summary.reason else how


def _without_summary(result: JobResult) -> str:
    whole = f"{result.frames_merged:,} frames are whole and kept"
    if result.interrupted:
        return f"The job was interrupted; {whole}."
    return f"The job failed: it ended without a summary; {whole}."


def _failure_lines(summary: Summary | None, failures: list[Failure]) -> list[str]:
    lines = [f"Failed: {_place(failure)}: {failure.reason}" for failure in failures[:MAX_FAILURES_SHOWN]]
    total = max(len(failures), summary.failures if summary is not None else 0)
    if total > len(lines):
        lines.append(f"and {total - len(lines):,} more in job/failures.jsonl")
    return lines


def _note_lines(notes: list[str]) -> list[str]:
    lines = [f"Note: {note}" for note in notes[:MAX_NOTES_SHOWN]]
    if len(notes) > len(lines):
        lines.append(f"and {len(notes) - len(lines):,} more notes in job/summary.json")
    return lines


def _place(failure: Failure) -> str:
    if failure.start_s is None and failure.stop_s is None:
        return failure.video
    stop = "the end" if failure.stop_s is None else f"{failure.stop_s:.2f} s"
    return f"{failure.video} from {failure.start_s or 0.0:.2f} s to {stop}"


def _size(count_bytes: int) -> str:
    size = float(count_bytes)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"
