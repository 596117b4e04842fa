"""From an open file to displayed frames, a GOP at a time, from a keyframe that can be trusted.

Two rules make a range's frames the same wherever the decoding began.

A session begins at a keyframe K with a flushed decoder, gives no frame that is displayed before K (an
open GOP's leading pictures need the GOP before), and is used only if K itself is the first frame that
it gives. Recovery points, and keyframes in name only, fail this test: then the keyframe before is tried,
down to the start of the file. K is found by reading packets, wherever the seek landed.

What a decoder makes of damaged data depends on what it saw before, and even on what its recycled frame
buffers hold. So a GOP in which an error shows is to be decoded again by a fresh decoder, in a session of
its own; ``Gop.needs_own_session`` tells. So is the GOP behind, whose decoder was in an odd state, and,
for the sake of damaged leading pictures, the GOP before them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import av
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from worker.media import OpenVideo

CHUNK_PACKETS = 256  # an endless GOP is handled in pieces
CHUNK_BYTES = 64 * 2**20
MAX_DEMUX_ERRORS = 64  # in a row; OpenCV gives up after as many
REORDER_PACKETS = 32  # twice what any codec may delay a picture by
NEAR_KEYFRAMES = 4  # tried one by one before the steps backwards grow

# They raise or flag what they conceal, and log errors that are none when they begin in an open GOP.
NOISY_DECODERS = frozenset(["h264"])

# libav's messages go nowhere, but PyAV counts the errors among them
av.logging.set_level(av.logging.PANIC)

# Places in the order of decoding: a packet, or None where the demuxer could not read one.
Item: TypeAlias = "Packet[VideoStream] | None"


@dataclass(slots=True, eq=False)
class Gop:
    """What is known of one group of pictures: its packets' places in decoding order, and damage.

    Attributes:
        key_pts: pts of its keyframe; None for what precedes the first keyframe of a file.
        fed: packets handed to the decoder so far.
        damaged_at: place of the first error; None while there is none. Leading pictures do not count:
            nothing that follows refers to them.
        leading_damaged_at: the same for the leading pictures, which also suffer from the GOP before.
        follows_damage: the GOP before is damaged.
        precedes_damage: the leading pictures of the GOP behind, which refer to this one, may be damaged.
        has_leading: it has leading pictures.
        places: pts of packets whose frames may still come, and their places.
    """

    key_pts: int | None
    fed: int = 0
    damaged_at: int | None = None
    leading_damaged_at: int | None = None
    follows_damage: bool = False
    precedes_damage: bool = False
    has_leading: bool = False
    places: dict[int, int] = field(default_factory=dict)

    @property
    def needs_own_session(self) -> bool:
        """Whether its frames depend on where decoding began, unless that was here."""
        return self.damaged_at is not None or self.follows_damage or self.precedes_damage

    def is_leading(self, pts: int) -> bool:
        """Whether a frame is displayed before this GOP's keyframe."""
        return self.key_pts is not None and pts < self.key_pts

    def is_suspect(self, pts: int, place: int) -> bool:
        """Whether damage may show in a frame."""
        at = self.damaged_at
        if self.is_leading(pts):
            if self.follows_damage:
                return True
            if self.leading_damaged_at is not None:
                at = self.leading_damaged_at if at is None else min(at, self.leading_damaged_at)
        return at is not None and place >= at


@dataclass(frozen=True, slots=True)
class Shown:
    """A displayed frame and the packet that it came from."""

    frame: VideoFrame
    pts: int
    gop: Gop
    place: int


class Reader:
    """The packets of a video from where its demuxer stands, in chunks that begin with the GOPs."""

    def __init__(self, video: OpenVideo) -> None:
        video.touched = True
        self._video = video
        self._items = self._demux()
        self._ahead: deque[Item] = deque()

    def chunks(self) -> Iterator[list[Item]]:
        """GOPs, or pieces of a very long one: a new GOP begins where the first item is a keyframe."""
        chunk: list[Item] = []
        size_bytes = 0
        for item in self._following():
            full = len(chunk) >= CHUNK_PACKETS or size_bytes >= CHUNK_BYTES
            if chunk and (full or _is_key(item)):
                yield chunk
                chunk, size_bytes = [], 0
            chunk.append(item)
            size_bytes += item.size if item is not None else 0
        if chunk:
            yield chunk

    def advance_to(self, tick: int) -> int | None:
        """Pass over, undecoded, what comes before the last keyframe with a pts up to ``tick``.

        Gives that keyframe's pts, which is the next packet; None if there is none from here on.
        """
        key_pts: int | None = None
        later = size_bytes = 0
        held: deque[Item] = deque()
        for item in self._following():
            pts = item.pts if item is not None else None
            if _is_key(item) and pts is not None:
                if pts <= tick:
                    key_pts = pts
                    held.clear()
                    later = size_bytes = 0
                elif key_pts is None:
                    return None
            if pts is not None and pts > tick:
                later += 1
            if key_pts is not None:
                held.append(item)
                size_bytes += item.size if item is not None else 0
            if later > REORDER_PACKETS or size_bytes >= CHUNK_BYTES:
                break
        self._ahead = held
        return key_pts

    def _following(self) -> Iterator[Item]:
        while self._ahead:
            yield self._ahead.popleft()
        for item in self._items:  # noqa: UP028 (to abandon this generator must not close that one)
            yield item

    def _demux(self) -> Iterator[Item]:
        video = self._video
        failed = 0
        while failed < MAX_DEMUX_ERRORS:
            try:
                for packet in video.container.demux(video.stream):
                    if packet.size == 0 and packet.pts is None and packet.dts is None:
                        return  # PyAV's way to say that the file is over
                    failed = 0
                    yield packet
                return
            except av.FFmpegError:
                failed += 1
                yield None


class Session:
    """Frames in presentation order from one keyframe on, or from the file's first packet.

    Attributes:
        start_pts: the keyframe that it began with; None at the start of a file that begins without one.
        chunks: chunks of packets decoded so far; it grows just before the frames that follow them.
        gops: the latest GOPs, oldest first: all that frames may still come from.
        errors: places at which the demuxer or the decoder refused a packet.
        decoded: frames that came out of the decoder, those not given included.
        untimed: whether a packet without pts was seen.
    """

    def __init__(self, video: OpenVideo, reader: Reader, *, floor: int | None) -> None:
        """Begin where ``reader`` stands, giving no frame before pts ``floor``."""
        self._codec = video.stream.codec_context
        self._reader = reader
        self._floor = floor
        self._frames = self._decode()
        self._first: Shown | None = None
        self._shown_pts: int | None = None
        self.start_pts: int | None = floor
        self.chunks = 0
        self.gops: deque[Gop] = deque(maxlen=REORDER_PACKETS)
        self.errors: set[tuple[int | None, int]] = set()
        self.decoded = 0
        self.untimed = False

    def __iter__(self) -> Iterator[Shown]:
        if self._first is not None:
            first, self._first = self._first, None
            yield first
        yield from self._frames

    def begins_with(self, pts: int) -> bool:
        """Whether the first frame to come has this pts."""
        self._first = next(self._frames, None)
        return self._first is not None and self._first.pts == pts

    def drain(self) -> None:
        """Decode to the end what was fed, for the damage that shows in it, and give no more frames."""
        self._frames.close()
        for _ in self._feed(None):
            pass

    def _decode(self) -> Generator[Shown]:
        for chunk in self._reader.chunks():
            if _is_key(chunk[0]) or not self.gops:
                self._begin_gop(chunk)
            for item in chunk:
                if item is None:
                    self._note_demux_error()
                else:
                    yield from self._feed(item)
            self.chunks += 1
            self._forget_passed()
        yield from self._feed(None)

    def _begin_gop(self, chunk: list[Item]) -> None:
        gop = Gop(chunk[0].pts if _is_key(chunk[0]) and chunk[0] is not None else None)
        gop.has_leading = any(
            item is not None and item.pts is not None and gop.is_leading(item.pts) for item in chunk
        )
        if not self.gops:
            self.start_pts = gop.key_pts
        else:
            gop.follows_damage = self.gops[-1].damaged_at is not None
            if len(self.gops) == self.gops.maxlen:
                self.gops[0].places.clear()
        self.gops.append(gop)

    def _feed(self, packet: Packet[VideoStream] | None) -> Iterator[Shown]:
        if not self.gops:
            return  # not one packet was there
        gop = self.gops[-1]
        place = gop.fed
        if packet is not None:
            gop.fed += 1
            if packet.pts is None:
                self.untimed = True
            else:
                gop.places[packet.pts] = place
        logged = _errors_logged()
        try:
            frames = self._codec.decode(packet)
        except av.FFmpegError:
            if packet is not None:  # else: flushed before, by an empty packet
                self._note_refusal(gop, place, packet.pts)
            return
        if self._codec.name not in NOISY_DECODERS and _errors_logged() != logged:
            self._note_damage(gop, place, packet.pts if packet is not None else None)
        self.decoded += len(frames)
        for frame in frames:
            assert isinstance(frame, VideoFrame)
            if frame.pts is None:
                self._note_refusal(gop, place, None)
                continue
            shown = self._attribute(frame, frame.pts)
            if frame.is_corrupt:
                self._note_damage(shown.gop, shown.place, frame.pts)
            if self._floor is None or frame.pts >= self._floor:
                self._shown_pts = frame.pts
                yield shown

    def _attribute(self, frame: VideoFrame, pts: int) -> Shown:
        for gop in reversed(self.gops):
            place = gop.places.pop(pts, None)
            if place is not None:
                return Shown(frame, pts, gop, place)
        gop = self.gops[-1]
        return Shown(frame, pts, gop, max(0, gop.fed - 1))

    def _forget_passed(self) -> None:
        gop = self.gops[-1]
        if self._shown_pts is not None and len(gop.places) > CHUNK_PACKETS:
            shown = self._shown_pts
            gop.places = {pts: place for pts, place in gop.places.items() if pts > shown}

    def _note_demux_error(self) -> None:
        gop = self.gops[-1]
        self._note_refusal(gop, gop.fed, None)
        gop.fed += 1

    def _note_refusal(self, gop: Gop, place: int, pts: int | None) -> None:
        if self._note_damage(gop, place, pts):
            self.errors.add((gop.key_pts, place))

    def _note_damage(self, gop: Gop, place: int, pts: int | None) -> bool:
        """Remember where damage shows; False if it is none, but the price of beginning here."""
        if pts is not None and gop.is_leading(pts):
            if gop.key_pts == self._floor:
                return False  # what these pictures refer to was never decoded here
            gop.leading_damaged_at = _earlier(gop.leading_damaged_at, place)
        else:
            gop.damaged_at = _earlier(gop.damaged_at, place)
            behind = self.gops.index(gop) + 1
            if behind < len(self.gops):
                self.gops[behind].follows_damage = True
        before = self.gops.index(gop) - 1
        if gop.has_leading and before >= 0:
            self.gops[before].precedes_damage = True
        return True


def open_session(video: OpenVideo, tick: int | None, *, fresh: bool = False) -> Session:
    """A session whose frames from pts ``tick`` on are exact; it may begin long before it.

    ``tick`` None means from the file's first packet. ``fresh``: with a new decoder, not a flushed one.

    Raises:
        MediaError: the file has vanished.
    """
    tries = 0
    while tick is not None and video.can_seek:
        if fresh:
            video.rewind()
        reader, key_pts = _read_from(video, tick)
        if key_pts is None:
            break
        session = Session(video, reader, floor=key_pts)
        if session.begins_with(key_pts):
            return session
        tries += 1
        step_s = 0 if tries < NEAR_KEYFRAMES else 2 ** (tries - NEAR_KEYFRAMES)
        tick = key_pts - 1 - int(step_s / video.time_base)
    video.rewind()
    return Session(video, Reader(video), floor=None)


def _read_from(video: OpenVideo, tick: int) -> tuple[Reader, int | None]:
    """The packets from the last keyframe with a pts up to ``tick`` on, and its pts; None: there is none."""
    step_s = 0
    begin = video.stream.start_time or 0
    while True:
        target = tick - int(step_s / video.time_base)
        if target < begin and step_s:
            break
        try:
            video.seek(target)
        except av.FFmpegError:
            break
        reader = Reader(video)
        key_pts = reader.advance_to(tick)
        if key_pts is not None:
            return reader, key_pts
        step_s = step_s * 2 or 1
    video.rewind()
    reader = Reader(video)
    return reader, reader.advance_to(tick)


def _errors_logged() -> int:
    """How many errors libav has logged: some decoders (HEVC's, say) conceal damage and only log it."""
    count, _ = av.logging.get_last_error()
    return count


def _is_key(item: Item) -> bool:
    return item is not None and item.is_keyframe


def _earlier(old: int | None, new: int) -> int:
    return new if old is None else min(old, new)
