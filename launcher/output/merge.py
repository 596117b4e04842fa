"""The outputs of all hosts made one, by name, as S3 merges what hosts upload under one prefix.

A frame counts if a manifest row names it, and a row counts if the coordinator (in a sharded job: the
host's own) committed its attempt: a host that died or was cut off may have left frames, rows, or whole
parts that another host has made again since. What one host has written does not keep the others' from being
merged: a part that is damaged, or says what is not so, is set aside, and nothing is reached through a link.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pyarrow as pa

from framefleet.common.errors import UserError
from framefleet.common.files.beneath import Below, UnsafePathError
from framefleet.common.job.selection import base_sampling
from framefleet.common.job.spec import Mode, SamplingOptions
from framefleet.common.output.manifest import read_part, write_part
from framefleet.common.output.part_file import PartError, read_table
from framefleet.common.output.shard_fields import PackOptions
from framefleet.launcher.output.claims import ClaimedPart, Claims
from framefleet.launcher.output.combine_summaries import combine_summaries
from framefleet.launcher.output.committed_rows import (
    COLUMNS,
    Attempt,
    Commit,
    HostRows,
    is_host,
    read_commits,
)
from framefleet.launcher.output.merge_shards import PackedPart, merge_packed
from framefleet.launcher.output.quarantine import FOLDER, set_aside
from framefleet.launcher.read_account import read_summary

JOURNAL = "job/journal.jsonl"  # below a host's folder
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class HostOutput:
    """One host's output folder: ``frames/``, ``manifest/`` and ``job/``, as far as it got."""

    host: str
    folder: Path


@dataclass(slots=True)
class Merged:
    """What a merge did: ``dropped_rows`` were of attempts that nobody committed, ``rowless`` frames were
    committed and have no row that counts, ``missing`` are files that a row promised and no host has,
    ``damaged`` sentences on manifest parts and rows that were set aside."""

    frames: int = 0
    dropped_rows: int = 0
    rowless: int = 0
    missing: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Host:
    """A host, and what is below its folder."""

    name: str
    folder: Path
    below: Below


def merge(
    hosts: Sequence[HostOutput],
    output: Path,
    *,
    mode: Mode,
    primary: str,
    sampling: SamplingOptions,
    pack: PackOptions | None = None,
    on_progress: OnProgress = lambda done, total: None,
) -> Merged:
    """Move what counts from the hosts' folders to ``output``; the rest stays where it is.

    With ``pack`` all images of the output lie in shards, also those that a host could not pack any more.

    Raises:
        UserError: the disk refuses, or the output has links below it.
    """
    with contextlib.ExitStack() as resources:
        try:
            output.mkdir(parents=True, exist_ok=True)
            there = resources.enter_context(Below(output))
            found = list(_open_hosts(hosts, resources))
            frames, commits = _commits(found, mode, primary)
            merged = Merged(rowless=frames)
            by_order = base_sampling(sampling).numbered_by_order
            damaged: list[PartError] = []
            parts: list[ClaimedPart] = []
            for host, theirs in zip(found, commits, strict=True):
                parts += _read_parts(host, HostRows(host.name, theirs, by_order), merged, damaged)
            if pack is None:
                _merge_loose(parts, output, there, merged, on_progress)
            else:
                packed = [PackedPart(part.path, part.host, part.keep) for part in parts]
                done = merge_packed(packed, output, there, pack, on_progress=on_progress)
                merged.frames, merged.missing = done.frames, done.missing
                merged.rowless += done.disputed
                merged.damaged += done.sentences
            merged.damaged += (set_aside(error, output) for error in damaged)
            _move_job(found, there, mode=mode, primary=primary)
            if mode == "sharded":
                _combine_job_files(hosts, found, output)
        except OSError as error:
            reason = f"{error.strerror or error}" + (f" ({error.filename})" if error.filename else "")
            raise UserError(f"cannot merge the hosts' outputs into {output}: {reason}") from error
    return merged


def _open_hosts(hosts: Sequence[HostOutput], resources: contextlib.ExitStack) -> Iterator[_Host]:
    """The hosts that have a folder; what they had not finished is not looked at any more."""
    for host in hosts:
        if host.folder.is_dir() and not host.folder.is_symlink():
            staging = host.folder / ".staging"
            if staging.is_symlink():
                staging.unlink()
            shutil.rmtree(staging, ignore_errors=True)
            yield _Host(host.host, host.folder, resources.enter_context(Below(host.folder)))


def _commits(hosts: Sequence[_Host], mode: Mode, primary: str) -> tuple[int, list[dict[Attempt, Commit]]]:
    """How many frames were committed, be it by a host whose folder is gone, and by which attempts of each
    host: by the primary's journal, or in a sharded job by its own."""
    own: list[dict[Attempt, Commit]] = []
    frames = 0
    read: dict[Attempt, Commit] = {}
    for host in hosts:
        if mode != "sharded" and host.name == primary:
            read = read_commits(host.below, JOURNAL)
            frames = sum(commit.frames for commit in read.values())
    for host in hosts:
        if mode == "sharded":
            read = read_commits(host.below, JOURNAL)
        own.append({key: commit for key, commit in read.items() if is_host(commit.host, host.name)})
        if mode == "sharded":
            frames += sum(commit.frames for commit in own[-1].values())
    return frames, own


def _read_parts(
    host: _Host, rows: HostRows, merged: Merged, damaged: list[PartError]
) -> Iterator[ClaimedPart]:
    for name in [name for name, _ in host.below.files("manifest")]:
        if name.count("/") > 1 or not name.endswith(".parquet"):
            continue
        path = host.folder / name
        try:
            table = read_part(path, COLUMNS)
            keep = rows.which_count(path, table)
        except PartError as error:
            damaged.append(error)
            continue
        merged.rowless -= keep.count(True)
        merged.dropped_rows += keep.count(False)
        files, videos, samples = (table.column(name).to_pylist() for name in ("file", "video", "sample"))
        yield ClaimedPart(path, host.below, files, keep, videos, samples)


def _merge_loose(
    parts: Sequence[ClaimedPart], output: Path, there: Below, merged: Merged, on_progress: OnProgress
) -> None:
    claims = Claims()
    for part in parts:
        claims.add(part)
    merged.rowless += claims.disputed
    merged.damaged += claims.sentences
    names = _names_of_parts(parts, output)
    _move_frames(claims, there, merged, on_progress)
    _move_parts(parts, names, there, set(merged.missing))


def _move_frames(claims: Claims, there: Below, merged: Merged, on_progress: OnProgress) -> None:
    made = ""
    for count, (file, (part, _)) in enumerate(claims.owners.items(), start=1):
        folder = file.rpartition("/")[0]
        if folder != made:
            there.make_folder(folder)
            made = folder
        try:
            part.host.move(file, there, file)
        except FileNotFoundError:
            if there.size(file) < 0:  # else a merge that was cut short has moved it
                merged.missing.append(file)
        except UnsafePathError:  # a link, or behind one
            merged.missing.append(file)
        if count % 256 == 0:
            on_progress(count, len(claims.owners))
    merged.frames = len(claims.owners) - len(merged.missing)


def _names_of_parts(parts: Sequence[ClaimedPart], output: Path) -> list[str]:
    """Names that an earlier run of the job has used are its own: hosts count from 0 in each."""
    used = {path.name for path in (output / "manifest").glob("*.parquet")}
    names: list[str] = []
    for part in parts:
        name, number = part.path.name, 0
        while name in used:
            number += 1
            name = f"{part.path.stem.rpartition('-')[0] or part.path.stem}-{number}.parquet"
        used.add(name)
        names.append(name)
    return names


def _move_parts(parts: Sequence[ClaimedPart], names: Sequence[str], there: Below, missing: set[str]) -> None:
    for part, name in zip(parts, names, strict=True):
        keep = [kept and file not in missing for file, kept in zip(part.files, part.keep, strict=True)]
        if not all(keep):
            if not any(keep):
                continue
            # in its place, so that a merge that is cut short and done again does not find the old one
            temporary = part.path.parent.parent / ".staging" / f"{part.path.name}.rewritten"
            write_part(part.path, read_table(part.path).filter(pa.array(keep)), temporary=temporary)
        there.make_folder("manifest")
        part.host.move(f"manifest/{part.path.name}", there, f"manifest/{name}")


def _move_job(hosts: Sequence[_Host], there: Below, *, mode: Mode, primary: str) -> None:
    """Move what coordinators have told: that of the primary, or of every host below its name."""
    for host in hosts:
        if mode != "sharded" and host.name != primary:
            continue
        for name in [name for name, is_file in host.below.files("job") if is_file]:
            target = name if mode != "sharded" else f"job/{host.name}/{name.removeprefix('job/')}"
            if (name == "job/failures.jsonl" and mode == "sharded") or target.startswith(f"{FOLDER}/"):
                continue
            there.make_folder(target.rpartition("/")[0])
            host.below.move(name, there, target)


def _combine_job_files(hosts: Sequence[HostOutput], found: Sequence[_Host], output: Path) -> None:
    folder = output / "job"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "failures.jsonl").open("wb") as combined:
        for host in found:
            with (
                contextlib.suppress(FileNotFoundError, UnsafePathError),
                host.below.open("job/failures.jsonl") as failures,
            ):
                shutil.copyfileobj(failures, combined)
    summaries = {host.host: read_summary(folder / host.host / "summary.json") for host in hosts}
    present = [summary for summary in summaries.values() if summary is not None]
    if present:
        missing = [host for host, summary in summaries.items() if summary is None]
        encoded = msgspec.json.encode(combine_summaries(present, missing=missing))
        (folder / "summary.json").write_bytes(msgspec.json.format(encoded, indent=2))
