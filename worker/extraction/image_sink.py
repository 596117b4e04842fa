"""Where the images of one attempt go until its commit: files of their own, or one bundle.

What is packed into shards later need not be files before: to make, rename and remove a file takes as much
as to write 100 KB into one that is there.
"""

from __future__ import annotations

import hashlib
from io import FileIO
from pathlib import Path
from typing import Protocol

from framefleet.common.media import FrameRow
from framefleet.worker.picture import render
from framefleet.worker.staging import STAGED_BUNDLE


class Sink(Protocol):
    """Takes the images of one attempt, in order."""

    def add(self, name: str, data: bytes) -> tuple[str, int | None]:
        """Write an image; its SHA-256 in hexadecimal, and where it begins in the bundle, if it lies in one.

        Raises:
            OSError: the output cannot take it (a full disk, say); this is never about the video.
        """

    def take_back(self, row: FrameRow) -> None:
        """Remove the image of a row, which is the last one that is there."""

    def close(self) -> None:
        """Nothing comes any more."""


class LooseSink:
    """A file for each image, replacing what is there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, name: str, data: bytes) -> tuple[str, int | None]:
        return render.write(self._folder / name, data), None

    def take_back(self, row: FrameRow) -> None:
        (self._folder / row.file).unlink()

    def close(self) -> None:
        pass


class BundleSink:
    """One file with the bytes of all images, one after the other; there is none before the first image."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / STAGED_BUNDLE
        self._file: FileIO | None = None
        self._end = 0

    def add(self, name: str, data: bytes) -> tuple[str, int | None]:
        if self._file is None:
            self._file = FileIO(self._path, "wb")
        place, rest = self._end, memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]
        self._end = place + len(data)
        return hashlib.sha256(data).hexdigest(), place

    def take_back(self, row: FrameRow) -> None:
        assert row.place is not None
        self._end = row.place
        if self._file is not None:
            self._file.truncate(self._end)
            self._file.seek(self._end)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
