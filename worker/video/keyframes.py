"""Keyframes alone: no other packet is decoded, nor read where the demuxer can leave it out.

Each is decoded by itself, by a decoder that was flushed, and counts if it comes out: a keyframe in name
only, which needs what is before it, does not.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Final, TypeAlias

import av
from av.packet import Packet
from av.stream import Discard
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from framefleet.worker.slot_limits import check_memory
from framefleet.worker.video.decode_session import NOISY_DECODERS, errors_logged, read_from
from framefleet.worker.video.open_video import OpenVideo
from framefleet.worker.video.packets import Reader

KeyPacket: TypeAlias = "Packet[VideoStream]"

SEEK_PACKETS: Final = 8  # a seek costs what reading as many packets does


@dataclass(frozen=True, slots=True)
class Keyframe:
    """A packet that the container marks as a keyframe, and what the decoder made of it.

    Attributes:
        frame: None if it gave none by itself.
        refused: the decoder raised an error.
        damaged: the decoder gave a frame, but flagged it or logged an error.
    """

    pts: int
    frame: VideoFrame | None
    refused: bool
    damaged: bool


def keyframes(video: OpenVideo, begin_pts: int | None) -> Iterator[Keyframe]:
    """Keyframes in the file's order, from the last one up to ``begin_pts`` on; None: from the first on."""
    if begin_pts is not None and video.can_seek:
        reader, _ = read_from(video, begin_pts)
    else:
        video.rewind()
        reader = Reader(video)
    for packet in _by_index(video, reader) if video.is_mov else _by_demuxer(video, reader):
        yield from _decoded(video, packet)


def _by_demuxer(video: OpenVideo, reader: Reader) -> Iterator[KeyPacket]:
    """The demuxer leaves the other packets out, if it knows how."""
    stream = video.stream
    discard = stream.discard
    try:
        stream.discard = Discard.nonkey
        for item in reader.items():
            if item is not None and item.is_keyframe:
                yield item
    finally:
        stream.discard = discard


def _by_index(video: OpenVideo, reader: Reader) -> Iterator[KeyPacket]:
    """From keyframe to keyframe by the file's index, where that has one.

    Libavformat's own way to leave packets out gives those behind wrong pts in MP4 files with B-frames:
    it loses count of the composition offsets.
    """
    entries = [(entry.timestamp, entry.is_keyframe) for entry in video.stream.index_entries]
    keys = [(timestamp, place) for place, (timestamp, is_keyframe) in enumerate(entries) if is_keyframe]
    packets = reader.items()
    while True:
        packet = next((item for item in packets if item is not None and item.is_keyframe), None)
        if packet is None:
            return
        yield packet
        here = bisect_left(keys, (packet.dts, -1)) if packet.dts is not None else len(keys)
        if here + 1 >= len(keys) or keys[here][0] != packet.dts:
            continue
        (_, place), (following, following_place) = keys[here : here + 2]
        if following_place - place < SEEK_PACKETS:
            continue
        try:
            video.seek(following)
        except av.FFmpegError:
            continue
        ahead = Reader(video).items()
        first = next(ahead, None)
        if first is None or not first.is_keyframe or first.dts != following:
            video.seek(packet.dts or 0)  # the index lies: read on from here
            ahead = Reader(video).items()
            while (item := next(ahead, None)) is not None and item.dts != packet.dts:
                pass
            packets, keys = ahead, []
            continue
        packets = chain([first], ahead)


def _decoded(video: OpenVideo, packet: KeyPacket) -> Iterator[Keyframe]:
    if packet.is_discard:
        return
    codec = video.stream.codec_context
    logged = errors_logged()
    frames: list[VideoFrame] = []
    refused = False
    for item in (packet, None):
        try:
            frames += [frame for frame in codec.decode(item) if isinstance(frame, VideoFrame)]
        except av.FFmpegError as error:
            check_memory(error)
            refused |= item is not None
    codec.flush_buffers()
    # AVI has no presentation times: the decoder derives them
    frame = next((frame for frame in frames if packet.pts in (None, frame.pts)), None)
    pts = frame.pts if frame is not None else packet.pts
    if pts is None:
        return
    logs_errors = codec.name not in NOISY_DECODERS and errors_logged() != logged
    yield Keyframe(pts, frame, refused, frame is not None and (frame.is_corrupt or logs_errors))
