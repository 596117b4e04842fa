"""Keyframes alone: no other packet is decoded, nor read where the demuxer can leave it out.

Each is decoded by itself, by a decoder that was flushed, and counts if it comes out: a keyframe in name
only, which needs what is before it, does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import av
from av.stream import Discard
from av.video.frame import VideoFrame

from worker.decode import NOISY_DECODERS, errors_logged, read_from
from worker.media import OpenVideo
from worker.packets import Item, Reader, is_key


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
    discard = video.stream.discard
    try:
        if begin_pts is not None and video.can_seek:
            reader, _ = read_from(video, begin_pts)
        else:
            video.rewind()
            reader = Reader(video)
        video.stream.discard = Discard.nonkey
        for item in reader.items():
            if is_key(item):
                yield from _decoded(video, item)
    finally:
        video.stream.discard = discard


def _decoded(video: OpenVideo, packet: Item) -> Iterator[Keyframe]:
    assert packet is not None
    if packet.pts is None or packet.is_discard:
        return
    codec = video.stream.codec_context
    logged = errors_logged()
    frames: list[VideoFrame] = []
    refused = False
    for item in (packet, None):
        try:
            frames += [frame for frame in codec.decode(item) if isinstance(frame, VideoFrame)]
        except av.FFmpegError:
            refused |= item is not None
    codec.flush_buffers()
    frame = next((frame for frame in frames if frame.pts == packet.pts), None)
    logs_errors = codec.name not in NOISY_DECODERS and errors_logged() != logged
    yield Keyframe(packet.pts, frame, refused, frame is not None and (frame.is_corrupt or logs_errors))
