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

import heapq
import time
from collections import deque
from collections.abc import Generator, Iterator
from typing import Final

import av
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from framefleet.worker.slot_limits import check_memory
from framefleet.worker.video.decode_plan import Plan, Planner
from framefleet.worker.video.gop import Gop, Shown
from framefleet.worker.video.open_video import OpenVideo
from framefleet.worker.video.packets import REORDER_PACKETS, Item, Reader, is_key

# Between two looks at whether the unit is to go on: so many packets, or so many seconds where they take long.
STEP_PACKETS: Final = 32
STEP_S: Final = 0.25
NEAR_KEYFRAMES: Final = 4  # tried one by one before the steps backwards grow

# A seek costs some 20 us in an index, and then the reading of what lies around; to read on costs 3 us a
# packet, and the bytes. So a seek pays within a second or two, if the container can do it well.
SEEK_GAP_S: Final = 4.0

# They raise or flag what they conceal, and log errors that are none when they begin in an open GOP.
NOISY_DECODERS: Final = frozenset(["h264"])

# libav's messages go nowhere, but PyAV counts the errors among them
av.logging.set_level(av.logging.PANIC)


class Session:
    """Frames in presentation order from one keyframe on, or from the file's first packet.

    Without a planner it goes on to the end of the file, and gives every frame.

    Attributes:
        start_pts: the keyframe that it began with; None at the start of a file that begins without one.
        steps: it grows now and then, just before the frames that follow.
        gops: the latest GOPs, oldest first: all that frames may still come from.
        errors: places at which the demuxer or the decoder refused a packet.
        decoded: frames that came out of the decoder, those not given included.
        untimed: whether a packet without pts was seen.
        resume_at: it is over, and whoever wants more begins anew at the last keyframe up to this pts.
        disordered: a frame came out after one that is displayed later.
        thinned: some packets were left out of the decoding.
        lowest_pts: the lowest pts in the first GOP; None if packets there have none.
        end_pts: end of the frame that is displayed last, by the packets that were seen.
    """

    def __init__(
        self, video: OpenVideo, reader: Reader, *, floor: int | None, planner: Planner | None = None
    ) -> None:
        """Begin where ``reader`` stands, giving no frame before pts ``floor``."""
        self._codec = video.stream.codec_context
        self._floor = floor
        self._planner = planner
        self._frames = self._decode()
        self._first: Shown | None = None
        self._shown_pts: int | None = None
        self._to_count: list[int] = []
        self._idle = True
        self.reader = reader
        self.start_pts: int | None = floor
        self.steps = 0
        self._stepped_at = time.monotonic()
        self.gops: deque[Gop] = deque(maxlen=REORDER_PACKETS)
        self.errors: set[tuple[int | None, int]] = set()
        self.decoded = 0
        self.untimed = False
        self.resume_at: int | None = None
        self.disordered = False
        self.thinned = False
        self.lowest_pts: int | None = None
        self.end_pts: int | None = None

    def __iter__(self) -> Iterator[Shown]:
        if self._first is not None:
            first, self._first = self._first, None
            yield first
        yield from self._frames

    def begins_with(self, pts: int) -> bool:
        """Whether the first frame to come has this pts, or none is wanted."""
        self._first = next(self._frames, None)
        if self._first is None:
            return self._idle
        return self._first.frame is None or self._first.pts == pts

    def drain(self) -> None:
        """Decode to the end what was fed, for the damage that shows in it, and give no more frames."""
        self._frames.close()
        for _ in self._feed(None):
            pass

    def close(self) -> None:
        """Let go of what is under way; nothing more comes."""
        self._frames.close()

    def missing(self) -> set[int]:
        """pts of packets whose frames have not come; once the session is over they never will."""
        return {
            pts
            for gop in self.gops
            for pts in gop.places
            if not (gop.is_leading(pts) and gop.key_pts == self._floor)
        }

    def _decode(self) -> Generator[Shown]:
        while chunk := self.reader.next_chunk():
            if not self.gops:
                self.lowest_pts = _lowest_pts(chunk)
            if is_key(chunk[0]) or not self.gops:
                self._begin_gop(chunk)
            plan = self._plan(chunk)
            self.thinned |= bool(plan.shortened) or plan.feed < len(chunk)
            for place, item in enumerate(chunk[: plan.feed]):
                if place and (place % STEP_PACKETS == 0 or time.monotonic() - self._stepped_at > STEP_S):
                    self._step()
                if item is None:
                    self._note_demux_error()
                elif (needed_bytes := plan.shortened.get(place)) is None:
                    self._idle = False
                    yield from self._feed(item)
                elif needed_bytes == 0:
                    self.gops[-1].fed += 1
                else:
                    yield from self._feed(_shortened(item, needed_bytes), gives_frame=False)
            self._step()
            self._forget_passed()
            if plan.resume_at is not None:
                self.resume_at = plan.resume_at
                break
        if not self._idle:
            yield from self._feed(None)
        yield from self._count_to(None)

    def _step(self) -> None:
        self.steps += 1
        self._stepped_at = time.monotonic()

    def _plan(self, chunk: list[Item]) -> Plan:
        for item in chunk:
            if item is not None and item.pts is not None:
                end = item.pts + (item.duration or 0)
                self.end_pts = end if self.end_pts is None else max(self.end_pts, end)
        planner = self._planner
        if planner is None:
            return Plan(len(chunk), {}, None)
        ahead, ended = self.reader.peek()
        pending = self._to_count if planner.counts else self.missing()
        plan = planner.plan(chunk, ahead, ended=ended, pending=pending)
        if planner.counts:
            for item in chunk:
                if item is not None and item.pts is not None and not item.is_discard:
                    heapq.heappush(self._to_count, item.pts)
        return plan

    def _begin_gop(self, chunk: list[Item]) -> None:
        gop = Gop(chunk[0].pts if is_key(chunk[0]) and chunk[0] is not None else None)
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

    def _feed(self, packet: Packet[VideoStream] | None, *, gives_frame: bool = True) -> Iterator[Shown]:
        if not self.gops:
            return  # not one packet was there
        gop = self.gops[-1]
        place = gop.fed
        if packet is not None:
            gop.fed += 1
            if packet.pts is None:
                self.untimed = True
            elif gives_frame and not packet.is_discard:
                gop.places[packet.pts] = place
        logged = errors_logged()
        try:
            frames = self._codec.decode(packet)
        except av.FFmpegError as error:
            check_memory(error)
            if packet is not None:  # else: flushed before, by an empty packet
                self._note_refusal(gop, place, packet.pts)
            return
        if self._codec.name not in NOISY_DECODERS and errors_logged() != logged:
            self._note_damage(gop, place, packet.pts if packet is not None else None)
        self.decoded += len(frames)
        came: list[Shown] = []
        for frame in frames:
            assert isinstance(frame, VideoFrame)
            if frame.pts is None:
                self._note_refusal(gop, place, None)
                continue
            shown = self._attribute(frame, frame.pts)
            if frame.is_corrupt:
                self._note_damage(shown.gop, shown.place, frame.pts)
            if self._floor is None or frame.pts >= self._floor:
                self.disordered |= self._shown_pts is not None and frame.pts <= self._shown_pts
                self._shown_pts = frame.pts
                came.append(shown)
        for shown in came:
            yield from self._count_to(shown.pts)
            yield shown

    def _count_to(self, pts: int | None) -> Iterator[Shown]:
        """The frames displayed before ``pts`` that were passed over, if they are to be counted."""
        while self._to_count and (pts is None or self._to_count[0] <= pts):
            passed = heapq.heappop(self._to_count)
            if passed != pts:
                yield Shown(None, passed, self.gops[-1], 0)

    def _attribute(self, frame: VideoFrame, pts: int) -> Shown:
        for gop in reversed(self.gops):
            place = gop.places.pop(pts, None)
            if place is not None:
                return Shown(frame, pts, gop, place)
        gop = self.gops[-1]
        return Shown(frame, pts, gop, max(0, gop.fed - 1))

    def _forget_passed(self) -> None:
        gop = self.gops[-1]
        if self._shown_pts is not None and self._planner is None and len(gop.places) > STEP_PACKETS:
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


def continue_session(video: OpenVideo, session: Session, planner: Planner) -> Session | None:
    """The session behind one that is over (``resume_at``), on the same decoder; None: it cannot be had
    by reading on."""
    tick = session.resume_at
    assert tick is not None
    reader = session.reader
    next_pts = reader.next_pts
    far = next_pts is None or (tick - next_pts) * video.time_base > SEEK_GAP_S
    if far and video.can_seek and not planner.counts:
        return None
    key_pts = reader.advance_to(tick)
    if key_pts is None:
        return None
    video.stream.codec_context.flush_buffers()
    following = Session(video, reader, floor=key_pts, planner=planner)
    if following.begins_with(key_pts):
        return following
    following.close()
    return None


def open_session(
    video: OpenVideo, tick: int | None, *, planner: Planner | None = None, fresh: bool = False
) -> Session:
    """A session whose frames from pts ``tick`` on are exact; it may begin long before it.

    ``tick`` None means from the file's first packet. ``fresh``: with a new decoder, not a flushed one.

    Raises:
        MediaError: the video cannot be opened anew.
    """
    tries = 0
    while tick is not None and video.can_seek:
        if fresh:
            video.rewind()
        reader, key_pts = read_from(video, tick)
        if key_pts is None:
            break
        session = Session(video, reader, floor=key_pts, planner=planner)
        if session.begins_with(key_pts):
            return session
        session.close()
        if planner is not None:
            video.has_false_keys = True
            planner.whole_to = key_pts if planner.whole_to is None else max(planner.whole_to, key_pts)
        tries += 1
        step_s = 0 if tries < NEAR_KEYFRAMES else 2 ** (tries - NEAR_KEYFRAMES)
        tick = key_pts - 1 - int(step_s / video.time_base)
    video.rewind()
    return Session(video, Reader(video), floor=None, planner=planner)


def read_from(video: OpenVideo, tick: int) -> tuple[Reader, int | None]:
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


def _shortened(packet: Packet[VideoStream], size_bytes: int) -> Packet[VideoStream]:
    """The first bytes of a packet."""
    short: Packet[VideoStream] = Packet(bytes(memoryview(packet)[:size_bytes]))  # type: ignore[assignment]
    short.pts, short.dts, short.time_base = packet.pts, packet.dts, packet.time_base
    return short


def _lowest_pts(chunk: list[Item]) -> int | None:
    pts = [item.pts for item in chunk if item is not None and not item.is_discard]
    return None if None in pts else min((each for each in pts if each is not None), default=None)


def errors_logged() -> int:
    """How many errors libav has logged: some decoders (HEVC's, say) conceal damage and only log it."""
    count, _ = av.logging.get_last_error()
    return count


def _earlier(old: int | None, new: int) -> int:
    return new if old is None else min(old, new)
