"""The only way in which an input is read: opened once, read by offset, and a refusal of the system's is kept.

libav tells the end of a file, damage and a disk's refusal by codes that mean other things elsewhere, or by
none at all. So it is given no path, but a cursor into an open file; what it could not have is known here.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import TracebackType
from typing import Final, Self

# What opening says of the file itself, as it would on any host. All else is the host's failure: what was
# listed and is not there any more may be a folder that is mounted no longer.
OF_THE_FILE: Final = frozenset(
    [
        errno.EACCES,
        errno.EPERM,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENXIO,  # a socket
    ]
)


class ReadError(Exception):
    """The system refused to open or read a file that is there: this host's failure, not the file's."""


class AbsentError(ReadError):
    """A file that was listed is not there: a folder may be mounted no longer, or not on this host."""


class InputFile:
    """A file that is open for reading.

    Attributes:
        path: where it was opened.
        status: what the system said of it then. What it grows by later is not read.
        size_bytes: its size then.
        error: the first refusal. From there on all reading gives nothing, and whatever was made of that
            is to be thrown away: ``check`` raises it.
    """

    def __init__(self, path: Path) -> None:
        """Open it, without waiting for whom a pipe would wait for.

        Raises:
            OSError: it cannot be opened; ``errno`` is in ``OF_THE_FILE``.
            ReadError: nor can it be said that this is the file's fault.
            ValueError: a null byte in the name.
        """
        self.path: Final = path
        self.error: ReadError | None = None
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError as error:
            if error.errno in OF_THE_FILE:
                raise
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                raise AbsentError("vanished: on this host it is no longer there") from error
            raise ReadError(f"cannot be opened on this host: {error.strerror}") from error
        try:
            self.status: Final = os.fstat(self._descriptor)
            os.set_blocking(self._descriptor, True)
        except OSError as error:
            self.close()
            raise ReadError(f"cannot be opened on this host: {error.strerror}") from error
        self.size_bytes: Final = self.status.st_size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Calling it again does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def read_at(self, offset: int, size: int) -> bytes:
        """Up to ``size`` bytes from ``offset`` on; none at the end of the file, and after a refusal."""
        size = min(size, self.size_bytes - offset)
        if size <= 0 or self.error is not None:
            return b""
        try:
            data = os.pread(self._descriptor, size, offset)
        except OSError as error:
            self.error = ReadError(
                f"cannot be read on this host from byte {offset:,} on: {error.strerror or error}"
            )
            return b""
        if not data:
            self.error = ReadError(
                f"ends at byte {offset:,} on this host, although it had {self.size_bytes:,} bytes when it "
                "was opened: cut short while it was read"
            )
        return data

    def current_status(self) -> os.stat_result:
        """What the system says now of the file that was opened, whatever its name leads to by now.

        Raises:
            ReadError: nothing.
        """
        try:
            return os.fstat(self._descriptor)
        except OSError as error:
            raise ReadError(f"cannot be read on this host: {error.strerror}") from error

    def check(self) -> None:
        """To be called before anything that was read, or was not there, is believed.

        Raises:
            ReadError: the system has refused a read.
        """
        if self.error is not None:
            raise self.error


class Cursor:
    """A place in a file: what a container is read through, as a file object for PyAV.

    It never raises, as PyAV would raise that wherever it looks for errors next.

    Attributes:
        name: tells libav the suffix, and leads nowhere, in whatever folder it is looked for.
    """

    def __init__(self, file: InputFile) -> None:
        self._file = file
        self._position = 0
        self.name: Final = f"input:{file.path.name}"

    def read(self, size: int) -> bytes:
        data = self._file.read_at(self._position, size)
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_CUR:
            offset += self._position
        elif whence == os.SEEK_END:
            offset += self._file.size_bytes
        if offset < 0:
            return -errno.EINVAL
        self._position = offset
        return offset

    def tell(self) -> int:
        return self._position
