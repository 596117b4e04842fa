"""Damage ends a file only where nothing more comes."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast

import av

from worker import packets
from worker.media import OpenVideo
from worker.packets import Reader


class Refusing:
    """A container of which the demuxer can have the first packet only."""

    def __init__(self) -> None:
        self._first = [SimpleNamespace(size=10, pts=0, dts=0, pos=1000, is_keyframe=True)]

    def demux(self, _stream: object) -> Iterator[object]:
        while self._first:
            yield self._first.pop()
        raise av.error.OSError(errno.EIO, "Input/output error", "a.mp4")


def test_what_libav_takes_for_an_error_of_the_disk_is_damage_where_the_disk_has_none() -> None:
    file = SimpleNamespace(error=None, check=lambda: None)
    video = SimpleNamespace(file=file, container=Refusing(), stream=None, touched=False)
    items = list(Reader(cast(OpenVideo, video)).items())
    assert items[1:] == [None] * packets.MAX_DEMUX_ERRORS
