"""The results of the dispatch benchmark, on the screen and as docs/benchmarks-dispatch.md."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks.dispatch_task import Listed, Results, Told

RATE_BOUND: Final = 10_000
PEER_BOUND: Final = 10
MEMORY_BOUND_BYTES: Final = 2**30
TITLES: Final = {
    "dask": "Dask distributed",
    "ray": "Ray",
    "parsl": "Parsl, HighThroughputExecutor",
    "ipyparallel": "ipyparallel, load-balanced view",
}

INTRODUCTION: Final = """\
# Benchmarks: handing out work

Written by `python -m benchmarks.dispatch --write` on {machine}, {date}: medians of {rounds} rounds in which
all take turns. All processes share the machine's cores, and the machine is shared too: its speed drifts by a
factor of two within hours, so ratios within one run compare, and rates of different runs do not.

Ours is `python -m framefleet.coordinator` as in a job: TCP sockets, CURVE, scheduling policy, journal on
disk, two-step commit. The hosts are simulated by one process that holds a socket for each of them
and does nothing with a unit. Units are cut one by one from videos of 250 s at their keyframes.
At full speed each slot asks again at once, so the latency there is the number of slots by the rate.
The others are given {tasks} no-op tasks on two workers of this machine, and are timed from the first
submission to the last result.
"""


def show(results: Results, console: Console) -> None:
    """Print all tables."""
    for title, header, rows in _tables(results):
        table = Table(title=title)
        for place, column in enumerate(header):
            table.add_column(column, justify="right" if place else "left")
        for row in rows:
            table.add_row(*row)
        console.print(table)


def page(results: Results) -> str:
    """The page."""
    introduction = INTRODUCTION.format(
        machine=results.machine,
        date=results.date,
        rounds=results.rounds,
        tasks=f"{results.tasks:,}",
    )
    parts = [introduction]
    for title, header, rows in _tables(results):
        lines = [f"## {title}\n", "| " + " | ".join(header) + " |", "|---" + "|--:" * (len(header) - 1) + "|"]
        lines += ["| " + " | ".join(row) + " |" for row in rows]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


Rows = list[list[str]]


def _tables(results: Results) -> list[tuple[str, list[str], Rows]]:
    tables = [
        (
            "Units, from the `Done` that frees a slot to the `Assign` that fills it",
            ["", "units/s", "coordinator, CPU µs per unit", "of it libzmq's thread", "its cores",
             "hosts, CPU µs per unit", "latency, ms: median", "90 %", "99 %", "99.9 %"],
            [_ours(title, told) for title, told in results.ours.items()],
        ),
        ("Beside other systems", ["", "version", "tasks/s", "our lower full speed / it"], _peers(results)),
    ]  # fmt: skip
    if results.listed is not None:
        tables.append((f"A job of {results.listed.videos:,} videos", ["", ""], _listed(results.listed)))
    if results.profile:
        title = "Where the time of the coordinator's Python thread goes, with the most hosts at full speed"
        rows = [[share.part, f"{100 * share.share:.0f} %"] for share in results.profile]
        tables.append((title, ["", "share, by cProfile"], rows))
    tables.append(("Bounds", ["", "measured", "bound", ""], _bounds(results)))
    return tables


def rate(told: Sequence[Told]) -> float:
    """Units a second, the median of the rounds."""
    return median(one.units / one.seconds for one in told)


def _full_speed(results: Results) -> float:
    """The lowest rate of those settings in which a unit takes no time."""
    return min(rate(told) for told in results.ours.values() if not told[0].is_paced)


def _ours(title: str, told: Sequence[Told]) -> list[str]:
    return [
        title,
        f"{rate(told):,.0f}",
        f"{median(1e6 * one.coordinator_cpu_s / one.units for one in told):.0f}",
        f"{median(1e6 * one.coordinator_io_s / one.units for one in told):.0f}",
        f"{median(one.coordinator_cpu_s / one.seconds for one in told):.2f}",
        f"{median(1e6 * one.fleet_cpu_s / one.units for one in told):.0f}",
        *(f"{1000 * median(values):.1f}" for values in zip(*(one.latency_s for one in told), strict=True)),
    ]


def _peers(results: Results) -> Rows:
    rows = []
    for name, title in TITLES.items():
        rounds = results.peers.get(name, [])
        if name in results.missing or not rounds:
            rows.append([title, "", "not measured", results.missing.get(name, "")])
            continue
        per_s = median(one.per_s for one in rounds)
        rows.append([title, rounds[0].version, f"{per_s:,.0f}", f"{_full_speed(results) / per_s:.1f}"])
    return rows


def _listed(listed: Listed) -> Rows:
    each = max(1, listed.units)
    return [
        ["listing", f"{listed.list_s:.1f} s, peak {_mib(listed.list_peak_bytes)}"],
        [
            f"probes and {listed.units:,} units, hosts and messages within the same process",
            f"{listed.job_s:.0f} s ({1e6 * listed.job_cpu_s / each:.0f} µs of CPU a unit)",
        ],
        ["peak of resident memory", _mib(listed.peak_bytes)],
        ["journal", f"{listed.journal_bytes / 1e6:.0f} MB"],
    ]


def _bounds(results: Results) -> Rows:
    rows: Rows = []
    rates = [median(one.per_s for one in rounds) for rounds in results.peers.values() if rounds]
    for title, told in results.ours.items():
        if told[0].is_paced:
            continue
        ours = rate(told)
        text = f"{title}: units/s"
        rows.append(_bound(text, f"{ours:,.0f}", f"at least {RATE_BOUND:,}", met=ours >= RATE_BOUND))
        if rates:
            ratio = ours / max(rates)
            text = f"{title}: units/s / the best other"
            met = ratio >= PEER_BOUND
            rows.append(_bound(text, f"{ratio:.1f}", f"at least {PEER_BOUND}", met=met))
    if results.listed is not None:
        peak, limit = results.listed.peak_bytes, MEMORY_BOUND_BYTES
        text = f"memory, {results.listed.videos:,} videos"
        rows.append(_bound(text, _mib(peak), f"at most {_mib(limit)}", met=peak <= limit))
    return rows


def _bound(text: str, measured: str, bound: str, *, met: bool) -> list[str]:
    return [text, measured, bound, "met" if met else "**missed**"]


def _mib(count: int) -> str:
    return f"{count / 2**20:,.0f} MiB"
