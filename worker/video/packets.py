"""The packets of a video, in decoding order, from where its demuxer stands."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Final, TypeAlias

import av
from av.packet import Packet
from av.video.stream import VideoStream

from framefleet.worker.slot_limits import beat, check_memory
from framefleet.worker.video.open_video import BUFFER_BYTES, OpenVideo

CHUNK_PACKETS: Final = 1024  # a longer GOP is handled in pieces
CHUNK_BYTES: Final = 48 * 2**20
# Without reading on, a demuxer can only pass over what is in its buffer, by a byte or more an error. In 5,000
# damaged files none that gave an error twice at the same place ever gave another packet. It takes 0.3 s.
MAX_IDLE_ERRORS: Final = BUFFER_BYTES
REORDER_PACKETS: Final = 32  # twice what any codec may delay a picture by

# Places in the order of decoding: a packet, or None where the demuxer could not read one or several.
Item: TypeAlias = "Packet[VideoStream] | None"


class Reader:
    """Packets in chunks that begin with the GOPs; what was looked at ahead is given again.

    All that reads raises ``ReadError`` where the system refuses to read the file: no packet is given that was
    made after that.
    """

    def __init__(self, video: OpenVideo) -> None:
        video.touched = True
        self._video = video
        self._items = self._demux()
        self._ahead: deque[Item] = deque()
        self._ended = False

    @property
    def next_pts(self) -> int | None:
        """pts of the next packet, if it was looked at and has one."""
        item = self._ahead[0] if self._ahead else None
        return item.pts if item is not None else None

    def items(self) -> Iterator[Item]:
        """One by one."""
        while self._fill(1):
            yield self._ahead.popleft()

    def next_chunk(self) -> list[Item]:
        """The next GOP, or a piece of a very long one; empty at the end of the file.

        A new GOP begins where the first item is a keyframe.
        """
        chunk: list[Item] = []
        size_bytes = 0
        while self._fill(1):
            item = self._ahead[0]
            full = len(chunk) >= CHUNK_PACKETS or size_bytes >= CHUNK_BYTES
            if chunk and (full or is_key(item)):
                break
            chunk.append(self._ahead.popleft())
            size_bytes += item.size if item is not None else 0
        return chunk

    def peek(self) -> tuple[list[Item], bool]:
        """The items behind, as far as frames may be reordered; whether these are all."""
        self._fill(REORDER_PACKETS + 1)
        return list(islice(self._ahead, REORDER_PACKETS)), len(self._ahead) <= REORDER_PACKETS

    def advance_to(self, tick: int) -> int | None:
        """Pass over, undecoded, what comes before the last keyframe with a pts up to ``tick``.

        Gives that keyframe's pts, which is the next packet; None if there is none from here on.
        """
        key_pts: int | None = None
        later = size_bytes = 0
        held: deque[Item] = deque()
        while self._fill(1):
            item = self._ahead[0]
            pts = item.pts if item is not None else None
            if is_key(item) and pts is not None:
                if pts <= tick:
                    key_pts = pts
                    held.clear()
                    later = size_bytes = 0
                elif key_pts is None:
                    return None
            if pts is not None and pts > tick:
                later += 1
            self._ahead.popleft()
            if key_pts is not None:
                held.append(item)
                size_bytes += item.size if item is not None else 0
            if later > REORDER_PACKETS or size_bytes >= CHUNK_BYTES:
                break
        self._ahead.extendleft(reversed(held))
        return key_pts

    def _fill(self, count: int) -> bool:
        """Look ``count`` items ahead; whether there is any."""
        while len(self._ahead) < count and not self._ended:
            try:
                self._ahead.append(next(self._items))
            except StopIteration:
                self._ended = True
        return bool(self._ahead)

    def _demux(self) -> Iterator[Item]:
        """Errors in a row are one place; whoever reads no new byte by ``MAX_IDLE_ERRORS`` never will."""
        video = self._video
        places: set[int] = set()  # up to which the file was read at the latest errors
        idle = 0
        while idle < MAX_IDLE_ERRORS:
            try:
                for packet in video.container.demux(video.stream):
                    if video.file.error is not None or is_last(packet):
                        break
                    if places:
                        places.clear()
                    beat()
                    yield packet
                video.file.check()
                return
            except av.FFmpegError as error:
                video.file.check()
                check_memory(error)
                if not places:
                    yield None
                place = video.read_to
                idle = idle + 1 if place in places else 0
                places.add(place)


def is_last(packet: Packet[VideoStream]) -> bool:
    """Whether it is PyAV's way to say that the file is over."""
    return packet.size == 0 and packet.pts is None and packet.dts is None


def is_key(item: Item) -> bool:
    """Whether the container marks it as a keyframe."""
    return item is not None and item.is_keyframe
