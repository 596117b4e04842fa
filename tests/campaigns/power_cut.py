"""Power cuts in real jobs, by a seed: a disk image stops taking writes, with what was not synced lost.

``python -m tests.campaigns.power_cut --runs 20`` (as root, on Linux) runs one job after the other on an ext4
image that is shut down at a random moment, or just after the job has ended, and mounted again. A job that
ended with 0 must have left all of it; any other must be whole after ``--resume``.
"""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import click

from framefleet.common.output.shard_fields import PackFormat, PackOptions
from tests.campaigns.monkey import SHARD_BYTES, Undisturbed, frames_of
from tests.helpers.jobs import Job, check_output, summary, tree, verify

IMAGE_BYTES: Final = 400 * 2**20
LATEST_S: Final = 12.0  # after the start; longer than a job, so that some are over
PATIENCE_S: Final = 30.0
# From Linux's fs/ext4/ext4.h: at once, and without writing what is in the journal.
EXT4_IOC_SHUTDOWN: Final = 0x8004587D
EXT4_GOING_FLAGS_NOLOGFLUSH: Final = 2


class Disk:
    """An ext4 file system in a file, mounted at ``folder``."""

    def __init__(self, image: Path, folder: Path) -> None:
        self._image = image
        self.folder = folder
        folder.mkdir()
        with image.open("wb") as file:
            file.truncate(IMAGE_BYTES)
        _run("mkfs.ext4", "-q", str(image))
        self.mount()

    def mount(self) -> None:
        _run("mount", "-o", "loop", str(self._image), str(self.folder))

    def unmount(self) -> None:
        """Wait for the last process of the job to be gone, and take the disk out."""
        until = time.monotonic() + PATIENCE_S
        while subprocess.run(["umount", str(self.folder)], capture_output=True).returncode != 0:
            assert time.monotonic() < until, "somebody still uses the disk"
            time.sleep(0.2)

    def cut(self) -> None:
        """From now on nothing is written, and what was not synced never will be."""
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, struct.pack("I", EXT4_GOING_FLAGS_NOLOGFLUSH))
        finally:
            os.close(descriptor)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def cut_power(undisturbed: Undisturbed, scratch: Path, seed: int) -> str:
    """Run the job on a disk that loses its power; gives what happened.

    Raises:
        AssertionError: frames or rows are not those of an undisturbed job.
    """
    delay_s = random.Random(seed).uniform(0, LATEST_S)
    disk = Disk(scratch / "image", scratch / "disk")
    try:
        output = disk.folder / "output"
        job = Job(undisturbed.source, output, **undisturbed.options)
        until = time.monotonic() + delay_s
        while job.process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        code = job.process.poll()
        disk.cut()
        if code is None:
            job.process.kill()  # its machine has lost its power; the agents end with it
        job.wait()
        disk.unmount()
        disk.mount()
        story = f"cut after {delay_s:.1f} s, exit code {code}"
        if code != 0:
            again = Job(undisturbed.source, output, resume=True, **undisturbed.options)
            assert again.wait() == 0, f"{story}\nafter --resume {again.process.returncode}:\n{again.text}"
            story += f", {summary(output).taken_over} frames taken over"
        check_output(output)
        assert tree(output) == undisturbed.tree, f"{story}\nother files"
        assert frames_of(output) == undisturbed.rows, f"{story}\nother rows"
        told = verify(output)
        assert told[0] == 0, f"{story}\n{told[1]}"
        return story
    finally:
        disk.unmount()


@click.command()
@click.option("--runs", type=click.IntRange(min=1), default=20, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the first run.")
@click.option("--pack", type=click.Choice(["tar", "parquet"]), help="Images go into shards.")
def main(runs: int, seed: int, pack: PackFormat | None) -> None:
    """Cut the power of one job after the other, and compare what they leave."""
    failed = 0
    with tempfile.TemporaryDirectory(prefix="framefleet-power-") as name:
        options = {} if pack is None else {"pack": PackOptions(format=pack, shard_bytes=SHARD_BYTES)}
        undisturbed = Undisturbed(Path(name), **options)
        for number in range(seed, seed + runs):
            scratch = Path(name) / str(number)
            scratch.mkdir()
            try:
                print(f"seed {number}: well, {cut_power(undisturbed, scratch, number)}", flush=True)
            except AssertionError as error:
                failed += 1
                print(f"seed {number}: FAILED\n{error}", flush=True)
            shutil.rmtree(scratch)
    print(f"{runs} runs: {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
