"""What processes ask of the disk below a folder: written down, failed at the n-th call, lost in a power cut.

``disk_calls.c`` is preloaded into every process of a job, so all doors are watched, those of Arrow too.
``nth_call.py`` fails calls, ``lost_writes.py`` makes of them the disk as a kill or a power cut
would have left it at any moment.
"""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).with_suffix(".c")
COMPILERS: Final = ("cc", "gcc", "clang")
_HEAD: Final = struct.Struct("=IIIIQq")


def compiler() -> str | None:
    """A C compiler of this machine; None: there is none, or no Linux, and nothing of this module works."""
    if not sys.platform.startswith("linux"):
        return None
    return next(filter(None, map(shutil.which, COMPILERS)), None)


def build(folder: Path) -> Path:
    """Compile the library into a folder."""
    found = compiler()
    assert found is not None, "a C compiler for Linux is needed: install gcc"
    library = folder / "disk_calls.so"
    subprocess.run([found, "-O1", "-Wall", "-shared", "-fPIC", "-o", library, SOURCE], check=True)
    return library


def watching(
    library: Path,
    root: Path,
    *,
    trace: Path | None = None,
    fail: Failing | None = None,
    role: Sequence[str] = (),
    log: Path | None = None,
) -> dict[str, str]:
    """The environment of a process whose calls below ``root`` are appended to ``trace``, or fail where the
    command line or the host's folder has every word of ``role``; ``log`` is told which call was failed."""
    told = {"LD_PRELOAD": str(library), "FF_ROOT": str(root)}
    if trace is not None:
        told["FF_TRACE"] = str(trace)
    if fail is not None:
        told |= {"FF_FAIL": f"{fail.kind} {fail.number} {fail.n}", "FF_ROLE": ",".join(role)}
    if log is not None:
        told["FF_LOG"] = str(log)
    return told


@dataclass(frozen=True, slots=True)
class Failing:
    """How calls fail.

    ``kind``: c (none fails, all are told), o (the n-th alone), f (the disk is full from the n-th on), d
    (nothing works from the n-th on), s (the first write from the n-th on is cut short), t (and the next one
    fails).
    """

    kind: str
    number: int
    n: int

    def arm(self, root: Path) -> None:
        """Fail calls below a folder of this process, into which the library has been loaded, from now on."""
        ctypes.CDLL(None).disk_calls_arm(ord(self.kind), self.number, ctypes.c_long(self.n), bytes(root))

    def __str__(self) -> str:
        return f"{self.kind} {os.strerror(self.number)} {self.n}"


def disarm() -> int:
    """Let calls of this process succeed again; how many have been made since ``arm``."""
    library = ctypes.CDLL(None)
    library.disk_calls_made.restype = ctypes.c_long
    made: int = library.disk_calls_made()
    library.disk_calls_arm(0, 0, ctypes.c_long(0), b"")
    return made


# ---- what was asked -----------------------------------------------------------------------------------


class Kind(IntEnum):
    """As the library numbers calls. ``BEGIN``: a sync has begun, and what was before it is what it syncs."""

    OPEN = 1
    WRITE = 2
    TRUNCATE = 3
    RENAME = 4
    LINK = 5
    SYMLINK = 6
    UNLINK = 7
    RMDIR = 8
    MKDIR = 9
    BEGIN = 10
    SYNC = 11
    SYNCFS = 12


_OF_NAMES: Final = (Kind.RENAME, Kind.LINK, Kind.SYMLINK, Kind.UNLINK, Kind.RMDIR, Kind.MKDIR)


@dataclass(frozen=True, slots=True)
class Call:
    """A call that succeeded. ``offset``: of a write; a new size; an open's flags; of a begin, the sync's
    kind. ``data``: what was written, or the other path."""

    kind: Kind
    pid: int
    inode: int
    offset: int
    path: str
    data: bytes

    @property
    def other(self) -> str:
        return self.data.decode(errors="surrogateescape")


def all_synced(root: Path) -> list[Call]:
    """What brings all before it to the disk."""
    begin = Call(Kind.BEGIN, 0, 0, Kind.SYNCFS, str(root), b"")
    return [begin, Call(Kind.SYNCFS, 0, 0, 0, str(root), b"")]


def read_trace(trace: Path) -> list[Call]:
    """All calls, in their order."""
    data = trace.read_bytes()
    calls, at = [], 0
    while at < len(data):
        kind, pid, path_bytes, size, inode, offset = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        path = data[at : at + path_bytes].decode(errors="surrogateescape")
        at += path_bytes
        calls.append(Call(Kind(kind), pid, inode, offset, path, data[at : at + size]))
        at += size
    return calls


# ---- the disk at a moment -----------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class _File:
    changes: list[tuple[int, Call]] = field(default_factory=list)  # writes and truncations
    synced: int = 0  # changes before this call are on the disk


@dataclass(slots=True)
class _Names:
    """Folders, files and links by their paths."""

    found: dict[str, _File | str | None] = field(
        default_factory=dict
    )  # a str: a link's target; None: a folder

    def change(self, call: Call) -> None:
        """Do what a call does to names."""
        other = call.other
        match call.kind:
            case Kind.RENAME:
                for name in self._below(call.path):
                    self.found[other + name[len(call.path) :]] = self.found.pop(name)
            case Kind.LINK:
                self.found[other] = self.found[call.path]
            case Kind.SYMLINK:
                self.found[call.path] = other
            case Kind.MKDIR:
                self.found[call.path] = None
            case Kind.UNLINK | Kind.RMDIR:
                del self.found[call.path]

    def _below(self, path: str) -> list[str]:
        return [name for name in self.found if name == path or name.startswith(f"{path}/")]


class Moments:
    """What would have been on the disk at any moment of a trace."""

    def __init__(self, calls: Sequence[Call], root: Path) -> None:
        self.calls = calls
        self._root = str(root)
        # each change of names, and what it is of: found out with all names at hand
        self._files: dict[int, _File] = {}  # by the number of the call that opened it
        self._opened: list[_File] = []
        self._sync_of: dict[int, int] = {}  # of an end, the begin
        self._resolve()

    def __len__(self) -> int:
        return len(self.calls)

    def _resolve(self) -> None:
        names, by_inode = _Names(), dict[int, _File]()
        begun: dict[tuple[int, int], int] = {}
        for at, call in enumerate(self.calls):
            if call.kind is Kind.OPEN:
                known = names.found.get(call.path)
                file = known if isinstance(known, _File) else _File()
                self._files[at] = by_inode[call.inode] = file
                names.found[call.path] = file
                if call.offset & os.O_TRUNC and file.changes:
                    file.changes.append((at, Call(Kind.TRUNCATE, call.pid, 0, 0, "", b"")))
            elif call.kind in (Kind.WRITE, Kind.TRUNCATE):
                file = by_inode[call.inode]
                file.changes.append((at, call))
                self._files[at] = file
            elif call.kind is Kind.BEGIN:
                begun[call.pid, call.inode] = at
            elif call.kind in (Kind.SYNC, Kind.SYNCFS):
                self._sync_of[at] = begun[call.pid, call.inode]
                if (synced := by_inode.get(call.inode)) is not None and call.kind is Kind.SYNC:
                    self._files[at] = synced
            else:
                names.change(call)

    def killed(self, at: int, folder: Path) -> None:
        """Make the disk in ``folder`` as it was when ``at`` calls had been made."""
        self._write(
            self._names(at), folder, lambda file: [call for number, call in file.changes if number < at]
        )

    def cut(self, at: int, folder: Path, chance: random.Random) -> None:
        """Make the disk in ``folder`` as a power cut after ``at`` calls leaves it. Changes of names are lost
        from some moment on, as on any file system with a journal, where a sync brings all those before it to
        the disk. Of the bytes of a file that was not synced there may be all, none, some, or zeros."""
        everything, names_synced = 0, 0
        files: dict[int, int] = {}
        for end, begin in self._sync_of.items():
            if end >= at:
                break
            names_synced = max(names_synced, begin)
            if self.calls[end].kind is Kind.SYNCFS:
                everything = max(everything, begin)
            elif end in self._files:
                files[id(self._files[end])] = begin
        last = chance.randint(names_synced, at)

        def contents(file: _File) -> list[Call]:
            synced = max(everything, files.get(id(file), 0))
            kept = [call for number, call in file.changes if number < synced]
            rest = [
                call
                for number, call in file.changes
                if synced <= number < (at if call.kind is Kind.WRITE else last)
            ]
            return kept + _left_of(rest, chance)

        self._write(self._names(last), folder, contents)

    def _names(self, at: int) -> _Names:
        names = _Names()
        for number, call in enumerate(self.calls[:at]):
            if call.kind is Kind.OPEN:
                if call.path not in names.found and call.offset & os.O_CREAT:
                    names.found[call.path] = self._files[number]
            elif call.kind in (
                Kind.RENAME,
                Kind.LINK,
                Kind.SYMLINK,
                Kind.UNLINK,
                Kind.RMDIR,
                Kind.MKDIR,
            ):
                names.change(call)
        return names

    def _write(self, names: _Names, folder: Path, contents: Callable[[_File], list[Call]]) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for path, what in sorted(names.found.items()):
            place = folder / path.removeprefix(self._root).lstrip("/")
            if what is None:
                place.mkdir(exist_ok=True)
            elif isinstance(what, str):
                place.symlink_to(what)
            else:
                place.write_bytes(_bytes_of(contents(what)))


def _left_of(changes: list[Call], chance: random.Random) -> list[Call]:
    """What a power cut leaves of changes of a file that were not synced."""
    taken = changes[: chance.randint(0, len(changes))]
    match chance.choice(("all", "some", "torn", "zeros")):
        case "all":
            return changes
        case "torn" if taken and taken[-1].kind is Kind.WRITE:
            data = taken[-1].data
            taken[-1] = replace(taken[-1], data=data[: chance.randint(0, len(data))])
        case "zeros":
            taken = [replace(call, data=bytes(len(call.data))) for call in taken]
    return taken


def _bytes_of(changes: Sequence[Call]) -> bytes:
    data = bytearray()
    for call in changes:
        if call.kind is Kind.TRUNCATE:
            del data[call.offset :]
            data.extend(bytes(call.offset - len(data)))
        else:
            if call.offset > len(data):
                data.extend(bytes(call.offset - len(data)))
            data[call.offset : call.offset + len(call.data)] = call.data
    return bytes(data)
