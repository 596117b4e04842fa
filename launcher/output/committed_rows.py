"""Which rows of a host count: those of attempts that the coordinator's journal calls committed.

A host may speak for itself alone, and of a unit only what the journal tells of it. A part of a manifest that
says anything else is refused as a whole, so that no host decides what becomes of the work of others.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pyarrow as pa

from framefleet.common.decoding import NOT_DECODED
from framefleet.common.files.beneath import Below, UnsafePathError, is_frame_path
from framefleet.common.output.part_file import PartError
from framefleet.common.output.shards import is_shard_path
from framefleet.common.output.video_names import safe_component
from framefleet.launcher.read_account import MAX_LINE_BYTES

Attempt = tuple[int, int, str]  # unit, attempt, host
COLUMNS = ("video", "sample", "file", "shard", "unit", "attempt", "host")


class Commit(msgspec.Struct):
    """A line of a journal, and of ``committed`` what tells its rows. Older journals name no video."""

    event: str = ""
    unit: int = -1
    attempt: int = -1
    host: str = ""
    frames: int = 0
    video: str | None = None
    start: int = 0
    stop: int | None = None
    first_sample: int | None = None

    def holds(self, video: str, sample: int, *, by_order: bool) -> bool:
        """Whether a row may be of this attempt; ``by_order``: samples are counted, and no positions."""
        if self.video is None:
            return True
        if video != self.video:
            return False
        if by_order:
            first = self.first_sample or 0
            return first <= sample < first + self.frames
        return self.start <= sample and (self.stop is None or sample < self.stop)


def read_commits(host: Below, journal: str) -> dict[Attempt, Commit]:
    """What a journal below the folder of a host calls committed, and has not taken back.

    A torn last line is no line, and what is no regular file is no journal. Nothing behind a line that is
    longer than ours is read: a hole in a file reads as zeros, terabytes of them.
    """
    found: dict[Attempt, Commit] = {}
    decoder = msgspec.json.Decoder(Commit)
    with contextlib.suppress(FileNotFoundError, UnsafePathError), host.open(journal) as lines:
        while len(line := lines.readline(MAX_LINE_BYTES)) not in (0, MAX_LINE_BYTES):
            if b'"committed"' not in line and b'"voided"' not in line:
                continue
            with contextlib.suppress(*NOT_DECODED):
                entry = decoder.decode(line)
                if entry.event == "committed":
                    found[entry.unit, entry.attempt, entry.host] = entry
                elif entry.event == "voided":  # all of this video so far
                    found = {key: commit for key, commit in found.items() if commit.video != entry.video}
    return found


def is_host(name: str, folder: str) -> bool:
    """Whether the host of this name has a folder of that one."""
    return folder in (name, safe_component(name))


@dataclass(slots=True)
class HostRows:
    """The rows of one host, part by part."""

    host: str
    commits: dict[Attempt, Commit]
    by_order: bool
    frames: Counter[Attempt] = field(default_factory=Counter)
    samples: set[tuple[str, int]] = field(default_factory=set)

    def which_count(self, part: Path, table: pa.Table) -> list[bool]:
        """Which rows of a part (``COLUMNS``) are of committed attempts.

        Raises:
            PartError: it says what is not so.
        """
        keep: list[bool] = []
        frames: Counter[Attempt] = Counter()
        samples: set[tuple[str, int]] = set()
        columns = [table.column(name).to_pylist() for name in COLUMNS]
        for video, sample, file, shard, unit, attempt, by in zip(*columns, strict=True):
            if not is_host(by, self.host):
                raise PartError(part, f"it has rows in the name of host {by!r}")
            if shard is None and file is not None and not is_frame_path(file):
                raise PartError(part, f"it names {file!r}, which is not a path below frames/")
            if shard is not None and not is_shard_path(shard):
                raise PartError(part, f"it names {shard!r}, which is not a path in shards/")
            key = unit, attempt, by
            commit = self.commits.get(key)
            keep.append(commit is not None)
            if commit is None:
                continue
            if not commit.holds(video, sample, by_order=self.by_order):
                raise PartError(part, f"sample {sample} of {video!r} is none of unit {unit}, by the journal")
            frames[key] += 1
            if frames[key] + self.frames[key] > commit.frames:
                raise PartError(part, f"unit {unit} has more than the {commit.frames} rows that it may have")
            if (video, sample) in samples or (video, sample) in self.samples:
                raise PartError(part, f"sample {sample} of {video!r} has two rows")
            samples.add((video, sample))
        self.frames += frames
        self.samples |= samples
        return keep
