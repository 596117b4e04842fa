"""A manifest part as a file: sealed when it is written, and read so that no damage passes for rows.

Parquet has checksums of pages, and none of what its footer says: names, offsets, counts, metadata. So a part
has a seal: SHA-256 of all its other bytes, which lie between the last page and the footer, where no reader
looks. A part without a seal is of an older version, or others have written it; its pages may have checksums.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from framefleet.common.errors import UserError
from framefleet.common.files.beneath import Below, UnsafePathError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

MAX_BYTES: Final = 2**30  # of a part: those of a host are closed at 50,000 rows, which take some 5 MB
MAX_ROWS: Final = 2**24  # of a part: a unit may be a whole video, and lies in one part
MAX_BYTES_OF_VALUES: Final = 2**33  # of a part, by its footer, before they are read

# What Arrow raises, beside its own, when bytes are not what it takes them for: zstd, thrift and flatbuffers
# give an OSError (without a number), text that is none a ValueError, absurd sizes the last two.
ALSO_DAMAGE: Final = (OSError, ValueError, TypeError, LookupError, OverflowError, MemoryError)

_SEAL: Final = b"\0framefleet seal"  # no path has a NUL in it
_SEAL_BYTES: Final = len(_SEAL) + hashlib.sha256().digest_size
_TAIL_BYTES: Final = 8  # of a Parquet file: the footer's length and the last magic


class PartError(UserError):
    """A manifest part is damaged, or none of ours: the text names it and what is wrong."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"the manifest part {path} is damaged: {reason}")
        self.path = path
        self.reason = reason


def manifest_parts(output: Path) -> list[Path]:
    """The parts of an output's manifest, sorted; jobs in S3 have a folder each there.

    Raises:
        UserError: there are none, or the folder cannot be read.
    """
    try:
        with Below(output) as below:
            parts = [output / path for path, _ in below.files("manifest") if path.endswith(".parquet")]
    except FileNotFoundError:
        parts = []
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read: {error.strerror}") from error
    if not parts:
        raise UserError(f"{output} has no manifest/*.parquet: give the --output folder of a job")
    return parts


def seal(path: Path) -> None:
    """Give a Parquet file that has been written, and that nobody knows yet, its seal.

    Raises:
        OSError: the disk refuses.
    """
    with path.open("r+b") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
        file.seek(-_TAIL_BYTES, os.SEEK_END)
        footer_bytes = int.from_bytes(file.read(4), "little")
        at = file.seek(-_TAIL_BYTES - footer_bytes, os.SEEK_END)
        footer = file.read()
        file.seek(at)
        file.write(b"".join((_SEAL, digest, footer)))


def _is_sealed(path: Path, data: bytes) -> bool:
    """Whether a part has a seal, which fits the rest.

    Raises:
        PartError: it does not fit.
    """
    at = data.rfind(_SEAL)
    if at < 0:
        return False
    digest = hashlib.sha256(memoryview(data)[:at])
    digest.update(memoryview(data)[at + _SEAL_BYTES :])
    if digest.digest() != data[at + len(_SEAL) : at + _SEAL_BYTES]:
        raise PartError(path, "its bytes are not those that were written")
    return True


def _read_bytes(path: Path) -> bytes:
    """The bytes of a part, which is a file, and no link to one; what else it may be is not waited for.

    Raises:
        PartError: it is no file, or larger than a part is.
        OSError: it cannot be read.
    """
    try:
        with Below(path.parent) as folder, folder.open(path.name) as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_BYTES:
                raise PartError(path, f"it has {size:,} bytes, and {MAX_BYTES:,} are the most")
            return file.read(size)
    except UnsafePathError as error:
        raise PartError(path, f"it {error.strerror}") from None


@contextlib.contextmanager
def _of_part(path: Path) -> Iterator[None]:
    """What Arrow raises when bytes are not what it takes them for; no file is read in here."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, *ALSO_DAMAGE) as error:
        raise PartError(path, " ".join(str(error).split()) or type(error).__name__) from error


def _open(path: Path, data: bytes) -> pq.ParquetFile:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
    metadata = file.metadata
    if metadata.num_rows > MAX_ROWS:
        raise ValueError(f"it has {metadata.num_rows:,} rows, and {MAX_ROWS:,} are the most")
    groups = map(metadata.row_group, range(metadata.num_row_groups))
    if sum(group.total_byte_size for group in groups) > MAX_BYTES_OF_VALUES:
        raise ValueError(f"its values take more than {MAX_BYTES_OF_VALUES:,} bytes")
    return file


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Columns of a part, as they lie there; None: all. Those that it lacks are left out.

    Raises:
        PartError: it is damaged.
        OSError: it cannot be read.
    """
    data = _read_bytes(path)
    with _of_part(path):
        is_sealed = _is_sealed(path, data)
        with _open(path, data) as file:
            names = file.schema_arrow.names
            wanted = names if columns is None else [name for name in columns if name in names]
            # one without a seal is compared with its pages' checksums, all of it
            table = file.read(columns=wanted if is_sealed else None)
        if len(set(names)) != len(names):
            raise ValueError("it has two columns of one name")
        if len(table) != file.metadata.num_rows:
            raise ValueError(f"it has {len(table)} rows, and says {file.metadata.num_rows}")
        table = table.select(wanted)
        table.validate(full=True)  # else text that is none is found much later
    return table


def read_schema(path: Path) -> pa.Schema:
    """The columns of a part, and its metadata.

    Raises:
        PartError: it is damaged.
        OSError: it cannot be read.
    """
    data = _read_bytes(path)
    with _of_part(path):
        _is_sealed(path, data)
        with _open(path, data) as file:
            return file.schema_arrow
