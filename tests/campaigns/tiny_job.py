"""A job of some seventy small frames, whose disk can be disturbed thousands of times.

Three videos of a second, each frame of which is written (``native``: their numbers must follow each other),
in some ten units, by two hosts. What a launcher does to an output is looked at in a fork of one process, as
starting Python takes longer than all of it.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from framefleet.common.job.spec import SchedulingOptions
from framefleet.common.output.shard_fields import PackFormat, PackOptions
from framefleet.common.output.shards import Readers
from framefleet.coordinator.journal import read_journal
from framefleet.launcher.demo import make_demo_set
from framefleet.launcher.job import JobRequest
from framefleet.launcher.output.clean_end import begin_changes
from framefleet.launcher.output.host_folders import ROOTS_PREFIX, abandoned
from framefleet.launcher.output.output_folder import prepare_output
from framefleet.launcher.output.output_lock import lock_output
from framefleet.launcher.output.resume import take_over
from tests.campaigns.monkey import Row, frames_of
from tests.helpers.jobs import Job, JobOptions, check_output, rows, summary, tree, verify
from tests.helpers.local_job import make_request

SHARD_BYTES: Final = 20_000
OPTIONS: Final[dict[str, Any]] = {
    "instances": 2,
    "fps": "native",
    "image": {"resize": "64x36"},
    "scheduling": SchedulingOptions(
        unit_span_s=0.3, cut="anywhere", heartbeat_s=0.3, lease_s=20.0, host_wait_s=60.0
    ),
}
VIDEOS: Final = 3
HANGS_S: Final = 120.0  # of what takes a tenth of a second, on a machine that does much else


class Tiny:
    """The job, and what it leaves if nobody disturbs it."""

    def __init__(self, folder: Path, pack: PackFormat | None = None) -> None:
        self.folder = folder
        self.source = make_demo_set(folder / "in", lengths_s=(1,) * VIDEOS, loop_frames=10)
        self.options = dict(OPTIONS)
        if pack is not None:
            self.options["pack"] = PackOptions(format=pack, shard_bytes=SHARD_BYTES)
        self.tree: dict[str, str] = {}
        self.rows: list[Row] = []

    def run(self, output: Path, environment: dict[str, str] | None = None) -> Job:
        """Run it undisturbed; what it leaves is what all others are to leave."""
        job = self.start(output, environment=environment)
        assert job.wait() == 0, job.text

        def tell() -> None:
            check_output(output)
            print(json.dumps([tree(output), frames_of(output)]))

        self.tree, found = json.loads(in_fork(tell))  # Arrow's threads do not go with forks: none is here
        self.rows = [tuple(row) for row in found]
        assert len(self.rows) > 60
        return job

    def start(
        self,
        output: Path,
        *,
        resume: bool = False,
        check: bool = False,
        environment: dict[str, str] | None = None,
    ) -> Job:
        options = {**self.options, "resume": resume, "check": check}
        return Job(self.source, output, environment=environment, **options)

    def request(self, output: Path, *, resume: bool) -> JobRequest:
        """What is asked of the launcher."""
        return make_request(
            JobOptions(input=str(self.source), output=str(output), resume=resume, **self.options)
        )

    def go_on(self, output: Path, environment: dict[str, str] | None = None) -> str:
        """Complete a job by ``--resume``, and compare; gives how much was taken over.

        Raises:
            AssertionError: it ends otherwise than with 0 and all of it.
        """
        job = self.start(output, resume=True, environment=environment)
        code = job.wait()
        assert code == 0, f"--resume ends with {code}:\n{job.text}"
        assert "Traceback" not in job.text, job.text
        in_fork(partial(self.compare, output))
        return f"{summary(output).taken_over} frames taken over"

    def compare(self, output: Path, *, verified: bool = True) -> None:
        """See that an output is what the job leaves if nobody disturbs it.

        ``verified``: ``verify`` is to say so as well.

        Raises:
            AssertionError: it is not.
        """
        check_output(output)
        assert tree(output) == self.tree, "other files"
        assert frames_of(output) == self.rows, "other rows"
        if verified:
            code, said = verify(output)
            assert code == 0, f"verify ends with {code}:\n{said}"

    def check_committed(self, output: Path) -> None:
        """See that all is there that a journal calls committed.

        Raises:
            AssertionError: a row or an image is not.
        """
        hosts = [path.parent for path in output.glob(f"{ROOTS_PREFIX}*/algo-*/processing/output/job/")]
        hosts += [path.parent for path in output.glob(f"{ROOTS_PREFIX}*/algo-*/processing/output/manifest/")]
        places = [output, *sorted(set(hosts))]
        there: set[tuple[object, ...]] = set()
        for place in places:
            with Readers(place) as theirs, Readers(output) as merged:
                there.update(
                    (row["video"], row["sample"], row["unit"], row["attempt"], row["host"])
                    for row in rows(place)
                    if _has_image(row, theirs) or _has_image(row, merged)
                )
        for journal in (path for place in places for path in place.glob("job/journal.jsonl")):
            for entry in read_journal(journal):
                if entry["event"] != "committed":
                    continue
                by = entry["unit"], entry["attempt"], entry["host"]
                for sample in range(entry["first_sample"], entry["first_sample"] + entry["frames"]):
                    assert (entry["video"], sample, *by) in there, f"sample {sample} of {entry} is lost"

    def begin_resume(self, output: Path, *, check: bool = False) -> int:
        """Do what ``--resume`` does before it starts hosts; gives how many frames count as done.

        Raises:
            UserError: it refuses.
        """
        request = self.request(output, resume=True)
        with lock_output(output):
            prepare_output(request, is_demo=False)
            crashed = begin_changes(output)
            left = abandoned(output)
            done = take_over(request, roots=left, check=check or crashed or bool(left)).videos
        return sum(video.frames for video in done)

    def take_over(self, output: Path, *, check: bool = False) -> int:
        """The same, with a look at what is left.

        Raises:
            AssertionError: it is not a part of what the job leaves if nobody disturbs it.
            UserError: it refuses.
        """
        done = self.begin_resume(output, check=check)
        assert abandoned(output) == [], "what hosts have left is still there"
        found = frames_of(output)
        assert len(set(found)) == len(found), "rows are there twice"
        assert set(found) <= set(self.rows), "other rows"
        # what has no row is written again; a packed one without its shard would not be found
        there = {row[5] for row in found if row[5] is not None}
        if "pack" in self.options:
            names = tree(output) if (output / "shards").is_dir() else {}
            assert names.items() <= self.tree.items(), "other images"
        else:
            for file in there:
                path = output / str(file)
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                assert digest == self.tree[str(file).removeprefix("frames/")], f"{file} has other bytes"
        assert done == len(found), f"{done} frames are said to be done, and {len(found)} have rows"
        return done


def _has_image(row: dict[str, Any], readers: Readers) -> bool:
    with contextlib.suppress(OSError):
        data = readers.read(row["shard"], row["file"], row["place"], row["bytes"])
        return bool(hashlib.sha256(data).hexdigest() == row["sha256"])
    return False


def in_fork(what: Callable[[], object]) -> str:
    """Run something in a child process, and give what it printed.

    Raises:
        AssertionError: it raised anything, or did not end.
    """
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reader)
            os.dup2(writer, 1)
            os.dup2(writer, 2)
            sys.stdout = sys.stderr = os.fdopen(1, "w", buffering=1, errors="backslashreplace")
            what()
            sys.stdout.flush()
            code = 0
        except BaseException:  # noqa: BLE001 - the parent tells of it
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(code)
    os.close(writer)
    said, until = io.BytesIO(), time.monotonic() + HANGS_S
    with os.fdopen(reader, "rb", buffering=0) as answers:
        while select.select([answers], [], [], max(0.0, until - time.monotonic()))[0]:
            if not (data := answers.read(1 << 16)):
                break
            said.write(data)
        else:
            os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    text = said.getvalue().decode(errors="replace")
    assert status == 0, f"it hangs, or ended with {status:#x}:\n{text}"
    return text
