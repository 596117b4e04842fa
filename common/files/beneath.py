"""Files below a folder that others write into, reached without following anything out of it.

A path in a manifest, a journal or a host's folder may be meant to lead elsewhere, and so may a link there.
Every component is opened relative to the folder above it, and none may be a link; what is read is a regular
file. The way to the folder itself is the user's, and may have links.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

COPY_BYTES = 2**20

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_BELOW = _FOLDER | os.O_NOFOLLOW
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO would wait for its writer
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)


class UnsafePathError(OSError):
    """A path leads out of its folder, passes a link, or does not end at a regular file."""


def is_relative(path: str) -> bool:
    """Whether a path leads, by its text, to a place below where it starts."""
    return "\0" not in path and not {"", ".", ".."}.intersection(path.split("/"))


def is_frame_path(file: str) -> bool:
    """Whether a row's ``file`` leads to a place below ``frames/``."""
    return file.startswith("frames/") and is_relative(file)


def read_file(path: Path, most: int) -> bytes:
    """The bytes of a regular file that others have written.

    Raises:
        UnsafePathError: it is a link, a folder, a FIFO or a device, or has more than ``most`` bytes.
        OSError: it cannot be read.
    """
    with Below(path.parent) as folder, folder.open(path.name) as file:
        if os.fstat(file.fileno()).st_size > most:
            raise UnsafePathError(errno.EFBIG, f"has more than {most:,} bytes", str(path))
        return file.read(most)


class Below:
    """A folder and the files below it, by paths relative to it. Not for use by several threads.

    Every method that takes a path raises ``UnsafePathError`` for one that ``is_relative`` refuses, or that
    passes a link, and ``FileNotFoundError`` where a folder of it is not there.
    """

    def __init__(self, folder: Path | str) -> None:
        """Open the folder.

        Raises:
            OSError: it is not there, or may not be read.
        """
        self.folder = str(folder)
        self._root = os.open(folder, _FOLDER)
        self._last = ""  # the folder that was used last is open: paths come sorted by folder
        self._last_open = self._root

    def open(self, path: str) -> BinaryIO:
        """A regular file, to be read.

        Raises:
            UnsafePathError: it is a link, a folder, a FIFO or a device.
            OSError: it cannot be opened.
        """
        folder, name = self._locate(path)
        try:
            descriptor = os.open(name, _READ, dir_fd=folder)
        except OSError as error:
            raise self._named(error, path) from None
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UnsafePathError(errno.EINVAL, "is no regular file", self._full(path))
            return os.fdopen(descriptor, "rb")
        except BaseException:
            os.close(descriptor)
            raise

    def stat(self, path: str) -> os.stat_result:
        """What the system tells of a regular file.

        Raises:
            UnsafePathError: it is something else.
            OSError: it is not there, or cannot be looked at.
        """
        folder, name = self._locate(path)
        try:
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError as error:
            raise self._named(error, path) from None
        if not stat.S_ISREG(found.st_mode):
            raise UnsafePathError(errno.EINVAL, "is no regular file", self._full(path))
        return found

    def size(self, path: str) -> int:
        """Bytes of a regular file; -1 if there is none of this path.

        Raises:
            OSError: that cannot be found out.
        """
        try:
            return self.stat(path).st_size
        except UnsafePathError:
            return -1
        except OSError as error:
            if error.errno in _ABSENT:
                return -1
            raise

    def remove(self, path: str) -> None:
        """Remove a file, or a link itself; there may be none.

        Raises:
            OSError: the disk refuses.
        """
        try:
            folder, name = self._locate(path)
            os.unlink(name, dir_fd=folder)
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._named(error, path) from None

    def make_folder(self, path: str) -> None:
        """Make a folder below this one, and those above it, where they are not there."""
        self._enter(path, make=True)

    def move(self, path: str, other: Below, target: str) -> None:
        """Move a regular file to ``target`` below ``other``, whose folder is there; another disk will do.
        Whoever looks at ``target`` sees it whole or as it was.

        Raises:
            UnsafePathError: it is a link, a folder, a FIFO or a device.
            OSError: it is not there, or the disk refuses.
        """
        self.stat(path)
        folder, name = self._locate(path)
        there, new = other._locate(target)
        try:
            os.rename(name, new, src_dir_fd=folder, dst_dir_fd=there)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise self._named(error, path) from None
            self._copy(path, other, target)
            self.remove(path)

    def link(self, path: str, other: Below, target: str) -> None:
        """Give a regular file a second name, ``target`` below ``other``; a copy where the system gives it
        none (another disk, another's file).

        Raises:
            UnsafePathError: it is a link, a folder, a FIFO or a device.
            OSError: it is not there, or the disk refuses.
        """
        self.stat(path)
        folder, name = self._locate(path)
        there, new = other._locate(target)
        try:
            os.link(name, new, src_dir_fd=folder, dst_dir_fd=there, follow_symlinks=False)
        except OSError:
            self._copy(path, other, target)

    def files(self, folder: str) -> Iterator[tuple[str, bool]]:
        """All that is below a folder ("": this one) but folders, sorted, and whether it is a regular file.
        Links are not followed; a folder that is not there has nothing.

        Raises:
            OSError: a folder cannot be read.
        """
        try:
            descriptor = self._enter(folder)
            with os.scandir(descriptor) as entries:
                found = sorted(
                    (entry.name, entry.is_dir(follow_symlinks=False), entry.is_file(follow_symlinks=False))
                    for entry in entries
                )
        except OSError as error:
            if isinstance(error, UnsafePathError) or error.errno in _ABSENT:
                return
            raise
        for name, is_folder, is_file in found:
            path = f"{folder}/{name}" if folder else name
            if is_folder:
                yield from self.files(path)
            else:
                yield path, is_file

    def close(self) -> None:
        self._forget()
        os.close(self._root)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _locate(self, path: str) -> tuple[int, str]:
        """The open folder of a path, and the name in it."""
        folder, _, name = path.rpartition("/")
        if not is_relative(name):
            raise UnsafePathError(errno.EINVAL, "leads out of its folder", self._full(path))
        return self._enter(folder), name

    def _enter(self, folder: str, *, make: bool = False) -> int:
        """A folder below this one, open until another one is entered."""
        if folder == self._last:
            return self._last_open
        if not folder:
            return self._root
        if not is_relative(folder):
            raise UnsafePathError(errno.EINVAL, "leads out of its folder", self._full(folder))
        at = self._root
        try:
            for name in folder.split("/"):
                below = self._open_folder(at, name, folder, make=make)
                if at != self._root:
                    os.close(at)
                at = below
        except BaseException:
            if at != self._root:
                os.close(at)
            raise
        self._forget()
        self._last, self._last_open = folder, at
        return at

    def _open_folder(self, above: int, name: str, path: str, *, make: bool) -> int:
        while True:
            try:
                return os.open(name, _BELOW, dir_fd=above)
            except FileNotFoundError as error:
                if not make:
                    raise self._named(error, path) from None
            except OSError as error:
                if error.errno in (errno.ENOTDIR, errno.ELOOP):
                    why = f"passes {name!r}, which is a link or no folder"
                    raise UnsafePathError(errno.ELOOP, why, self._full(path)) from None
                raise self._named(error, path) from None
            try:
                os.mkdir(name, dir_fd=above)
            except FileExistsError:
                continue  # somebody else has made it
            except OSError as error:
                raise self._named(error, path) from None

    def _forget(self) -> None:
        if self._last_open != self._root:
            os.close(self._last_open)
        self._last, self._last_open = "", self._root

    def _copy(self, path: str, other: Below, target: str) -> None:
        whole = f"{target}.part"
        there, temporary = other._locate(whole)
        with self.open(path) as source:
            try:
                with os.fdopen(os.open(temporary, _WRITE, 0o666, dir_fd=there), "wb") as copy:
                    while data := source.read(COPY_BYTES):
                        copy.write(data)
                there, temporary = other._locate(whole)
                os.rename(temporary, target.rpartition("/")[2], src_dir_fd=there, dst_dir_fd=there)
            except OSError as error:
                other.remove(whole)
                raise other._named(error, target) from None

    def _full(self, path: str) -> str:
        return f"{self.folder}/{path}"

    def _named(self, error: OSError, path: str) -> OSError:
        """The same error, with the whole path in place of a name that is relative to a descriptor."""
        if isinstance(error, UnsafePathError):
            return error
        if error.errno == errno.ELOOP:
            return UnsafePathError(errno.ELOOP, "is a link", self._full(path))
        return OSError(error.errno, error.strerror or str(error), self._full(path))
