"""Which files there are: the list that every host of a job agrees on."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from framefleet.common.errors import UserError
from framefleet.common.files.durable import write_whole
from framefleet.common.job.selection import Selection
from framefleet.common.media import MAX_BYTES
from framefleet.common.output.video_names import output_folders, video_name
from framefleet.common.status import Failure
from framefleet.coordinator.listed_video import ListedVideo as ListedVideo

FILES: Final = "files.json"  # the list of a job, beside its journal


@dataclass(frozen=True, slots=True)
class Listing:
    """The files, sorted by path, and what could not be listed."""

    videos: list[ListedVideo]
    problems: list[Failure]


def list_videos(root: Path, *, may_be_missing: bool = False) -> Listing:
    """List the regular files below ``root``, sorted by the bytes of their path.

    ``may_be_missing``: a root that is not there holds nothing.

    Names that begin with a dot (``.DS_Store``, ``._resource`` forks, ``.git``) are left out. A symbolic
    link is followed when it leads to somewhere inside the root, but no folder is entered twice; one that
    leads out is reported and not followed.

    Raises:
        UserError: ``root`` itself cannot be listed.
    """
    top = os.path.realpath(os.fsencode(root))
    try:
        with os.scandir(top):
            pass
    except OSError as error:
        if may_be_missing and isinstance(error, FileNotFoundError):
            return Listing([], [])
        raise UserError(f"cannot list the input folder {root}: {error.strerror}") from error
    found: list[tuple[bytes, int]] = []
    problems: list[tuple[bytes, str]] = []
    for path, outcome in _walk(top):
        if isinstance(outcome, int):
            found.append((path, outcome))
        else:
            problems.append((path, outcome))
    failures = [
        Failure(video=video_name(path), kind="input", reason=reason) for path, reason in sorted(problems)
    ]
    return Listing(name_videos(found), failures)


def name_videos(files: list[tuple[bytes, int]]) -> list[ListedVideo]:
    """Entries of a catalogue for the paths and sizes of ``files``, which this sorts."""
    files.sort()
    folders = output_folders([path for path, _ in files])
    return [
        ListedVideo.of(index=index, path=path, name=video_name(path), folder=folder, size_bytes=size)
        for index, ((path, size), folder) in enumerate(zip(files, folders, strict=True))
    ]


def write_listing(path: Path, listing: Listing) -> None:
    """Keep the list of a job, for coordinators that are started again.

    Raises:
        OSError: the disk refuses.
    """
    write_whole(path, msgspec.json.encode(listing))


def read_listing(path: Path) -> Listing | None:
    """The list that was kept; None if there is none that can be read."""
    with contextlib.suppress(OSError, msgspec.DecodeError):
        return msgspec.json.decode(path.read_bytes(), type=Listing)
    return None


def select(listing: Listing, selection: Selection) -> Listing:
    """What a job wants of the list, indexed anew; names that lead to nothing are problems."""
    named = list(selection.named())
    listed = {video.name for video in listing.videos} if named else frozenset()
    problems = [
        Failure(
            video=name,
            kind="input",
            reason=f"the file of {option} names it, but the input folder holds no such file: "
            "names are paths below that folder",
        )
        for option, name in named
        if name not in listed
    ]
    videos = [video for video in listing.videos if selection.wants(video.name)]
    return Listing(shard(videos, 0, 1), listing.problems + problems)


def shard(videos: Sequence[ListedVideo], rank: int, size: int) -> list[ListedVideo]:
    """Every ``size``-th video from ``rank`` on, indexed anew; names are those of the whole list."""
    return [msgspec.structs.replace(video, index=index) for index, video in enumerate(videos[rank::size])]


def _walk(top: bytes) -> Iterator[tuple[bytes, int | str]]:
    """Every file below ``top``: its relative path, and its size or why it is left out."""
    todo: list[tuple[bytes, bytes]] = [(top, b"")]
    links: list[tuple[bytes, bytes]] = []
    visited: set[bytes] = set()
    while todo or links:
        if not todo:
            # only now: what a link leads to is best known by its real path, so loops end here too
            links.sort(reverse=True)
            todo.append(links.pop())
        folder, relative = todo.pop()
        real = os.path.realpath(folder)
        if real in visited:
            continue
        visited.add(real)
        try:
            with os.scandir(real) as entries:  # not made a list: a folder may hold a million files
                for entry in entries:
                    path = relative + entry.name
                    if entry.name.startswith(b"."):
                        continue
                    try:
                        if entry.is_symlink() and not _is_inside(entry.path, top):
                            yield path, "a symbolic link that leads out of the input folder; not followed"
                        elif entry.is_dir():
                            (links if entry.is_symlink() else todo).append((entry.path, path + b"/"))
                        elif entry.is_file():
                            size = entry.stat().st_size
                            yield path, size if size <= MAX_BYTES else f"claims {size:,} bytes: no video does"
                        elif entry.is_symlink():
                            yield path, "a symbolic link that leads nowhere"
                        else:
                            yield path, "not a regular file"
                    except OSError as error:
                        yield path, f"cannot be looked at: {error.strerror}"
        except OSError as error:
            yield relative.rstrip(b"/"), f"cannot list this folder: {error.strerror}"


def _is_inside(path: bytes, top: bytes) -> bool:
    real = os.path.realpath(path)
    return real == top or real.startswith(top.rstrip(b"/") + b"/")
