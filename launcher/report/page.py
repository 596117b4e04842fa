"""``report.html``: one page that needs nothing but itself."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from importlib import resources
from typing import Any

from framefleet.common.status import Failure
from framefleet.launcher.report.accounting import PARTS, Account, account
from framefleet.launcher.report.charts import HUES, chart_data
from framefleet.launcher.report.html import Column, card, cut, duration, esc, key, percent, size, table
from framefleet.launcher.report.thumbnails import Thumbnail
from framefleet.launcher.report.timeline import US, Kind, Lane, Timeline, VideoRow, video_rows
from framefleet.launcher.text import count_of

MAX_VIDEO_ROWS = 300
MAX_HOST_ROWS = 500
MAX_FAILURES = 200
MAX_NOTES = 100
# What names of files might smuggle in finds nothing to load.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"

PART_WORDS = {
    "probing": ("Probing", "finding out what the files are"),
    "overhead": ("Unit overhead", "opening files, folders, messages"),
    "roll_in": ("Roll-in", "decoding before a unit's first frame, because it was cut there"),
    "decoding": ("Decoding", "reading and decoding"),
    "encoding": ("Encoding", "converting, encoding and writing pictures"),
    "retries": ("Retries", "attempts that came to nothing: failed, lost, or done twice"),
    "start_up": ("Start-up skew", "from the job's start until the slot was ready"),
    "starvation": ("Starvation", "waiting for work that came later"),
    "tail": ("Tail", "nothing left for this slot, others still at work"),
    "gone": ("Gone", "the slot's host had been lost or had left"),
}


def render(timeline: Timeline, pictures: Sequence[Thumbnail] = ()) -> str:
    """The report of one job."""
    whole = account(timeline.lanes, timeline.makespan_us)
    videos = video_rows(timeline.attempts())
    sections = [
        header(timeline),
        _figures(timeline, whole),
        card("Where the time went", accounting(whole, timeline), note=_accounting_note(timeline)),
        charts(timeline, [video.name for video in videos]),
        _strip(pictures),
        card("Hosts", _hosts(timeline)),
        card("Videos", _videos(videos, timeline.failures), _failures(timeline)),
        _options(timeline),
    ]
    return document(f"Framefleet: job {timeline.job_id}", sections)


def document(title: str, sections: Sequence[str]) -> str:
    """A page with its style and scripts; all that it shows lies in it."""
    body = "\n".join(section for section in sections if section)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{esc(title)}</title>
<style>
{asset("uPlot.min.css")}
{asset("report.css")}
</style>
</head>
<body>
<main>
{body}
<footer>Made by Framefleet; plots by uPlot 1.6.32 (MIT licence). This page needs no network.</footer>
</main>
<script>
{asset("uPlot.iife.min.js")}
</script>
<script>
{asset("report.js")}
</script>
</body>
</html>
"""


def asset(name: str) -> str:
    """The text of a file that goes into the page."""
    return (
        resources.files("framefleet.launcher.report")
        .joinpath("assets", name)
        .read_text(encoding="utf-8")
        .strip()
    )


def header(timeline: Timeline) -> str:
    badge = f'<span class="badge {esc(timeline.outcome)}">{esc(timeline.outcome)}</span>'
    summary = timeline.summary
    why = f'<p class="bad">{esc(summary.reason)}</p>' if summary is not None and summary.reason else ""
    began = timeline.started_at.replace("T", " ").replace("+00:00", " UTC")
    return (
        f"<header><h1>Framefleet job {esc(timeline.job_id)}{badge}</h1>"
        f'<p class="sub">{esc(timeline.mode)}, {count_of(len(timeline.hosts), "host")}, '
        f"{count_of(len(timeline.lanes), 'slot')}, started {esc(began)}</p>{why}</header>"
    )


def _figures(timeline: Timeline, whole: Account) -> str:
    summary = timeline.summary
    kinds = Counter(attempt.kind for attempt in timeline.attempts())
    frames, seconds = timeline.frames, timeline.makespan_us / US
    pairs = [
        ("Makespan", duration(timeline.makespan_us), "from the start to the last thing done"),
        ("Frames", f"{frames:,}", f"{frames / seconds:,.1f} frames/s" if seconds else ""),
        ("Efficiency", percent(whole.share(whole.useful)), "of all slots' time went into frames"),
        ("Idle", percent(whole.share(whole.idle)), f"{duration(whole.idle)} of slots"),
        ("Units", f"{kinds[Kind.DONE]:,}", f"{count_of(kinds[Kind.WASTED], 'attempt')} came to nothing"),
    ]
    if summary is not None:
        failed = f"{summary.videos_failed:,} failed" if summary.videos_failed else "none failed"
        pairs.append(("Videos", f"{summary.videos_done:,} of {summary.videos:,}", failed))
    items = "".join(
        f"<div><dt>{esc(name)}</dt><dd>{esc(value)}<small>{esc(more)}</small></dd></div>"
        for name, value, more in pairs
    )
    return f'<dl class="figures">{items}</dl>'


def _accounting_note(timeline: Timeline) -> str:
    lanes = len(timeline.lanes)
    return (
        f"{count_of(lanes, 'slot')} &times; {duration(timeline.makespan_us)} = "
        f"{duration(lanes * timeline.makespan_us)} of slot time, in categories that add up exactly."
    )


def accounting(whole: Account, timeline: Timeline) -> str:
    """The bar and the table of what the slots' time went into."""
    return account_bar(whole) + account_table("accounting", [("slot time", whole)])


def account_bar(whole: Account, *, of_us: int = 0) -> str:
    """Its parts as one bar; ``of_us``: what the whole width stands for, where that is more than the total."""
    parts = [(name, getattr(whole, name)) for name in PARTS]
    segments = "".join(
        f'<i style="flex:{value} 0 0;background:var(--part-{name})" '
        f'title="{esc(PART_WORDS[name][0])}: {percent(whole.share(value))}"></i>'
        for name, value in parts
        if value
    )
    rest_us = max(0, of_us - whole.total)
    segments += f'<b style="flex:{rest_us} 0 0"></b>' if rest_us else ""
    words = ", ".join(
        f"{PART_WORDS[name][0]} {percent(whole.share(value))}" for name, value in parts if value
    )
    return f'<div class="bar" role="img" aria-label="{esc(words)}">{segments}</div>'


def account_table(name: str, accounts: Sequence[tuple[str, Account]]) -> str:
    """A row for each part, and two columns for each account."""
    columns = [Column("part", numeric=False)]
    for title, _ in accounts:
        columns += [Column(title), Column("share")]
    columns.append(Column("what it is", numeric=False, wide=True))

    def cells(value_of: str) -> list[str]:
        found: list[str] = []
        for _, each in accounts:
            value = getattr(each, value_of)
            found += [duration(value), percent(each.share(value))]
        return found

    rows = [
        [f"{key(f'part-{part}')}{esc(words)}", *cells(part), esc(meaning)]
        for part, (words, meaning) in PART_WORDS.items()
        if any(getattr(each, part) for _, each in accounts) or part != "gone"
    ]
    return table(name, columns, rows, total=["Slots &times; makespan", *cells("total"), ""])


def charts(timeline: Timeline, videos: Sequence[str], *, end_us: int | None = None, title: str = "") -> str:
    """The Gantt chart and the rate over time, with their data."""
    data = chart_data(timeline, videos, end_us=end_us)
    kinds = Counter(attempt.kind for attempt in timeline.attempts())
    splits = sum(attempt.was_split for attempt in timeline.attempts())
    told = (
        f"{count_of(kinds[Kind.DONE], 'unit')} on {count_of(len(timeline.lanes), 'slot')} of "
        f"{count_of(len(timeline.hosts), 'host')} in {duration(timeline.makespan_us)}, {splits:,} split, "
        f"{kinds[Kind.WASTED]:,} attempts that came to nothing"
    )
    return (
        f'<section class="card job"><h2>{esc(title or "Slots over time")}</h2>'
        '<p class="note">Each row is a slot, each bar a unit, coloured by its video. Point at a bar to read '
        "what it is; drag to zoom in, double-click to zoom out.</p>"
        + _legend(videos, timeline)
        + f'<figure role="img" aria-label="Gantt chart: {esc(told)}."><div class="gantt"></div></figure>'
        + '<h3>Rate</h3><ul class="legend">'
        f"<li>{key('rate')}frames per second</li>"
        '<li><span class="key dashed"></span>slots at work (right axis)</li></ul>'
        + f'<figure role="img" aria-label="Frames per second and busy slots over time: '
        f'{timeline.frames:,} frames in {duration(timeline.makespan_us)}."><div class="rate"></div></figure>'
        + _script_data(data)
        + "</section>"
    )


def _script_data(data: dict[str, Any]) -> str:
    text = json.dumps(data, separators=(",", ":"))
    text = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return f'<script type="application/json">{text}</script>'


def _legend(videos: Sequence[str], timeline: Timeline) -> str:
    mine = {attempt.video for attempt in timeline.attempts() if not attempt.is_probe}
    items = [
        f"{key(f'hue-{place}')}{cut(video)}" for place, video in enumerate(videos[:HUES]) if video in mine
    ]
    others = len(mine.intersection(videos[HUES:]))
    if others:
        items.append(f"{key('other-0')}{count_of(others, 'other video')}")
    kinds = {attempt.kind for attempt in timeline.attempts()}
    if Kind.PROBE in kinds:
        items.append(f"{key('probing')}probing")
    if kinds & {Kind.WASTED, Kind.OPEN}:
        items.append('<span class="key hatched"></span>came to nothing')
    if any(attempt.was_split for attempt in timeline.attempts()):
        items.append('<span class="key split"></span>split: its rest went to another slot')
    if any(attempt.is_copy for attempt in timeline.attempts()):
        items.append('<span class="key copy"></span>a second copy: the first to be complete counts')
    items.append('<span class="key starting"></span>starting')
    items.append(f"{key('idle')}idle")
    if any(lane.away for lane in timeline.lanes):
        items.append(f"{key('gone')}gone")
    return '<ul class="legend">' + "".join(f"<li>{item}</li>" for item in items) + "</ul>"


def _strip(pictures: Sequence[Thumbnail]) -> str:
    if not pictures:
        return ""
    items = "".join(
        f'<li><img src="{each.source}" width="{each.width}" height="{each.height}" '
        f'alt="A frame of {esc(each.video)} at {each.time_s:.2f} s">'
        f'<p title="{esc(each.file)}">{cut(each.video)}</p><p>{each.time_s:.2f} s</p></li>'
        for each in pictures
    )
    return card("Sample frames", f'<ul class="strip">{items}</ul>')


def _hosts(timeline: Timeline) -> str:
    columns = [
        Column("host", numeric=False), Column("slots"), Column("units"), Column("frames"), Column("retries"),
        Column("ready after", wide=True), Column("first unit", wide=True), Column("busy"), Column("idle"),
        Column("lost or left", numeric=False, wide=True),
    ]  # fmt: skip
    by_host: dict[str, list[Lane]] = {}
    for lane in timeline.lanes:
        by_host.setdefault(lane.host, []).append(lane)
    rows = [_host_row(name, lanes, timeline.makespan_us) for name, lanes in by_host.items()]
    more = len(rows) - MAX_HOST_ROWS
    rest = f'<p class="note">and {more:,} more hosts</p>' if more > 0 else ""
    return table("hosts", columns, rows[:MAX_HOST_ROWS]) + rest


def _host_row(name: str, lanes: Sequence[Lane], makespan_us: int) -> list[str]:
    spent = account(lanes, makespan_us)
    attempts = [attempt for lane in lanes for attempt in lane.attempts]
    done = [attempt for attempt in attempts if attempt.kind is Kind.DONE]
    lost = sum(attempt.kind is Kind.WASTED for attempt in attempts)
    away = [start_us for start_us, _ in lanes[0].away if start_us < makespan_us]
    return [
        esc(name),
        f"{len(lanes):,}",
        f"{len(done):,}",
        f"{sum(attempt.frames for attempt in done):,}",
        f'<span class="bad">{lost:,}</span>' if lost else "0",
        duration(min(lane.ready_us for lane in lanes)),
        duration(min(attempt.start_us for attempt in done)) if done else "&ndash;",
        duration(spent.busy),
        percent(spent.share(spent.idle)),
        "".join(f'<span class="bad">gone at {duration(start_us)}</span> ' for start_us in away),
    ]


def _videos(videos: Sequence[VideoRow], failures: Sequence[Failure]) -> str:
    failed = Counter(failure.video for failure in failures)
    columns = [
        Column("video", numeric=False), Column("frames"), Column("suspect", wide=True), Column("units"),
        Column("retries"), Column("slots", wide=True), Column("slot time"), Column("from", wide=True),
        Column("to", wide=True), Column("failures"),
    ]  # fmt: skip
    first = sorted(videos, key=lambda video: not failed[video.name])  # stable: then by work
    rows = [
        [
            esc(video.name), f"{video.frames:,}", f"{video.suspect:,}", f"{video.units:,}",
            f"{video.wasted:,}", f"{video.slots:,}", duration(video.busy_us),
            duration(video.start_us), duration(video.end_us),
            f'<span class="bad">{failed[video.name]:,}</span>' if failed[video.name] else "0",
        ]
        for video in first[:MAX_VIDEO_ROWS]
    ]  # fmt: skip
    more = len(videos) - len(rows)
    rest = (
        f'<p class="note">and {more:,} more, with less work; the manifest has them all</p>'
        if more > 0
        else ""
    )
    return table("videos", columns, rows) + rest


def _failures(timeline: Timeline) -> str:
    if not timeline.failures:
        return ""
    columns = [
        Column("failed", numeric=False),
        Column("part", numeric=False),
        Column("attempts"),
        Column("reason", numeric=False),
    ]
    rows = [
        [esc(failure.video), _part(failure), f"{failure.attempts:,}", esc(failure.reason)]
        for failure in timeline.failures[:MAX_FAILURES]
    ]
    more = len(timeline.failures) - len(rows)
    rest = f'<p class="note">and {more:,} more in job/failures.jsonl</p>' if more > 0 else ""
    return "<h3>What failed</h3>" + table("failures", columns, rows) + rest


def _part(failure: Failure) -> str:
    if failure.start_s is None and failure.stop_s is None:
        return "all of it"
    stop = "the end" if failure.stop_s is None else f"{failure.stop_s:.2f} s"
    return f"{failure.start_s or 0:.2f} s to {stop}"


def _options(timeline: Timeline) -> str:
    summary = timeline.summary
    pairs: list[tuple[str, object]] = [("mode", timeline.mode), ("hosts", len(timeline.hosts))]
    notes: list[str] = []
    if summary is not None:
        pairs += [
            (name.replace("_", " "), value) for name, value in summary.options.items() if value is not None
        ]
        pairs.append(("output", f"{summary.frames:,} frames, {size(summary.bytes)}"))
        if summary.taken_over:
            pairs.append(("taken over from before", f"{summary.taken_over:,} frames"))
        if summary.libraries is not None:
            pairs.append(("libraries", summary.libraries))
        notes = summary.notes
    if timeline.restarts:
        pairs.append(("coordinator started again", timeline.restarts))
    items = "".join(f"<dt>{esc(name)}</dt><dd>{esc(value)}</dd>" for name, value in pairs)
    told = "".join(f"<li>{esc(note)}</li>" for note in notes[:MAX_NOTES])
    if len(notes) > MAX_NOTES:
        told += f"<li>and {len(notes) - MAX_NOTES:,} more in job/summary.json</li>"
    remarks = f'<h3>Notes</h3><ul class="notes">{told}</ul>' if told else ""
    return card("Options", f'<dl class="options">{items}</dl>', remarks)
