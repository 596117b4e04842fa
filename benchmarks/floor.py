"""The floor: what decoding the needed frames, and converting and encoding the wanted ones, cost alone.

The packets of wanted frames and of reference frames before them are found beforehand and fed from memory.
What is measured is the time within the decoder, and within the conversion and the encoder with our own
settings; demuxing, planning, checking, hashing and writing are not in it.
"""

from __future__ import annotations

import json
import sys
from bisect import bisect_right
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from time import process_time_ns
from typing import TypeAlias, cast

import av
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from benchmarks.ours import image_of
from benchmarks.task import Task, from_json
from framefleet.worker.bitstream.droppable import classifier_for
from framefleet.worker.picture import render
from framefleet.worker.video.open_video import OpenVideo

Coded: TypeAlias = "Packet[VideoStream]"


@dataclass(frozen=True)
class Costs:
    """CPU seconds. ``write_s`` (hashing too) and ``demux_s`` (the whole file) are no part of the floor."""

    decode_s: float
    convert_s: float
    encode_s: float
    write_s: float
    demux_s: float
    decoded: int
    written: int

    @property
    def floor_s(self) -> float:
        return self.decode_s + self.convert_s + self.encode_s


def wanted_pts(packets: Sequence[Coded], time_base: Fraction, task: Task) -> set[int]:
    """The pts of the frames that the task wants of all the packets of a video, by the definition."""
    if task.fps is None:
        return {_pts(packet) for packet in packets if packet.is_keyframe}
    pts = sorted(_pts(packet) for packet in packets)
    end_pts = max(_pts(packet) + (packet.duration or 1) for packet in packets)
    wanted = set()
    number = 0
    while number / task.fps < (end_pts - pts[0]) * time_base:
        last_tick = pts[0] + number / task.fps / time_base + Fraction(1, 2)
        wanted.add(pts[bisect_right(pts, last_tick) - 1])
        number += 1
    return wanted


def needed(packets: Sequence[Coded], spare: Mapping[int, int], wanted: Set[int]) -> list[list[Coded]]:
    """Runs of packets, each for a decoder that knows nothing: all that the wanted frames need.

    ``spare``: the bytes to decode of packets, by pts, that are not needed whole unless they are wanted.
    """
    gops: list[list[Coded]] = []
    for packet in packets:
        if packet.is_keyframe or not gops:
            gops.append([])
        gops[-1].append(packet)
    runs: list[list[Coded]] = []
    joined = False  # whether the GOP before was decoded to its end
    for gop, following in zip(gops, [*gops[1:], []], strict=True):
        # leading pictures of the GOP behind need this one too
        leading = [packet for packet in following[1:] if _pts(packet) < _pts(following[0])]
        whole = any(packet.pts in wanted for packet in leading)
        places = [place for place, packet in enumerate(gop) if packet.pts in wanted]
        if not places and not whole:
            joined = False
            continue
        last = len(gop) - 1 if whole else places[-1]
        run = [
            packet if packet.pts in wanted else _cut(packet, spare.get(_pts(packet), packet.size))
            for packet in gop[: last + 1]
        ]
        if not joined:
            runs.append([])
        runs[-1] += [packet for packet in run if packet is not None]
        joined = last == len(gop) - 1
    return runs


def spare_bytes(video: OpenVideo, packets: Sequence[Coded]) -> dict[int, int]:
    """The argument ``spare`` of ``needed``."""
    codec = video.stream.codec_context
    classifier = classifier_for(codec.name, codec.extradata)
    if classifier is None:
        return {}
    return {
        _pts(packet): classifier.needed_bytes(memoryview(packet), packet.is_keyframe) for packet in packets
    }


def _cut(packet: Coded, size: int) -> Coded | None:
    """The first ``size`` bytes of a packet; None if that is nothing."""
    if size == packet.size:
        return packet
    if size == 0:
        return None
    short = Packet(bytes(memoryview(packet)[:size]))
    short.pts, short.dts = packet.pts, packet.dts
    return cast(Coded, short)


def _pts(packet: Coded) -> int:
    assert packet.pts is not None  # the clips have no others
    return packet.pts


def measure(task: Task) -> Costs:
    """Do the task with everything prepared; the images are written too, so that they can be compared."""
    options = image_of(task)
    with OpenVideo(task.video) as video:
        begun = process_time_ns()
        packets = [packet for packet in video.container.demux(video.stream) if packet.size]
        demux_ns = process_time_ns() - begun
        wanted = wanted_pts(packets, video.time_base, task)
        only_keys = task.fps is None
        spare = {_pts(packet): 0 for packet in packets} if only_keys else spare_bytes(video, packets)
        runs = needed(packets, spare, wanted)
        codec = video.stream.codec_context
        decode_ns = convert_ns = encode_ns = write_ns = decoded = written = 0
        for run in runs:
            for packet in [*run, None]:
                begun = process_time_ns()
                frames = codec.decode(packet)
                decode_ns += process_time_ns() - begun
                decoded += len(frames)
                for frame in frames:
                    assert isinstance(frame, VideoFrame)
                    if frame.pts not in wanted:
                        continue
                    begun = process_time_ns()
                    picture, _ = render.render(frame, options)
                    converted = process_time_ns()
                    data = render.encode(picture, options)
                    encoded = process_time_ns()
                    render.write(Path(task.image(written)), data)
                    write_ns += process_time_ns() - encoded
                    encode_ns += encoded - converted
                    convert_ns += converted - begun
                    written += 1
            begun = process_time_ns()
            codec.flush_buffers()
            decode_ns += process_time_ns() - begun
        if written != len(wanted):
            raise RuntimeError(f"{task.video}: {written} frames came out of {len(wanted)} that were wanted")
    return Costs(
        decode_s=decode_ns / 1e9,
        convert_s=convert_ns / 1e9,
        encode_s=encode_ns / 1e9,
        write_s=write_ns / 1e9,
        demux_s=demux_ns / 1e9,
        decoded=decoded,
        written=written,
    )


if __name__ == "__main__":
    av.logging.set_level(av.logging.PANIC)
    costs = measure(from_json(sys.argv[2]))
    print(json.dumps({"taken_s": [], "costs": {**vars(costs), "floor_s": costs.floor_s}}))
