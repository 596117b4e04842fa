"""The tree of a host on a file system that all hosts share, for clusters that mount nothing else.

``FRAMEFLEET_SHARED`` names a folder with ``videos/`` and ``output/``. ``output/hosts/job`` holds the job,
which ``framefleet manual job`` writes, and ``output/hosts/<host>`` is the output of one host alone;
``framefleet manual merge`` makes one of all.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path
from typing import Final

import msgspec

from framefleet.common.decoding import NOT_DECODED
from framefleet.common.errors import UserError
from framefleet.common.host.layout import Layout
from framefleet.common.output.video_names import safe_component
from framefleet.common.status import Summary

SHARED_VARIABLE: Final = "FRAMEFLEET_SHARED"
VIDEOS, OUTPUT = "videos", "output"
HOSTS, JOB = "hosts", "job"  # below the output
LOCK_FILE: Final = ".framefleet-lock"  # in an output: who has it locked is at work there


def link_tree(shared: Path, host: str) -> Path:
    """Make a host's tree of links into the shared folder; its root, which is a folder of this machine.

    Raises:
        UserError: the shared folder has no videos or no job, or may not be written to.
    """
    hosts = shared / OUTPUT / HOSTS
    for needed, remedy in (
        (shared / VIDEOS, "put the videos there"),
        (hosts / JOB, f"write the job with `framefleet manual job --output {shared / OUTPUT}` first"),
    ):
        if not needed.is_dir():
            raise UserError(f"{SHARED_VARIABLE} is {shared}, and there is no folder {needed}: {remedy}")
    _share_lock(shared / OUTPUT)
    try:
        layout = Layout(Path(tempfile.mkdtemp(prefix="framefleet-")))
        (hosts / safe_component(host)).mkdir(exist_ok=True)
        for link, target in (
            (layout.videos, shared / VIDEOS),
            (layout.job_spec.parent, hosts / JOB),
            (layout.output, hosts / safe_component(host)),
        ):
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(target.resolve())
    except OSError as error:
        raise UserError(f"{SHARED_VARIABLE} is {shared}: {error.filename}: {error.strerror}") from error
    return layout.root


def is_merged(shared: Path) -> bool:
    """Whether the job in the shared folder is completed, and there is nothing left of its hosts."""
    output = shared / OUTPUT
    try:
        found = msgspec.json.decode((output / "job" / "summary.json").read_bytes(), type=Summary)
    except (OSError, *NOT_DECODED):
        return False
    return found.outcome == "completed" and not (output / HOSTS).exists()


def output_of(shared: Path, host: str) -> Path:
    """Where the output of a host is."""
    return shared / OUTPUT / HOSTS / safe_component(host)


def _share_lock(output: Path) -> None:
    """Keep mergers out of the output while this process lives, where the file system has locks.

    Raises:
        UserError: one is at work there.
    """
    try:
        descriptor = os.open(output / LOCK_FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # it stays open
    except BlockingIOError:
        raise UserError(f"the outputs of hosts in {output} are being merged: wait for that") from None
    except OSError:  # an older job's output, or a file system without locks
        return
