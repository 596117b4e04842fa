"""An output on disk against its manifest: each row has its image, as it says, and each image its row."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import av
import cv2
import numpy as np
import pyarrow as pa

from common.cores import usable_cores
from common.errors import UserError
from common.media import DROPPED
from common.shards import TOLD, Readers, is_shard_path
from verify.parts import manifest_parts, read_whole, schema_problems
from verify.places import Output
from verify.shards import Expected, check_shard

OnProgress = Callable[[int, int], None]

ROWS_AT_ONCE = 256  # whose images may be in memory together


class Row(NamedTuple):
    """The columns of the manifest that tell what must be on disk; ``told``: all that a shard tells of it."""

    video: str
    sample: int
    file: str | None
    shard: str | None
    place: int | None
    bytes: int
    sha256: str | None
    width: int
    height: int
    status: str
    told: tuple[object, ...]


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
    samples: set[tuple[str, int]] = set()
    try:
        with ThreadPoolExecutor(usable_cores()) as pool:
            parts = manifest_parts(output.root)
            for part in parts:
                on_progress(checked.parts, len(parts))
                try:
                    shards = _check_part(output, part, known, samples, checked, pool)
                except (pa.ArrowException, KeyError, ValueError, OSError) as error:
                    checked.problems.append(f"manifest/{part.name}: cannot be read: {error}")
                    shards = {}
                checked.parts += 1
                for shard in sorted(shards):
                    checked.problems += check_shard(output.root, shard, shards[shard])
                output.drop(shards)
                known |= shards.keys()
        known |= _folders(known)  # one may be a link
        checked.problems += (
            f"{file}: no row of the manifest names it" for file in output.files() if file not in known
        )
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read: {error.strerror}") from error
    return checked


def _folders(files: Iterable[str]) -> set[str]:
    """The folders that hold files, and those that hold these."""
    found: set[str] = set()
    for folder in {file.rpartition("/")[0] for file in files}:
        above = folder
        while above and above not in found:
            found.add(above)
            above = above.rpartition("/")[0]
    return found


def _check_part(
    output: Output,
    part: Path,
    known: set[str],
    samples: set[tuple[str, int]],
    checked: Checked,
    pool: ThreadPoolExecutor,
) -> dict[str, dict[str, Expected]]:
    """Check the images of a part of the manifest; what its shards are to hold."""
    shards: dict[str, dict[str, Expected]] = {}
    table = read_whole(part)
    checked.problems += schema_problems(part)
    with Readers(output.root) as readers:
        for rows in _batches(table):
            _note_repeated(rows, known, shards, samples, checked.problems)
            files = {row.file for row in rows if row.file is not None and row.shard is None}
            loose = {file for file in files if is_below_frames(file)}
            output.fetch(loose)
            output.fetch(shards)
            read = [_read(output.root, readers, row) for row in rows]
            output.drop(loose)
            checked.problems += filter(None, pool.map(_problem, rows, read))
            checked.frames += sum(row.file is not None for row in rows)
            checked.dropped += sum(row.file is None for row in rows)
            checked.bytes += sum(row.bytes for row in rows)
    return shards


def is_below_frames(file: str) -> bool:
    """Whether a path of the manifest leads to a place below ``frames/``."""
    pieces = file.split("/")
    return len(pieces) > 1 and pieces[0] == "frames" and not {"", ".", ".."}.intersection(pieces)


def _batches(table: pa.Table) -> Iterator[list[Row]]:
    for batch in table.to_batches(ROWS_AT_ONCE):
        told = zip(*(batch.column(name).to_pylist() for name in TOLD), strict=True)
        columns = (batch.column(name).to_pylist() for name in Row._fields if name != "told")
        yield [Row(*values) for values in zip(*columns, told, strict=True)]


def _note_repeated(
    rows: list[Row],
    files: set[str],
    shards: dict[str, dict[str, Expected]],
    samples: set[tuple[str, int]],
    problems: list[str],
) -> None:
    for row in rows:
        if (row.video, row.sample) in samples:
            problems.append(f"{row.file or 'manifest'}: sample {row.sample} of {row.video} has two rows")
        samples.add((row.video, row.sample))
        if row.file is None:
            continue
        if row.file in files:
            problems.append(f"{row.file}: it has two rows")
        files.add(row.file)
        if row.shard is not None and is_shard_path(row.shard):
            shards.setdefault(row.shard, {})[row.file] = Expected(row.place, row.told)


def _read(output: Path, readers: Readers, row: Row) -> bytes | str | None:
    """The bytes of a row's image, or what is wrong with it; None where it was dropped, or lacks its shard."""
    if row.file is None:
        if row.status in DROPPED:
            return None
        return f"manifest: sample {row.sample} of {row.video} is {row.status}, and has no file"
    if row.shard is None and not is_below_frames(row.file):
        return f"{row.file}: the manifest names a path that is not below frames/"
    if row.shard is not None and not is_shard_path(row.shard):
        return f"{row.shard}: the manifest names a path that is not in shards/"
    try:
        return readers.read(row.shard, row.file, row.place, row.bytes)
    except FileNotFoundError:
        return f"{row.file}: missing" if row.shard is None else None
    except OSError as error:
        return f"{row.file}: cannot be read: {error.strerror or error}"


def _problem(row: Row, data: bytes | str | None) -> str | None:
    """What is wrong with a row's image, or None."""
    if data is None or isinstance(data, str):
        return data
    if len(data) != row.bytes:
        return f"{row.file}: {len(data):,} bytes, and the manifest says {row.bytes:,}"
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
