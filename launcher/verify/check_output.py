"""An output on disk against its manifest: each row has its image, as it says, and each image its row."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import av
import cv2
import numpy as np
import pyarrow as pa

from framefleet.common.errors import UserError
from framefleet.common.files.beneath import is_frame_path
from framefleet.common.host.cores import usable_cores
from framefleet.common.output.part_file import PartError, manifest_parts
from framefleet.common.output.shard_fields import TOLD, ShardError
from framefleet.common.output.shards import Readers, is_shard_path
from framefleet.common.status import Summary
from framefleet.launcher.verify.job_account import read_account
from framefleet.launcher.verify.manifest_parts import read_whole, schema_problems
from framefleet.launcher.verify.manifest_rows import Row, RowChecks
from framefleet.launcher.verify.recorded_options import read_frame_options
from framefleet.launcher.verify.shards import Expected, check_shard
from framefleet.launcher.verify.storage import Output

OnProgress = Callable[[int, int], None]

ROWS_AT_ONCE = 256  # whose images may be in memory together,
BYTES_AT_ONCE = 2**28  # unless they take more than this
MAX_IMAGE_BYTES = 2**30  # more than one of 16,384 x 16,384 pixels takes


@dataclass(slots=True)
class Checked:
    """What was found; each problem is a sentence that begins with the path it is about."""

    frames: int = 0
    dropped: int = 0
    parts: int = 0
    bytes: int = 0
    problems: list[str] = field(default_factory=list)


def check_output(output: Output, on_progress: OnProgress = lambda done, total: None) -> Checked:
    """Check all files of an output: present, size, SHA-256, decodes to the size in pixels, no strays.

    Raises:
        UserError: there is no manifest, or a folder cannot be read.
    """
    checked = Checked()
    known: set[str] = set()
    rows = RowChecks()
    try:
        with ThreadPoolExecutor(usable_cores()) as pool:
            parts = manifest_parts(output.root)
            for part in parts:
                on_progress(checked.parts, len(parts))
                try:
                    shards = _check_part(output, part, known, rows, checked, pool)
                except (PartError, OSError) as error:
                    reason = error.reason if isinstance(error, PartError) else error.strerror
                    checked.problems.append(f"{_name(output, part)}: cannot be read: {reason}")
                    shards = {}
                checked.parts += 1
                for shard in sorted(shards):
                    checked.problems += check_shard(output.root, shard, shards[shard])
                output.drop(shards)
                known |= shards.keys()
        checked.problems += rows.end(_read_account(output, checked))
        checked.problems += (
            f"{file}: no row of the manifest names it" for file in output.files() if file not in known
        )
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read: {error.strerror}") from error
    return checked


def _name(output: Output, part: Path) -> str:
    return part.relative_to(output.root).as_posix()


def _read_account(output: Output, checked: Checked) -> Summary | None:
    try:
        return read_account(output.root, output.summaries())
    except UserError as error:
        checked.problems.append(str(error))
        return None


def _check_part(
    output: Output,
    part: Path,
    known: set[str],
    checks: RowChecks,
    checked: Checked,
    pool: ThreadPoolExecutor,
) -> dict[str, dict[str, Expected]]:
    """Check the images of a part of the manifest; what its shards are to hold."""
    shards: dict[str, dict[str, Expected]] = {}
    table = read_whole(part)
    checked.problems += schema_problems(part, _name(output, part))
    options = None
    try:
        options = read_frame_options(part)
    except PartError as error:
        checked.problems.append(f"{_name(output, part)}: {error.reason}")
    with Readers(output.root) as readers:
        for rows in _batches(table):
            for row in rows:
                checked.problems += checks.take(row, options)
            _note_repeated(rows, known, shards, checked.problems)
            files = {row.file for row in rows if row.file is not None and row.shard is None}
            loose = set(filter(is_frame_path, files))
            output.fetch(loose)
            output.fetch(shards)
            read = [_read(readers, row) for row in rows]
            output.drop(loose)
            checked.problems += filter(None, pool.map(_problem, rows, read))
            checked.frames += sum(row.file is not None for row in rows)
            checked.dropped += sum(row.file is None for row in rows)
            checked.bytes += sum(row.bytes for row in rows)
    checked.problems += checks.end_part()
    return shards


def _batches(table: pa.Table) -> Iterator[list[Row]]:
    for batch in table.to_batches(ROWS_AT_ONCE):
        told = zip(*(batch.column(name).to_pylist() for name in TOLD), strict=True)
        columns = (batch.column(name).to_pylist() for name in Row._fields if name != "told")
        rows: list[Row] = []
        total = 0
        for row in map(Row._make, zip(*columns, told, strict=True)):
            if rows and total + row.bytes > BYTES_AT_ONCE:
                yield rows
                rows, total = [], 0
            rows.append(row)
            total += max(0, row.bytes)
        yield rows


def _note_repeated(
    rows: list[Row], files: set[str], shards: dict[str, dict[str, Expected]], problems: list[str]
) -> None:
    for row in rows:
        if row.file is None:
            continue
        if row.file in files:
            problems.append(f"{row.file}: it has two rows")
        files.add(row.file)
        if row.shard is not None and is_shard_path(row.shard):
            shards.setdefault(row.shard, {})[row.file] = Expected(row.place, row.told)


def _read(readers: Readers, row: Row) -> bytes | str | None:
    """The bytes of a row's image, or what is wrong with it; None where it has none, or lacks its shard."""
    if row.file is None:
        return None
    if row.shard is None and not is_frame_path(row.file):
        return f"{row.file}: the manifest names a path that is not below frames/"
    if row.shard is not None and not is_shard_path(row.shard):
        return f"{row.shard}: the manifest names a path that is not in shards/"
    if not 0 <= row.bytes <= MAX_IMAGE_BYTES:
        return f"{row.file}: the manifest says that it has {row.bytes:,} bytes"
    try:
        return readers.read(row.shard, row.file, row.place, row.bytes)
    except FileNotFoundError:
        return f"{row.file}: missing" if row.shard is None else None
    except ShardError as error:
        return str(error) if row.shard is None else f"{row.file}: cannot be read: {error}"
    except OSError as error:
        return f"{row.file}: cannot be read: {error.strerror or error}"


def _problem(row: Row, data: bytes | str | None) -> str | None:
    """What is wrong with a row's image, or None."""
    if data is None or isinstance(data, str):
        return data
    if hashlib.sha256(data).hexdigest() != row.sha256:
        return f"{row.file}: its SHA-256 is not the manifest's"
    size = _size(data)
    if size is None:
        return f"{row.file}: does not decode"
    if size != (row.width, row.height):
        return f"{row.file}: {size[0]}x{size[1]} pixels, and the manifest says {row.width}x{row.height}"
    return None


def _size(data: bytes) -> tuple[int, int] | None:
    """Width and height of an image that decodes, else None."""
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        image = None
    if image is not None:
        return image.shape[1], image.shape[0]
    try:  # not every OpenCV reads AVIF
        with av.open(io.BytesIO(data), "r") as container:
            frame = next(container.decode(video=0))
            return frame.width, frame.height
    except (av.FFmpegError, StopIteration, IndexError):
        return None
