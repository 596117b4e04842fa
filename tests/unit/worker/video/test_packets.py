"""Damage ends a file only where nothing more comes."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast

import av
import pytest

from framefleet.worker.video.open_video import OpenVideo
from framefleet.worker.video.packets import Reader

IDLE = 100


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framefleet.worker.video.packets.MAX_IDLE_ERRORS", IDLE)


class Stream:
    """A container of which the demuxer gives errors (None) and packets (a byte position) one by one; then it
    gives the last error for ever."""

    def __init__(self, items: list[int | None], reads: list[int]) -> None:
        self._items = items
        self._reads = reads
        self.read_to = 0
        self.errors = 0

    def demux(self, _stream: object) -> Iterator[object]:
        while self._items and (position := self._items.pop(0)) is not None:
            yield SimpleNamespace(size=10, pts=position, dts=position, is_keyframe=True)
        self.errors += 1
        self.read_to = self._reads.pop(0) if self._reads else self.read_to
        raise av.error.OSError(errno.EIO, "Input/output error", "a.mp4")


def read(items: list[int | None], reads: list[int]) -> tuple[list[int | None], int]:
    """What a reader makes of it, and how many errors it has taken."""
    container = Stream(items, reads)

    class Video:
        stream = None
        touched = False

        def __init__(self) -> None:
            self.file = SimpleNamespace(error=None, check=lambda: None)
            self.container = container

        @property
        def read_to(self) -> int:
            return container.read_to

    found = list(Reader(cast(OpenVideo, Video())).items())
    return [item.pts if item is not None else None for item in found], container.errors


def test_what_libav_takes_for_an_error_of_the_disk_is_damage_where_the_disk_has_none() -> None:
    assert read([0], [])[0] == [0, None]


def test_a_demuxer_that_never_gets_further_ends_the_file() -> None:
    for reads in ([], [100], [100, 200] * IDLE):
        items, errors = read([0], list(reads))
        assert items == [0, None]
        assert errors <= IDLE + 3


def test_no_number_of_errors_ends_a_file_that_is_read_on() -> None:
    many = 3 * IDLE
    items, errors = read([0, *[None] * many, 1], list(range(many)))
    assert items == [0, None, 1, None], "errors in a row are one place"
    assert errors == many + IDLE + 1
