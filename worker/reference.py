"""Which packets no other picture refers to: H.264 in MP4 and Matroska so far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from av.packet import Packet
from av.video.stream import VideoStream


class Classifier(Protocol):
    """Tells which packets may be left out of the decoding."""

    def droppable(
        self, packets: Sequence[Packet[VideoStream]], others: Sequence[Packet[VideoStream]]
    ) -> list[bool]:
        """For each of ``packets``; ``others`` follow them."""


class _H264:
    def __init__(self, extradata: bytes) -> None:
        self._length_bytes = (extradata[4] & 3) + 1

    def droppable(
        self, packets: Sequence[Packet[VideoStream]], others: Sequence[Packet[VideoStream]]
    ) -> list[bool]:
        return [self._is_droppable(packet) for packet in packets]

    def _is_droppable(self, packet: Packet[VideoStream]) -> bool:
        data = memoryview(packet)
        at, found = 0, False
        while at + self._length_bytes < len(data):
            size = int.from_bytes(data[at : at + self._length_bytes], "big")
            head = data[at + self._length_bytes]
            if head & 31 in (7, 8) or (1 <= head & 31 <= 5 and head >> 5 & 3):
                return False
            found |= 1 <= head & 31 <= 5
            at += self._length_bytes + size
        return found


def classifier_for(codec: str, extradata: bytes | None) -> Classifier | None:
    """None: everything counts as referred to."""
    if codec == "h264" and extradata and len(extradata) > 4 and extradata[0] == 1:
        return _H264(extradata)
    return None
