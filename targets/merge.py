"""The outputs of all hosts made one, by name, as S3 merges what hosts upload under one prefix.

A frame counts if a manifest row names it, and a row counts if the coordinator (in a sharded job: the
host's own) committed its attempt: a host that died or was cut off may have left frames, rows, or whole
parts that another host has made again since.
"""

from __future__ import annotations

import contextlib
import filecmp
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pyarrow as pa

from common.errors import UserError
from common.manifest import read_part, write_part
from common.part_file import PartError, read_table
from common.report import Failure, Summary
from common.shards import is_shard_path
from common.spec import Mode, PackOptions
from targets.damaged import set_aside
from targets.merge_shards import PackedPart, merge_packed
from targets.moving import move
from targets.sharded import combine_summaries

Attempt = tuple[int, int, str]  # unit, attempt, host
MAX_FAILURES_READ = 10_000
ATTEMPT_COLUMNS = ("unit", "attempt", "host")
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class HostOutput:
    """One host's output folder: ``frames/``, ``manifest/`` and ``job/``, as far as it got."""

    host: str
    folder: Path


@dataclass(slots=True)
class Merged:
    """What a merge did: ``dropped_rows`` were of attempts that nobody committed, ``rowless`` frames were
    committed and have no row, ``missing`` are files that a row promised and no host has, ``damaged``
    sentences on manifest parts that were set aside."""

    frames: int = 0
    dropped_rows: int = 0
    rowless: int = 0
    missing: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)


class _JournalLine(msgspec.Struct):
    """The fields of a journal line that a merge looks at; all others are the coordinator's own."""

    event: str = ""
    unit: int = -1
    attempt: int = -1
    host: str = ""
    frames: int = 0


@dataclass(slots=True)
class _Part:
    """A manifest part: where it lies, the files of the rows that count, and which rows those are."""

    path: Path
    output: HostOutput
    files: list[str]
    keep: list[bool]


def merge(
    hosts: Sequence[HostOutput],
    output: Path,
    *,
    mode: Mode,
    primary: str,
    pack: PackOptions | None = None,
    on_progress: OnProgress = lambda done, total: None,
) -> Merged:
    """Move what counts from the hosts' folders to ``output``; the rest stays where it is.

    With ``pack`` all images of the output lie in shards, also those that a host could not pack any more.

    Raises:
        UserError: two different files have one name, a manifest names a path outside ``frames/`` and
            ``shards/``, or the disk refuses. Nothing has been moved in the first two cases.
    """
    try:
        committed: dict[Attempt, int] = {}
        for host in hosts:
            if mode == "sharded" or host.host == primary:
                committed.update(committed_attempts(host.folder / "job" / "journal.jsonl"))
        merged = Merged(rowless=sum(committed.values()))
        damaged: list[PartError] = []
        parts = list(_read_parts(hosts, committed, merged, damaged))
        job = _plan_job(hosts, mode)
        if pack is None:
            frames = _plan_frames(parts)
            manifest = _plan_manifest(parts, output)
            _move_frames(frames, output, merged, on_progress)
            _move_parts(parts, manifest, output, set(merged.missing))
        else:
            packed = [PackedPart(part.path, part.output.folder, part.keep) for part in parts]
            merged.frames, merged.missing = merge_packed(packed, output, pack, on_progress=on_progress)
        merged.damaged += (set_aside(error, output) for error in damaged)
        for target, source in job.items():
            (output / target).parent.mkdir(parents=True, exist_ok=True)
            move(source, str(output / target))
        if mode == "sharded":
            _combine_job_files(hosts, output)
    except OSError as error:
        reason = f"{error.strerror or error}" + (f" ({error.filename})" if error.filename else "")
        raise UserError(f"cannot merge the hosts' outputs into {output}: {reason}") from error
    return merged


def committed_attempts(journal: Path) -> dict[Attempt, int]:
    """The attempts that the coordinator's journal calls committed, and how many frames each has.

    A torn last line is no line.
    """
    found: dict[Attempt, int] = {}
    decoder = msgspec.json.Decoder(_JournalLine)
    with contextlib.suppress(FileNotFoundError), journal.open("rb") as lines:
        for line in lines:
            if b'"committed"' not in line:
                continue
            with contextlib.suppress(msgspec.DecodeError):
                entry = decoder.decode(line)
                if entry.event == "committed":
                    found[entry.unit, entry.attempt, entry.host] = entry.frames
    return found


def _read_parts(
    hosts: Sequence[HostOutput],
    committed: dict[Attempt, int],
    merged: Merged,
    damaged: list[PartError],
) -> Iterator[_Part]:
    for output in hosts:
        for path in sorted((output.folder / "manifest").glob("*.parquet")):
            try:
                table = read_part(path, ["file", "shard", *ATTEMPT_COLUMNS])
            except PartError as error:
                damaged.append(error)
                continue
            files: list[str | None] = table.column("file").to_pylist()
            attempts = zip(*(table.column(name).to_pylist() for name in ATTEMPT_COLUMNS), strict=True)
            keep = [attempt in committed for attempt in attempts]
            merged.rowless -= keep.count(True)
            merged.dropped_rows += keep.count(False)
            for file, shard in zip(files, table.column("shard").to_pylist(), strict=True):
                if shard is None and file is not None and not _is_frame_path(file):
                    raise UserError(f"{path} names {file!r}, which is not a path below frames/")
                if shard is not None and not is_shard_path(shard):
                    raise UserError(f"{path} names {shard!r}, which is not a path in shards/")
            kept_files = [file for file, kept in zip(files, keep, strict=True) if kept and file is not None]
            yield _Part(path, output, kept_files, keep)


def _is_frame_path(file: str) -> bool:
    pieces = file.split("/")
    return len(pieces) > 1 and pieces[0] == "frames" and not any(piece in ("", ".", "..") for piece in pieces)


def _plan_frames(parts: Sequence[_Part]) -> dict[str, str]:
    """Target (relative) to source of every frame that counts."""
    moves: dict[str, str] = {}
    for part in parts:
        folder = str(part.output.folder)
        for file in part.files:
            _claim(moves, file, f"{folder}/{file}")
    return moves


def _claim(moves: dict[str, str], target: str, source: str) -> None:
    other = moves.setdefault(target, source)
    if other == source or not os.path.exists(source):  # noqa: PTH110 - a Path for each frame is slow
        return
    if not os.path.exists(other):  # noqa: PTH110
        moves[target] = source
    elif not filecmp.cmp(other, source, shallow=False):
        raise UserError(
            f"two hosts made different files of the name {target!r}: {other} and {source}; "
            "nothing was merged, compare the two"
        )


def _plan_job(hosts: Sequence[HostOutput], mode: Mode) -> dict[str, str]:
    moves: dict[str, str] = {}
    for output in hosts:
        below = output.folder / "job"
        for path in sorted(path for path in below.rglob("*") if path.is_file()):
            name = path.relative_to(below).as_posix()
            if mode == "sharded" and name == "failures.jsonl":
                continue
            prefix = f"job/{output.host}" if mode == "sharded" else "job"
            _claim(moves, f"{prefix}/{name}", str(path))
    return moves


def _move_frames(moves: dict[str, str], output: Path, merged: Merged, on_progress: OnProgress) -> None:
    made: set[str] = set()
    for count, (file, source) in enumerate(moves.items(), start=1):
        target = f"{output}/{file}"
        folder = target.rpartition("/")[0]
        if folder not in made:
            Path(folder).mkdir(parents=True, exist_ok=True)
            made.add(folder)
        try:
            move(source, target)
        except FileNotFoundError:
            if not os.path.exists(target):  # noqa: PTH110 - else a merge that was cut short has moved it
                merged.missing.append(file)
        if count % 256 == 0:
            on_progress(count, len(moves))
    merged.frames = len(moves) - len(merged.missing)


def _plan_manifest(parts: Sequence[_Part], output: Path) -> dict[str, str]:
    """Names that an earlier run of the job has used are its own: hosts count from 0 in each."""
    used = {path.name for path in (output / "manifest").glob("*.parquet")}
    moves: dict[str, str] = {}
    for part in parts:
        name, number = part.path.name, 0
        while name in used:
            number += 1
            name = f"{part.path.stem.rpartition('-')[0]}-{number}.parquet"
        if used:
            used.add(name)
        _claim(moves, f"manifest/{name}", str(part.path))
    return moves


def _move_parts(parts: Sequence[_Part], moves: dict[str, str], output: Path, missing: set[str]) -> None:
    by_path = {str(part.path): part for part in parts}
    for target, source in moves.items():
        part = by_path[source]
        if not all(part.keep) or not missing.isdisjoint(part.files):
            table = read_table(part.path)
            files: list[str | None] = table.column("file").to_pylist()
            keep = [kept and file not in missing for file, kept in zip(files, part.keep, strict=True)]
            if not any(keep):
                continue
            # in its place, so that a merge that is cut short and done again does not find the old one
            write_part(part.path, table.filter(pa.array(keep)), temporary=Path(f"{part.path}.rewritten"))
        (output / target).parent.mkdir(parents=True, exist_ok=True)
        move(source, str(output / target))


def _combine_job_files(hosts: Sequence[HostOutput], output: Path) -> None:
    folder = output / "job"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "failures.jsonl").open("wb") as combined:
        for host in hosts:
            with contextlib.suppress(FileNotFoundError):
                combined.write((host.folder / "job" / "failures.jsonl").read_bytes())
    summaries = {host.host: read_summary(folder / host.host / "summary.json") for host in hosts}
    found = [summary for summary in summaries.values() if summary is not None]
    if found:
        missing = [host for host, summary in summaries.items() if summary is None]
        encoded = msgspec.json.encode(combine_summaries(found, missing=missing))
        (folder / "summary.json").write_bytes(msgspec.json.format(encoded, indent=2))


def read_summary(path: Path) -> Summary | None:
    """A ``summary.json``, or None if there is none or it is not whole."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Summary)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def read_failures(path: Path) -> list[Failure]:
    """The first ``MAX_FAILURES_READ`` lines of a ``failures.jsonl``, without those that are not whole."""
    failures: list[Failure] = []
    decoder = msgspec.json.Decoder(Failure)
    with contextlib.suppress(FileNotFoundError), path.open("rb") as lines:
        for line in lines:
            with contextlib.suppress(msgspec.DecodeError):
                failures.append(decoder.decode(line))
            if len(failures) == MAX_FAILURES_READ:
                break
    return failures
