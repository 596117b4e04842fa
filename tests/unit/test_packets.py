"""What a disk cannot read is not taken for damage of the file."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import av
import pytest

from worker import packets
from worker.media import OpenVideo
from worker.packets import DiskError, Reader


class Refusing:
    """A container of which the demuxer can have the first packet only."""

    def __init__(self) -> None:
        self._first = [SimpleNamespace(size=10, pts=0, dts=0, pos=1000, is_keyframe=True)]

    def demux(self, _stream: object) -> Iterator[object]:
        while self._first:
            yield self._first.pop()
        raise av.error.OSError(errno.EIO, "Input/output error", "a.mp4")


def reader(path: Path) -> Reader:
    video = SimpleNamespace(path=path, container=Refusing(), stream=None, touched=False)
    return Reader(cast(OpenVideo, video))


def test_a_disk_that_gives_nothing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.mp4").write_bytes(bytes(5000))

    class Broken:
        def __enter__(self) -> Broken:
            return self

        def __exit__(self, *_: object) -> None:
            return

        def seek(self, position: int) -> None:
            assert position == 1000

        def read(self, _size: int) -> bytes:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def broken(_path: Path, *_: Any, **__: Any) -> Broken:
        return Broken()

    monkeypatch.setattr(Path, "open", broken)
    items = reader(tmp_path / "a.mp4").items()
    next(items)
    with pytest.raises(DiskError, match="behind byte 1000: Input/output error"):
        next(items)


def test_what_libav_takes_for_one_of_a_readable_file_is_damage(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(bytes(5000))
    items = list(reader(tmp_path / "a.mp4").items())
    assert items[1:] == [None] * packets.MAX_DEMUX_ERRORS
