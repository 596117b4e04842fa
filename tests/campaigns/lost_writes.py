"""A job that is killed, or whose machine loses its power, after every single call to the disk.

``python -m tests.campaigns.lost_writes`` runs a job once, with all that it asks of its output written down,
and makes of that the disk after each call: as a ``kill -9`` of all processes leaves it, and as power cuts do
that lose any of what was not synced (``--cuts`` after each call, by ``--seed``). What the journal calls
committed must be there each time, and what ``--resume`` takes over be right; ``--jobs`` of these disks, drawn
by the seed, are completed by a real ``--resume`` and compared. After the last call the job has ended with 0,
so nothing at all may be missing: that is looked at 50 times.

``--again`` does so to the ``--resume`` of a job that was killed after a call that the seed draws. ``--pack``
is for shards. ``--disks`` takes so many of all these disks, by the seed. Some 0.1 s a disk, and a job 10 s.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Final

import click

from framefleet.common.output.shard_fields import PackFormat
from tests.campaigns.disk_calls import Moments, all_synced, build, read_trace, watching
from tests.campaigns.tiny_job import Tiny, in_fork

LAST_CUTS: Final = 50

Disk = tuple[int, int | None]  # after how many calls; the seed of a power cut, None: all is killed


class Recorded:
    """A job, and its calls; ``first``: after so many of which its ``--resume`` begins, if it has one."""

    def __init__(self, folder: Path, pack: PackFormat | None = None, *, again: int | None = None) -> None:
        """``again``: the seed of where the job is killed, whose ``--resume`` is what is recorded."""
        self.job = Tiny(folder, pack)
        self.disk = folder / "disk"
        output = folder / "recorded" / "out"
        output.parent.mkdir()
        library, trace = build(folder), folder / "trace"
        self.job.run(output, watching(library, output, trace=trace))
        calls = read_trace(trace)
        self.moments, self.first = Moments(calls, output), 0
        if again is not None:
            self.first = random.Random(again).randint(len(calls) // 4, len(calls))
            self.moments.killed(self.first, output)
            trace.unlink()
            self.job.go_on(output, watching(library, output, trace=trace))
            calls = [*calls[: self.first], *all_synced(output), *read_trace(trace)]
            self.moments = Moments(calls, output)

    def disks(self, cuts: int, seed: int) -> list[Disk]:
        """Those after each call: killed, and with so many power cuts."""
        total = len(self.moments)
        found: list[Disk] = [(at, None) for at in range(self.first, total + 1)]
        found += [(at, seed + cut) for cut in range(cuts) for at in range(self.first, total + 1)]
        return found + [(total, seed + cut) for cut in range(cuts, LAST_CUTS)]

    def make(self, at: int, seed: int | None) -> Path:
        """Make the disk after so many calls; where it is."""
        if seed is None:
            self.moments.killed(at, self.disk)
        else:
            self.moments.cut(at, self.disk, random.Random(f"{seed} {at}"))
        return self.disk

    def check(self, at: int, seed: int | None) -> None:
        """See what ``--resume`` would take over after so many calls.

        Raises:
            AssertionError: it is not right, or it refuses.
        """
        output = self.make(at, seed)
        if at == len(self.moments):
            in_fork(partial(self.job.compare, output))
        in_fork(partial(self._check, output))

    def _check(self, output: Path) -> None:
        self.job.check_committed(output)
        self.job.take_over(output)

    def go_on(self, at: int, seed: int | None) -> None:
        """Complete the job after so many calls, and compare.

        Raises:
            AssertionError: it does not end well, or leaves something else.
        """
        self.job.go_on(self.make(at, seed))


@click.command()
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--cuts", type=click.IntRange(min=0), default=1, show_default=True, help="After each call.")
@click.option("--disks", type=click.IntRange(min=1), help="Of all of them.  [default: all]")
@click.option("--jobs", type=click.IntRange(min=0), default=20, show_default=True, help="Completed for real.")
@click.option("--again", is_flag=True, help="Of a job that goes on with --resume.")
@click.option("--pack", type=click.Choice(["tar", "parquet"]), help="Images go into shards.")
@click.option("--keep", type=click.Path(path_type=Path), help="Where disks that failed are kept.")
def main(
    seed: int,
    cuts: int,
    disks: int | None,
    jobs: int,
    again: bool,
    pack: PackFormat | None,
    keep: Path | None,
) -> None:
    """Kill one job after every call, and compare what is left."""
    failed = 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="framefleet-lost-") as name:
        recorded = Recorded(Path(name), pack, again=seed if again else None)
        calls = recorded.moments.calls
        print(f"{len(calls)} calls, from {recorded.first} on", flush=True)
        every, chance = recorded.disks(cuts, seed), random.Random(seed)
        looked_at = every if disks is None else chance.sample(every, min(disks, len(every)))
        tries = [(recorded.check, disk) for disk in looked_at]
        tries += [(recorded.go_on, disk) for disk in chance.sample(every, min(jobs, len(every)))]
        for number, (check, disk) in enumerate(tries):
            try:
                check(*disk)
            except AssertionError as error:
                failed += 1
                last = calls[disk[0] - 1]
                print(f"{check.__name__} {disk}, {last.kind.name} {last.path}: FAILED\n{error}", flush=True)
                if keep is not None:
                    recorded.make(*disk).rename(keep / f"{number}")
        print(f"{len(tries)} disks in {time.monotonic() - began:.0f} s: {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
