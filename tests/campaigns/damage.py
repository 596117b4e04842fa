"""What a job leaves, damaged: bits flipped, files cut, emptied, doubled, swapped, in files of every kind.

``python -m tests.campaigns.damage --runs 500`` damages the output of a job that has ended, or of one that was
killed at some moment, hosts' folders, keys and journal included, each time by another seed. Then ``verify``,
``report``, ``export`` and what ``--resume`` does first are tried: none may show a traceback or hang,
``verify`` may call well only what is all there, and ``--resume=check`` may take over only what is right.
``--jobs`` of the runs are completed by a real ``--resume=check`` as well: it may refuse, but if it ends with
0 all must be there.

A run takes some 2 s, and a job 10 s. ``--pack`` is for shards.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Final

import click

from framefleet.common.errors import UserError
from framefleet.common.output.shard_fields import PackFormat
from framefleet.launcher.cli import main as launch
from tests.campaigns.lost_writes import Recorded
from tests.campaigns.tiny_job import in_fork

WAYS: Final = ("flip", "zeros", "cut", "empty", "double", "swap", "swap", "garbage")
EXPORTS: Final = ("--format", "coco-vid", "--format", "cvat")


def damage(output: Path, chance: random.Random) -> str:
    """Damage one or two files of an output; says how. Kinds of files are drawn: most are frames."""
    story = []
    for _ in range(chance.randint(1, 2)):
        files = [path for path in sorted(output.rglob("*")) if path.is_file() and not path.is_symlink()]
        kinds = sorted({_kind(path) for path in files})
        kind = chance.choice(kinds)
        path = chance.choice([path for path in files if _kind(path) == kind])
        way = chance.choice(WAYS)
        other = chance.choice([*(one for one in files if _kind(one) == kind), *files[:: len(files) // 3]])
        _damage(path, way, other, chance)
        story.append(f"{way} {path.relative_to(output)}")
        if way == "swap":
            story[-1] += f" and {other.relative_to(output)}"
    return ", ".join(story)


def _kind(path: Path) -> str:
    return path.suffix if path.suffix in (".jpg", ".tar", ".parquet", ".images") else path.name


def _damage(path: Path, way: str, other: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    at = chance.randrange(len(data)) if data else 0
    match way:
        case "flip" if data:
            data[at] ^= 1 << chance.randrange(8)
        case "zeros":
            end = min(len(data), at + chance.choice((1, 16, 4096)))
            data[at:end] = bytes(end - at)
        case "cut":
            del data[at:]
        case "empty":
            data.clear()
        case "double":
            data *= 2
        case "garbage":
            data[at : at + 64] = chance.randbytes(64)
        case "swap":
            theirs = other.read_bytes()
            other.write_bytes(data)
            data[:] = theirs
    path.write_bytes(data)


class Damaged:
    """A job's outputs, to be damaged."""

    def __init__(self, folder: Path, pack: PackFormat | None = None) -> None:
        self.recorded = Recorded(folder, pack)
        self.job = self.recorded.job

    def make(self, seed: int) -> tuple[Path, bool, str]:
        """A damaged output, whether it is of a job that has ended, and what was done to it."""
        chance = random.Random(seed)
        moments = self.recorded.moments
        has_ended = chance.random() < 0.5
        at = len(moments) if has_ended else chance.randint(len(moments) // 5, len(moments))
        output = self.recorded.make(at, None)
        return output, has_ended, f"seed {seed}, {at} of {len(moments)} calls: {damage(output, chance)}"

    def check(self, seed: int) -> str:
        """Damage and look; gives what happened.

        Raises:
            AssertionError: a traceback, a hang, or what is wrong is called well.
        """
        output, has_ended, story = self.make(seed)
        try:
            codes = [self._command("verify", str(output))]
            if has_ended and codes[0] == 0:
                in_fork(partial(self.job.compare, output, verified=False))
            codes += [self._command("report", str(output)), self._command("export", str(output), *EXPORTS)]
            taken = in_fork(partial(self._resume, output)).strip()
        except AssertionError as error:
            raise AssertionError(f"{story}\n{error}") from error
        return f"{story}: exit codes {codes}, {taken}"

    def go_on(self, seed: int) -> str:
        """Damage, and go on.

        Raises:
            AssertionError: it ends with 0 and not all is there, or with a traceback.
        """
        output, _, story = self.make(seed)
        job = self.job.start(output, resume=True, check=True)
        code = job.wait()
        try:
            assert "Traceback" not in job.text
            if code == 0:
                in_fork(partial(self.job.compare, output))
        except AssertionError as error:
            raise AssertionError(f"{story}, --resume ends with {code}\n{job.text}\n{error}") from error
        return f"{story}: --resume ends with {code}" + (f": {job.text.strip()}" if code else "")

    def _command(self, *words: str) -> int:
        return int(in_fork(partial(self._launch, words)).rpartition("exit code ")[2])

    def _launch(self, words: tuple[str, ...]) -> None:
        sys.argv = ["launch.py", *words]
        print(f"\nexit code {launch.main()}")

    def _resume(self, output: Path) -> None:
        try:
            print(f"{self.job.take_over(output, check=True)} frames taken over")
        except UserError as error:
            print(f"--resume refuses: {error}")


@click.command()
@click.option("--runs", type=click.IntRange(min=1), default=100, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the first run.")
@click.option("--jobs", type=click.IntRange(min=0), default=10, show_default=True, help="Completed for real.")
@click.option("--pack", type=click.Choice(["tar", "parquet"]), help="Images go into shards.")
@click.option("--keep", type=click.Path(path_type=Path), help="Where damaged outputs that failed are kept.")
def main(runs: int, seed: int, jobs: int, pack: PackFormat | None, keep: Path | None) -> None:
    """Damage what a job leaves, again and again, and look what becomes of it."""
    failed = 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="framefleet-damage-") as name:
        damaged = Damaged(Path(name), pack)
        tries = [(damaged.check, number) for number in range(seed, seed + runs)]
        tries += [(damaged.go_on, number) for number in range(seed, seed + jobs)]
        for look, number in tries:
            try:
                print(look(number), flush=True)
            except AssertionError as error:
                failed += 1
                print(f"{look.__name__} FAILED: {error}", flush=True)
                if keep is not None:
                    shutil.copytree(damaged.make(number)[0], keep / f"{number}", symlinks=True)
        print(f"{len(tries)} runs in {time.monotonic() - began:.0f} s: {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
