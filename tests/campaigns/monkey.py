"""Random faults in a real job, by a seed: which process, what happens to it, and when.

``python -m tests.campaigns.monkey --runs 200`` runs one job after the other, each with its own faults, and
compares what each leaves, files and manifest, with an undisturbed run. Some faults end a job: its launcher or
primary host is killed, or it is interrupted. ``--resume`` goes on with it then, under faults too.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from framefleet.common.job.spec import SchedulingOptions
from framefleet.common.output.shard_fields import PackFormat, PackOptions
from framefleet.launcher.demo import make_demo_set
from tests.helpers.jobs import Job, check_output, rows, run_job, tree

HOSTS: Final = ("algo-1", "algo-2", "algo-3")
LEASE_S: Final = 2.0
OPTIONS: Final[dict[str, Any]] = {
    "instances": len(HOSTS),
    "fps": "native",
    "scheduling": SchedulingOptions(
        unit_span_s=0.5, cut="anywhere", heartbeat_s=0.3, lease_s=LEASE_S, host_wait_s=60.0
    ),
}
SHARD_BYTES: Final = 300_000  # of packed jobs: some shards of each host
LENGTHS_S: Final = (8, 3, 2)  # of the videos: 26 units
HELD_AFTER: Final = 2  # units of each slot process, of which faults make some more: they never do all of it
MAX_FAULTS: Final = 6
MAX_ENDS: Final = 3  # how often a job is ended and resumed
LEAVE_S: Final = 60.0  # for hosts whose launcher was killed
SEEDS_APART: Final = 1_000_003
LATEST_S: Final = 0.8  # between two faults
# what tells a frame, whoever took it
KEYS: Final = (
    "video",
    "sample",
    "pts",
    "time_base",
    "target_s",
    "file",
    "sha256",
    "status",
    "bytes",
    "keyframe",
    "distance",
)

Row = tuple[object, ...]


class Monkey:
    """Does to a job what its seed says, until the job ends.

    Attributes:
        story: what it did.
        has_ended: a fault ended the job.
    """

    def __init__(self, job: Job, seed: int, *, may_end: bool) -> None:
        """``may_end``: faults that end the job are among those that it may have."""
        self._job = job
        self.has_ended = False
        self._chance = random.Random(seed)
        self._stopped: list[tuple[float, int, bool]] = []
        self._lost: set[str] = set()
        self.story: list[str] = []
        self._actions: list[tuple[int, Callable[[], None]]] = [
            (4, self._kill_slot),
            (3, self._stop_slot),
            (2, self._stop_host),
            (1, self._kill_agent),
            (1, self._kill_host),
            (2, self._kill_coordinator),
            (1, self._stop_coordinator),
        ]
        if may_end:
            self._actions += [
                (1, self._kill_launcher),
                (1, self._interrupt),
                (1, lambda: self._kill_primary(group=False)),
                (1, lambda: self._kill_primary(group=True)),
            ]

    def run(self) -> None:
        """Play; returns when all faults are done and undone. What slots do is held until all are done."""
        job, chance = self._job, self._chance
        while not any(entry["event"] == "leased" for entry in job.journal()):
            if job.process.poll() is not None:  # one that was resumed had nothing left to do
                return
            time.sleep(0.01)
        for _ in range(chance.randint(1, MAX_FAULTS)):
            if self.has_ended:
                break
            self._pause(chance.uniform(0, LATEST_S))
            (action,) = chance.choices(
                [action for _, action in self._actions], [weight for weight, _ in self._actions]
            )
            action()
        job.gate.open()
        while self._stopped:
            self._pause(0.05)

    def _pause(self, seconds: float) -> None:
        """Wait, and let go on what was stopped for long enough."""
        until = time.monotonic() + seconds
        while True:
            now = time.monotonic()
            for entry in [entry for entry in self._stopped if entry[0] <= now]:
                self._stopped.remove(entry)
                self._signal(entry[1], signal.SIGCONT, group=entry[2])
            if now >= until:
                return
            time.sleep(min(0.02, until - now))

    def _signal(self, pid: int, number: signal.Signals, *, group: bool = False) -> None:
        try:
            (os.killpg if group else os.kill)(pid, number)
        except ProcessLookupError:
            return

    def _tell(self, text: str) -> None:
        self.story.append(text)

    def _hold(self, pid: int, name: str, *, group: bool, longest_s: float) -> None:
        for_s = self._chance.uniform(0.1, longest_s)
        self._tell(f"stop {name} for {for_s:.1f} s")
        self._signal(pid, signal.SIGSTOP, group=group)
        self._stopped.append((time.monotonic() + for_s, pid, group))

    def _others(self) -> list[str]:
        """Hosts that may be lost; one besides the primary host is spared while restarts are tried."""
        return [host for host in HOSTS[1:] if host not in self._lost]

    def _a_slot(self) -> tuple[str, int] | None:
        host = self._chance.choice(HOSTS)
        pids = self._job.pids(host, slots=True)
        return (host, self._chance.choice(sorted(pids))) if pids else None

    def _an_agent(self) -> tuple[str, int] | None:
        others = self._others()
        if not others:
            return None
        host = self._chance.choice(others)
        pids = self._job.pids(host, slots=False)
        return (host, pids[0]) if pids else None

    def _kill_slot(self) -> None:
        if (found := self._a_slot()) is not None:
            self._tell(f"kill a slot of {found[0]}")
            self._signal(found[1], signal.SIGKILL)

    def _stop_slot(self) -> None:
        if (found := self._a_slot()) is not None:
            self._hold(found[1], f"a slot of {found[0]}", group=False, longest_s=2 * LEASE_S)

    def _stop_host(self) -> None:
        if (found := self._an_agent()) is not None:
            self._hold(found[1], found[0], group=True, longest_s=3 * LEASE_S)

    def _kill_agent(self) -> None:
        if (found := self._an_agent()) is not None:
            self._lost.add(found[0])
            self._tell(f"kill the agent of {found[0]}")
            self._signal(found[1], signal.SIGKILL)

    def _kill_host(self) -> None:
        if (found := self._an_agent()) is not None:
            self._lost.add(found[0])
            self._tell(f"kill {found[0]}")
            self._signal(found[1], signal.SIGKILL, group=True)

    def _kill_launcher(self) -> None:
        self._end("kill the launcher", self._job.process.pid, signal.SIGKILL)

    def _interrupt(self) -> None:
        self._end("interrupt the launcher", self._job.process.pid, signal.SIGINT)

    def _kill_primary(self, *, group: bool) -> None:
        for pid in self._job.pids(HOSTS[0], slots=False):
            self._end(f"kill {'' if group else 'the agent of '}{HOSTS[0]}", pid, signal.SIGKILL, group=group)

    def _end(self, what: str, pid: int, number: signal.Signals, *, group: bool = False) -> None:
        self._tell(what)
        self._signal(pid, number, group=group)
        self.has_ended = True

    def _kill_coordinator(self) -> None:
        for pid in self._job.coordinators():
            self._tell("kill the coordinator")
            self._signal(pid, signal.SIGKILL)

    def _stop_coordinator(self) -> None:
        for pid in self._job.coordinators():
            self._hold(pid, "the coordinator", group=False, longest_s=1.5 * LEASE_S)


def frames_of(output: Path) -> list[Row]:
    """The manifest without what depends on who did what."""
    return sorted(tuple(row[key] for key in KEYS) for row in rows(output))


class Undisturbed:
    """What a job without faults leaves, to compare with."""

    def __init__(self, folder: Path, **options: Any) -> None:
        """``options``: of ``JobOptions``, besides ``OPTIONS``."""
        self.source = make_demo_set(folder / "in", lengths_s=LENGTHS_S, loop_frames=25)
        self.options = {**OPTIONS, **options}
        run_job(self.source, folder / "expected", **self.options)
        self.tree = tree(folder / "expected")
        self.rows = frames_of(folder / "expected")

    def disturbed(self, output: Path, seed: int) -> list[str]:
        """Run the job with the faults of ``seed``; gives what happened.

        Raises:
            AssertionError: it did not end well, or left something else.
        """
        told: list[str] = []
        for ends in range(MAX_ENDS + 1):
            job = Job(self.source, output, held_after=HELD_AFTER, resume=ends > 0, **self.options)
            monkey = Monkey(job, seed + ends * SEEDS_APART, may_end=ends < MAX_ENDS)
            try:
                monkey.run()
                code = job.wait()
            finally:
                if job.process.poll() is None:
                    job.process.send_signal(signal.SIGINT)
            told += monkey.story
            if not monkey.has_ended or code == 0:  # it may have been over already
                break
            until = time.monotonic() + LEAVE_S
            while job.leftovers() and time.monotonic() < until:
                time.sleep(0.05)
            told.append(f"ended with {code}, resumed")
        story = "\n".join([f"seed {seed}:", *told])
        assert code == 0, f"{story}\nexit code {code}\n{job.text}"
        try:
            check_output(output)
        except AssertionError as error:
            raise AssertionError(f"{story}\n{error}\n{job.text}") from error
        assert tree(output) == self.tree, f"{story}\nother files\n{job.text}"
        assert frames_of(output) == self.rows, f"{story}\nother rows\n{job.text}"
        assert job.leftovers() == [], f"{story}\nprocesses are left"
        return told


@click.command()
@click.option("--runs", type=click.IntRange(min=1), default=200, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the first run.")
@click.option("--pack", type=click.Choice(["tar", "parquet"]), help="Images go into shards.")
@click.option("--keep", type=click.Path(path_type=Path), help="Where the output of failed runs is kept.")
def main(runs: int, seed: int, pack: PackFormat | None, keep: Path | None) -> None:
    """Disturb one job after the other, and compare what they leave."""
    failed = 0
    faults = 0
    with tempfile.TemporaryDirectory(prefix="framefleet-monkey-") as name:
        options = {} if pack is None else {"pack": PackOptions(format=pack, shard_bytes=SHARD_BYTES)}
        undisturbed = Undisturbed(Path(name), **options)
        for number in range(seed, seed + runs):
            output = Path(name) / f"out-{number}"
            begun = time.monotonic()
            try:
                story = undisturbed.disturbed(output, number)
                faults += len(story)
                print(
                    f"seed {number}: well, {len(story)} faults, {time.monotonic() - begun:.1f} s", flush=True
                )
            except AssertionError as error:
                failed += 1
                print(f"seed {number}: FAILED\n{error}", flush=True)
                if keep is not None:
                    shutil.copytree(output, keep / str(number), dirs_exist_ok=True)
            shutil.rmtree(output, ignore_errors=True)
    print(f"{runs} runs with {faults} faults: {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
