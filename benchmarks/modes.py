"""Sharded against coordinated: the same videos, hosts and code, and how long each mode takes.

``python -m benchmarks.modes`` runs every mode several times in turn on containers with a quarter of a CPU
each, and one host alone with the CPU time and slots of all of them, which tells how much work there is. It
keeps every run as soon as it is over, so that a call that was interrupted goes on where it was. Writes
docs/benchmarks-modes.md."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console

from benchmarks import modes_report
from benchmarks.modes_results import WAYS, HostShare, Results, Run, SetResults, Setup, Way, load, save
from benchmarks.modes_sets import VideoSet, made_sets, make_set
from benchmarks.report import machine
from framefleet.common.errors import UserError
from framefleet.common.job.spec import ImageOptions
from framefleet.common.status import Status
from framefleet.launcher.job import ContainerOptions, JobRequest
from framefleet.launcher.options.sampling import NAMES, make_sampling
from framefleet.launcher.output.output_lock import lock_output
from framefleet.launcher.targets.compose import ComposeHost, container_clusters
from framefleet.launcher.targets.docker_engine import run_engine
from framefleet.launcher.targets.local import LocalCluster, run_local

REPOSITORY: Final = Path(__file__).resolve().parent.parent
WORK: Final = Path(tempfile.gettempdir()) / "framefleet-modes"
TARGETS: Final = ("compose", "local")
FOOTAGE_S: Final = 1800  # a minute for eight hosts of a quarter of a CPU; their start takes 2 s of it
FEW: Final = 2  # rounds at most, of what no bound depends on closely, or takes long
USERS: Final = "yours"
FOLDER: Final = click.Path(exists=True, file_okay=False, path_type=Path)
FILE: Final = click.Path(path_type=Path)


class _Quiet:
    """No view of a job: the table at the end is what is wanted."""

    def update(self, status: Status) -> None:
        pass

    def note(self, text: str) -> None:
        print(text, file=sys.stderr)

    def close(self) -> None:
        pass


def run_once(setup: Setup, way: Way, source: Path, folder: Path) -> Run:
    """One job from its start to its end; its output is removed again.

    Raises:
        UserError: it failed, or frames were lost.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    begun: list[float] = []
    alone = way == "alone"
    cpus = setup.cpus
    if cpus is not None and alone:
        cpus *= setup.hosts
    request = JobRequest(
        input=source,
        output=folder,
        instances=1 if alone else setup.hosts,
        slots_per_instance=setup.alone_slots if alone else setup.slots,
        sampling=make_sampling(dict.fromkeys(NAMES) | {"fps": setup.fps}),
        mode="sharded" if way == "sharded" else "coordinated",
        image=ImageOptions(),
        on_error="report",
        containers=ContainerOptions(cpus=cpus),
    )
    kind = container_clusters(request) if setup.target == "compose" else LocalCluster

    def make_cluster(*arguments: Any) -> LocalCluster:
        cluster = kind(*arguments)
        start, close = cluster.start, cluster.close

        def start_at(command: Sequence[str], lock: int) -> None:
            begun.append(time.time())
            start(command, lock)

        def look_and_close() -> None:
            containers = [host.container for host in cluster.hosts if isinstance(host, ComposeHost)]
            try:
                if begun and containers:
                    begun.append(_first_start(containers))
            finally:
                close()

        cluster.start = start_at  # type: ignore[method-assign]
        cluster.close = look_and_close  # type: ignore[method-assign]
        return cluster

    with lock_output(request.output) as lock:
        result = run_local(request, view=_Quiet(), lock=lock, cluster_type=make_cluster)
    summary = result.summary
    if result.interrupted:
        raise KeyboardInterrupt
    if summary is None or result.exit_code("report") or result.trouble:
        raise UserError(f"the {way} run on {source} failed: {'; '.join(result.trouble) or summary}")
    parts = list((folder / "manifest").glob("*.parquet"))
    makespan_s = max(part.stat().st_mtime for part in parts) - begun[-1]
    digest = _digest(folder / "manifest")
    shutil.rmtree(folder)
    return Run(
        makespan_s=makespan_s,
        told_s=summary.makespan_s,
        work_s=summary.work_s,
        slots=sum(host.slots for host in summary.hosts),
        frames=summary.frames,
        units=summary.units,
        retries=summary.retries,
        digest=digest,
        hosts=[
            HostShare(
                host=host.host,
                units=host.units,
                busy_s=host.busy_s,
                idle=max(0.0, 1 - host.busy_s / (host.slots * makespan_s)),
            )
            for host in summary.hosts
        ],
    )


def _first_start(containers: Sequence[str]) -> float:
    """When the first of them was started, by the engine's account: seconds since 1970."""
    told = run_engine(
        ["docker", "inspect", "--format", "{{.State.StartedAt}}", *containers],
        doing="tell when the containers were started",
    )
    return min(datetime.fromisoformat(line).timestamp() for line in told.split())


def _digest(manifest: Path) -> str:
    """SHA-256 over the frames: their names and contents."""
    import pyarrow.parquet as pq

    table = pq.read_table(manifest, columns=["file", "sha256"])
    rows = sorted(zip(table["file"].to_pylist(), table["sha256"].to_pylist(), strict=True))
    return hashlib.sha256(repr(rows).encode()).hexdigest()


def _set_results(chosen: VideoSet, source: Path) -> SetResults:
    """An empty account of a set; the lengths of videos that were not made here are asked of the files."""
    import av

    lengths_s = []
    for path in sorted(each for each in source.rglob("*") if each.is_file()):
        try:
            with av.open(str(path)) as video:
                lengths_s.append((video.duration or 0) / av.time_base)
        except (av.FFmpegError, OSError):
            continue  # the job reports it
    return SetResults(
        name=chosen.name,
        title=chosen.title,
        promise=chosen.promise,
        videos=len(lengths_s),
        footage_s=sum(lengths_s),
        longest_s=max(lengths_s, default=0.0),
    )


def _commit() -> str:
    told = subprocess.run(
        ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return told.stdout.strip() or "unknown"


@click.command()
@click.option("--target", type=click.Choice(TARGETS), default="compose", show_default=True)
@click.option("--hosts", type=click.IntRange(2), default=8, show_default=True)
@click.option(
    "--cpus", type=click.FloatRange(0.05), default=0.25, show_default=True, help="Of each container."
)
@click.option(
    "--set", "names", multiple=True, help="Only these sets: demo, one-long, lognormal, equal, yours."
)
@click.option(
    "--input",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder of yours.",
)
@click.option("--fps", default="5", show_default=True)
@click.option(
    "--footage",
    "footage_s",
    type=click.IntRange(60),
    default=FOOTAGE_S,
    show_default=True,
    help="Seconds of each made set.",
)
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@click.option("--price", type=click.FloatRange(0), help="Of an instance for an hour, in whatever currency.")
@click.option(
    "--results", type=click.Path(path_type=Path), default=WORK / "results.json", help="Where runs are kept."
)
@click.option(
    "--docs", type=click.Path(path_type=Path), default=REPOSITORY / "docs", help="Where the page goes."
)
def main(
    target: str,
    hosts: int,
    cpus: float,
    names: tuple[str, ...],
    folder: Path | None,
    fps: str,
    footage_s: int,
    rounds: int,
    price: float | None,
    results: Path,
    docs: Path,
) -> None:
    """Measure sharded and coordinated runs in turn."""
    console = Console()
    sets = made_sets(footage_s)
    if folder is not None:
        sets[USERS] = VideoSet(USERS, f"the folder {folder.name}", None, {})
    unknown = set(names) - sets.keys()
    if unknown:
        raise click.UsageError(f"--set {sorted(unknown)[0]} is none of {', '.join(sets)}")
    limited = target == "compose"
    setup = Setup(
        commit=_commit(),
        target=target,
        hosts=hosts,
        cpus=cpus if limited else None,
        slots=1,
        alone_slots=hosts,  # as many processes, as they share the machine's caches
        fps=fps,
    )
    kept = load(results, setup) or Results(setup=setup, machine=machine(), date="")
    kept.date = f"{datetime.now(UTC):%Y-%m-%d}"
    chosen = [each for name, each in sets.items() if not names or name in names]
    try:
        for each in chosen:
            source = folder.resolve() if each.name == USERS and folder else make_set(each, WORK)
            _measure(kept, each, source, rounds, results, console)
    except UserError as error:
        raise click.ClickException(str(error)) from error
    finally:
        modes_report.show(kept, console, price=price)
    modes_report.write(
        kept, docs, price=price, command=" ".join(["python -m benchmarks.modes", *sys.argv[1:]])
    )


def _measure(
    kept: Results, chosen: VideoSet, source: Path, rounds: int, path: Path, console: Console
) -> None:
    """Do what is missing of a set's rounds, each way in turn, and keep every run."""
    fresh = _set_results(chosen, source)
    account = next((each for each in kept.sets if each.name == chosen.name), None)
    if account is None or (account.videos, account.footage_s) != (fresh.videos, fresh.footage_s):
        kept.sets = [each for each in kept.sets if each.name != chosen.name] + [fresh]
        account = fresh
    for number in range(rounds):
        for way in WAYS:
            runs = account.runs.setdefault(way, [])
            if len(runs) > number or (number >= FEW and not _needs_all(way, account)):
                continue
            run = run_once(kept.setup, way, source, WORK / "output")
            others = [other for each in account.runs.values() for other in each]
            if any(other.digest != run.digest for other in others):
                raise UserError(f"the {way} run on {chosen.title} gave other frames than the runs before it")
            runs.append(run)
            save(kept, path)
            console.print(
                f"{chosen.name}, round {number + 1} of {rounds}, {way}: {run.makespan_s:.1f} s "
                f"(told {run.told_s:.1f} s), {run.work_s / run.slots:.1f} s busy for each slot"
            )


def _needs_all(way: Way, account: SetResults) -> bool:
    return way == "coordinated" or (way == "sharded" and account.promise == "free")


if __name__ == "__main__":
    main()
