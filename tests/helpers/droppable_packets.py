"""Decoding with and without the droppable packets, and the comparison of what comes out."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame

from framefleet.worker.bitstream.droppable import classifier_for
from framefleet.worker.video.open_video import OpenVideo

WITH_NONREF = ("h264", "hevc", "mpeg1video", "mpeg2video")


@dataclass
class Decoding:
    """What came out of a file, and what went in.

    Attributes:
        codec: the decoder's name in libavcodec.
        packets: packets read.
        droppable: numbers of those that the classifier calls droppable.
        left_out: numbers of those that were left out.
        refused: packets that the decoder raised an error for.
        frames: for each frame, in the order in which they came: its packet's number, pts, whether it is
            flagged as interlaced, and a digest of its pixels.
    """

    codec: str
    packets: int = 0
    droppable: set[int] = field(default_factory=set)
    left_out: set[int] = field(default_factory=set)
    refused: int = 0
    frames: list[tuple[int, int | None, bool, bytes]] = field(default_factory=list)

    @property
    def is_one_to_one(self) -> bool:
        """Whether no packet gave two frames."""
        return len({number for number, *_ in self.frames}) == len(self.frames)

    def without(self, left_out: set[int]) -> list[tuple[int, int | None, bool, bytes]]:
        """The frames of the other packets."""
        return [frame for frame in self.frames if frame[0] not in left_out]


def pixels(frame: VideoFrame) -> bytes:
    """A digest of a frame's format and pixels, without what pads its lines."""
    digest = hashlib.blake2b(f"{frame.format.name} {frame.width}x{frame.height}".encode(), digest_size=16)
    sample_bytes = (frame.format.components[0].bits + 7) // 8
    for plane in frame.planes:
        lines = np.frombuffer(memoryview(plane), np.uint8)[: plane.height * plane.line_size]
        lines = lines.reshape(plane.height, plane.line_size)[:, : plane.width * sample_bytes]
        digest.update(np.ascontiguousarray(lines).data)
    return digest.digest()


def decode(path: Path, leave_out: Collection[int] = (), limit: int = 2**31, *, omit: bool = True) -> Decoding:
    """Decode the first ``limit`` packets of a file, but those of the numbers ``leave_out``.

    The decoder is not given these, or, unless ``omit``, it is told to leave them out where it can.
    """
    with OpenVideo(path) as video:
        codec = video.stream.codec_context
        codec.copy_opaque = True
        classifier = classifier_for(codec.name, codec.extradata)
        found = Decoding(codec.name)

        def feed(packet: object) -> None:
            try:
                for frame in codec.decode(packet):  # type: ignore[arg-type]
                    assert isinstance(frame.opaque, int)
                    found.frames.append((frame.opaque, frame.pts, frame.interlaced_frame, pixels(frame)))
            except av.FFmpegError:
                found.refused += 1

        for packet in video.container.demux(video.stream):
            if packet.size == 0 or found.packets == limit:
                break
            number = packet.opaque = found.packets
            found.packets += 1
            needed = packet.size
            if classifier is not None:
                needed = classifier.needed_bytes(memoryview(packet), packet.is_keyframe)
            if needed < packet.size:
                found.droppable.add(number)
            codec.skip_frame = "DEFAULT"
            if number in leave_out:
                found.left_out.add(number)
                if not omit and codec.name in WITH_NONREF:
                    codec.skip_frame = "NONREF"
                elif 0 < needed < packet.size:
                    feed(Packet(bytes(packet)[:needed]))
                    continue
                else:
                    continue
            feed(packet)
        codec.skip_frame = "DEFAULT"
        feed(None)
        return found
