"""Jobs of which the n-th call to the disk fails, for every n: as on a disk that is full, or has gone bad.

``python -m tests.campaigns.nth_call`` goes through the calls of each process of a job. What a launcher does
when its hosts have ended, and what ``--resume`` does, is tried in forks (``end``, ``resume``), each call in
all of the ways of ``WAYS``. Agents, the coordinator, slots and the launcher are tried in whole jobs, each
call in one of the ways, by ``--seed``. A job that ends with 0 must have left all of it; any other must be
whole after ``--resume``, and nothing that was whole may be lost. ``--runs`` takes so many of all these, by
the seed; ``--part`` takes those of one kind.

A try in a fork takes 0.1 s, and a whole job with its ``--resume`` some 10 s.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Final

import click

from framefleet.common.errors import UserError
from framefleet.common.output.shard_fields import PackFormat
from framefleet.common.status import Status
from framefleet.launcher.output.clean_end import end_changes
from framefleet.launcher.output.host_folders import ROOTS_PREFIX, abandoned
from framefleet.launcher.output.output_lock import lock_output
from framefleet.launcher.targets.local import Interrupts, LocalCluster, _collect
from tests.campaigns.disk_calls import Failing, Kind, Moments, build, disarm, read_trace, watching
from tests.campaigns.tiny_job import VIDEOS, Tiny, in_fork

WAYS: Final = (
    ("o", errno.ENOSPC),
    ("o", errno.EIO),
    ("o", errno.EACCES),
    ("s", errno.ENOSPC),
    ("t", errno.ENOSPC),
    ("f", errno.ENOSPC),
    ("d", errno.EIO),
)
ROLES: Final = {  # what the command line and the host's folder of a process have in them
    "launcher": ("-m tests.helpers.local_job ",),
    "primary": ("-m framefleet.worker ", "/algo-1 "),
    "other": ("-m framefleet.worker ", "/algo-2 "),
    "coordinator": ("-m framefleet.coordinator ",),
    "slot": ("forkserver",),
}
PARTS: Final = ("end", "resume", *ROLES)


class Campaign:
    """A job whose calls can be failed."""

    def __init__(self, folder: Path, pack: PackFormat | None = None) -> None:
        self.job = Tiny(folder, pack)
        self.library = build(folder)
        self.output = folder / "tried" / "out"
        self.output.parent.mkdir()
        self._trace, self._log = folder / "trace", folder / "log"
        self.job.run(self.output, watching(self.library, self.output, trace=self._trace))
        self.moments = Moments(read_trace(self._trace), self.output)
        self._before_merge = self._find_merge()

    def _find_merge(self) -> int:
        """How many calls have been made when the hosts have ended."""
        calls = self.moments.calls
        launcher = calls[0].pid
        return next(
            at
            for at, call in enumerate(calls)
            if call.pid == launcher and call.kind is Kind.RENAME and not call.other.endswith("job.json")
        )

    def tries(self, part: str, seed: int) -> list[Failing]:
        """All that can be tried of a part: its calls are counted."""
        if part in ("end", "resume"):
            return [
                Failing(kind, number, n) for n in range(1, self._count(part) + 1) for kind, number in WAYS
            ]
        counts: Counter[str] = Counter()
        self._run_whole(part, Failing("c", 0, 0))
        for line in self._log.read_text(errors="replace").splitlines():
            counts[line.partition(":")[0]] += 1
        most = max(counts.values())
        return [Failing(*WAYS[(n + seed) % len(WAYS)], n) for n in range(1, most + 1)]

    def _count(self, part: str) -> int:
        self._prepare()
        return int(in_fork(partial(self._do, part, Failing("c", 0, 0))).split()[-1])

    def attempt(self, part: str, failing: Failing) -> str:
        """Fail one call of a job; gives what happened.

        Raises:
            AssertionError: frames are lost without a word, or for ever, or it did not end as it should.
        """
        if part in ROLES:
            return self._attempt_whole(part, failing)
        self._prepare()
        told = in_fork(partial(self._do, part, failing))
        if told.startswith("0"):
            self._remove_rest()
            in_fork(partial(self.job.compare, self.output, verified=False))
        # with --resume, a frame that cannot be read is made again, and those of its video behind it
        spared = 0 if part == "end" else len(self.job.rows) // VIDEOS
        taken = in_fork(partial(self._take_over, len(self.job.rows) - spared))
        return f"{told.strip()}; then {taken.strip()}"

    # ---- in forks -----------------------------------------------------------------------------------

    def _prepare(self) -> None:
        """Make the disk as it was when the hosts had ended."""
        self.moments.killed(self._before_merge, self.output)
        self._log.unlink(missing_ok=True)

    def _do(self, part: str, failing: Failing) -> None:
        """In a fork, with the library loaded: print the exit code, what was said, and how many calls."""
        request = self.job.request(self.output, resume=part == "resume")
        (root,) = abandoned(self.output)
        cluster = LocalCluster(request, root, _Quiet(), Interrupts())
        failing.arm(self.output)
        try:
            if part == "resume":
                code, text = 1, f"{self.job.begin_resume(self.output)} taken over"
            else:
                with lock_output(self.output, root.name.removeprefix(ROOTS_PREFIX)):
                    result = _collect(request, cluster, root, interrupted=False, on_merge=lambda a, b: None)
                    end_changes(self.output)
                code, text = result.exit_code("report"), " ".join(result.trouble)
        except UserError as error:
            code, text = 1, str(error)
        print(code, text, disarm())

    def _take_over(self, least: int) -> None:
        done = self.job.take_over(self.output)
        print(f"{done} frames are there")
        assert done >= least, f"{done} frames are taken over, and {least} were whole"

    def _remove_rest(self) -> None:
        """Remove what a merge has left of hosts' folders: that it cannot is no loss."""
        for root in self.output.glob(f"{ROOTS_PREFIX}*/"):
            shutil.rmtree(root)

    # ---- whole jobs ---------------------------------------------------------------------------------

    def _run_whole(self, part: str, failing: Failing) -> tuple[int, str]:
        shutil.rmtree(self.output, ignore_errors=True)
        self._log.unlink(missing_ok=True)
        environment = watching(self.library, self.output, fail=failing, role=ROLES[part], log=self._log)
        job = self.job.start(self.output, environment=environment)
        return job.wait(), job.text

    def _attempt_whole(self, part: str, failing: Failing) -> str:
        code, text = self._run_whole(part, failing)
        failed = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        story = f"exit code {code} after {'; '.join(failed[:3]) or 'no call'}"
        assert "Traceback" not in text, f"{story}\n{text}"
        try:
            if code == 0:
                self._remove_rest()
                in_fork(partial(self.job.compare, self.output))
            else:
                story += f", {self.job.go_on(self.output)}"
        except AssertionError as error:
            raise AssertionError(f"{story}\n{text}\n{error}") from error
        return story


class _Quiet:
    """A view that nobody looks at."""

    def update(self, status: Status) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def close(self) -> None:
        pass


@click.command()
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--runs", type=click.IntRange(min=1), help="Of all of them.  [default: all]")
@click.option("--part", "parts", type=click.Choice(PARTS), multiple=True, help="Of these.  [default: all]")
@click.option("--pack", type=click.Choice(["tar", "parquet"]), help="Images go into shards.")
@click.option("--keep", type=click.Path(path_type=Path), help="Where the output of failed runs is kept.")
def main(
    seed: int, runs: int | None, parts: tuple[str, ...], pack: PackFormat | None, keep: Path | None
) -> None:
    """Fail one call after the other, and compare what is left."""
    failed = 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="framefleet-nth-") as name:
        campaign = Campaign(Path(name), pack)
        tries = [(part, failing) for part in parts or PARTS for failing in campaign.tries(part, seed)]
        print(f"{len(tries)} calls can fail: {dict(Counter(part for part, _ in tries))}", flush=True)
        chosen = tries if runs is None else random.Random(seed).sample(tries, min(runs, len(tries)))
        for part, failing in chosen:
            try:
                print(f"{part}, {failing}: {campaign.attempt(part, failing)}", flush=True)
            except AssertionError as error:
                failed += 1
                print(f"{part}, {failing}: FAILED\n{error}", flush=True)
                if keep is not None:
                    shutil.copytree(
                        campaign.output,
                        keep / f"{part}-{failing.kind}-{failing.number}-{failing.n}",
                        symlinks=True,
                    )
        print(f"{len(chosen)} runs in {time.monotonic() - began:.0f} s: {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    if "LD_PRELOAD" not in os.environ:
        with tempfile.TemporaryDirectory(prefix="framefleet-nth-") as place:
            told = watching(build(Path(place)), Path("/nowhere"))
            done = subprocess.run(
                [sys.executable, "-m", "tests.campaigns.nth_call", *sys.argv[1:]], env=os.environ | told
            )
        sys.exit(done.returncode)
    main()
