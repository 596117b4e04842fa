"""The test clips are what their names say, as seen by the demuxers and decoders."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import pytest
from av.sidedata.sidedata import SideData
from av.sidedata.sidedata import Type as SideDataType

from tests.helpers.clips import CLIPS, FPS, FRAMES, GOP, ODD_SIZE, SIZE, START_S, VFR_TIMES_MS, number_of

HEVC_RASL, HEVC_CRA = {8, 9}, 21
MATROSKA_CUES = b"\x1c\x53\xbb\x6b"
TURN = 1 << 16  # 1.0 in a display matrix

# Clips that are shown otherwise than in even steps of 1/FPS from zero.
FIRST_PTS_S = {
    "h264-late-start-mp4": Fraction(START_S),
    "h264-late-start-mkv": Fraction(START_S),
    "h264-fragmented": Fraction(2, FPS),  # no edit list takes the reordering delay back
    "mpeg2-ts": Fraction(1, FPS),
}
SIZES = {"h264-odd": ODD_SIZE, "vp9-odd": ODD_SIZE}
OPEN_GOPS = {"h264-open-mkv", "h264-open-mp4", "hevc-open-mkv", "hevc-open-mp4", "mpeg2-ts"}
NO_B_FRAMES = {"h264-no-b", "vp9", "vp9-odd", "av1", "mpeg4-avi"}
FEW_OR_MANY_GOPS = {"h264-one-gop": 1, "mpeg2-ts": 6}  # MPEG-2 shortens the first GOP by its leading pictures


@dataclass(frozen=True)
class Packet:
    pts: int
    keyframe: bool
    data: bytes


@dataclass(frozen=True)
class Clip:
    """A clip as read back: its packets in file order and its frames in decoder order."""

    path: Path
    codec: str
    time_base: Fraction
    duration_us: int | None
    stream_types: Sequence[str]
    packets: list[Packet]
    frames: list[av.VideoFrame]

    @property
    def leading(self) -> int:
        """Packets that follow a keyframe and are shown before it."""
        count, keyframe_pts = 0, self.packets[0].pts
        for packet in self.packets:
            keyframe_pts = packet.pts if packet.keyframe else keyframe_pts
            count += packet.pts < keyframe_pts
        return count

    @property
    def times_s(self) -> list[Fraction]:
        return [frame.pts * self.time_base for frame in self.frames if frame.pts is not None]


def read(path: Path) -> Clip:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.time_base is not None
        packets = [
            Packet(packet.pts, packet.is_keyframe, bytes(packet))
            for packet in container.demux(stream)
            if packet.pts is not None
        ]
        codec, time_base = stream.codec_context.codec.canonical_name, stream.time_base
        duration_us, types = container.duration, [stream.type for stream in container.streams]
    with av.open(str(path)) as container:
        frames = list(container.decode(container.streams.video[0]))
    return Clip(path, codec, time_base, duration_us, types, packets, frames)


@pytest.fixture(scope="module")
def made(clips: Path) -> dict[str, Clip]:
    return {name: read(clips / f"{name}{suffix}") for name, (suffix, _) in CLIPS.items()}


each_clip = pytest.mark.parametrize("name", CLIPS)


@each_clip
def test_every_picture_is_there_in_order_and_recognised(made: dict[str, Clip], name: str) -> None:
    frames = made[name].frames
    assert [number_of(frame) for frame in frames] == list(range(FRAMES))
    assert {(frame.width, frame.height) for frame in frames} == {SIZES.get(name, SIZE)}


@each_clip
def test_frames_lie_where_they_were_put(made: dict[str, Clip], name: str) -> None:
    clip = made[name]
    if name in ("h264-vfr-mp4", "h264-vfr-mkv"):
        expected = [Fraction(time_ms, 1000) for time_ms in VFR_TIMES_MS]
    else:
        start_s = FIRST_PTS_S.get(name, Fraction(0))
        expected = [start_s + Fraction(number, FPS) for number in range(FRAMES)]
    assert clip.times_s == expected


@each_clip
def test_gops_are_open_or_closed_and_as_many_as_the_name_says(made: dict[str, Clip], name: str) -> None:
    clip = made[name]
    keyframes = sum(packet.keyframe for packet in clip.packets)
    assert keyframes == FEW_OR_MANY_GOPS.get(name, FRAMES // GOP)
    assert (clip.leading > 0) == (name in OPEN_GOPS)


@each_clip
def test_b_frames_are_reordered_where_there_are_any(made: dict[str, Clip], name: str) -> None:
    order = [packet.pts for packet in made[name].packets]
    assert (order != sorted(order)) == (name not in NO_B_FRAMES)


@each_clip
def test_codec_and_depth(made: dict[str, Clip], name: str) -> None:
    clip = made[name]
    prefix = name.partition("-")[0]
    codecs = {"rotated": "h264", "mirrored": "h264", "mpeg2": "mpeg2video"}
    assert clip.codec == codecs.get(prefix, prefix)
    layout = "yuv444p" if name == "h264-odd" else "yuv420p10le" if name.endswith("10bit") else "yuv420p"
    assert {frame.format.name for frame in clip.frames} == {layout}


@pytest.mark.parametrize(
    ("name", "matrix"),
    [
        ("rotated-90", (0, -TURN, TURN, 0)),
        ("rotated-180", (-TURN, 0, 0, -TURN)),
        ("rotated-270", (0, TURN, -TURN, 0)),
        ("mirrored", (-TURN, 0, 0, TURN)),
        ("h264-closed", None),
    ],
)
def test_display_matrix(made: dict[str, Clip], name: str, matrix: tuple[int, ...] | None) -> None:
    # PyAV's stubs call the container of all side data by the type of one piece
    pieces = cast("Mapping[SideDataType, SideData]", made[name].frames[0].side_data)
    found = pieces.get(SideDataType.DISPLAYMATRIX)
    if matrix is None:
        assert found is None
    else:
        assert found is not None
        a, b, _, c, d, *_ = struct.unpack("<9i", bytes(found))
        assert (a, b, c, d) == matrix


@pytest.mark.parametrize("name", ["hevc-open-mp4", "hevc-open-mkv", "hevc-closed"])
def test_hevc_open_gops_have_cra_and_rasl_pictures(made: dict[str, Clip], name: str) -> None:
    kinds: set[int] = set()
    for packet in made[name].packets:
        at = 0
        while at < len(packet.data):
            kinds.add(packet.data[at + 4] >> 1 & 0x3F)
            at += 4 + int.from_bytes(packet.data[at : at + 4], "big")
    assert (HEVC_CRA in kinds, kinds >= HEVC_RASL) == ((True, True) if "open" in name else (False, False))


def test_vp9_has_hidden_frames(made: dict[str, Clip]) -> None:
    superframes = [packet for packet in made["vp9"].packets if _is_superframe(packet.data)]
    assert superframes


def _is_superframe(data: bytes) -> bool:
    """Whether a VP9 packet ends with an index of several frames (VP9 bitstream, annex B)."""
    marker = data[-1]
    size = 2 + ((marker >> 3 & 3) + 1) * ((marker & 7) + 1)
    return marker & 0xE0 == 0xC0 and len(data) > size and data[-size] == marker


def test_containers_without_an_index(made: dict[str, Clip]) -> None:
    assert MATROSKA_CUES in made["h264-open-mkv"].path.read_bytes()
    no_cues = made["h264-no-cues"]
    assert MATROSKA_CUES not in no_cues.path.read_bytes()
    assert no_cues.duration_us is None
    assert made["h264-fragmented"].path.read_bytes().count(b"moof") == FRAMES // GOP
    assert b"moof" not in made["h264-closed"].path.read_bytes()


def test_audio_comes_first(made: dict[str, Clip]) -> None:
    assert made["h264-with-audio"].stream_types == ["audio", "video"]


@pytest.mark.parametrize("name", ["h264-open-mkv", "hevc-open-mp4", "vp9", "mpeg2-ts"])
def test_the_same_clip_is_made_again(made: dict[str, Clip], name: str, tmp_path: Path) -> None:
    suffix, function = CLIPS[name]
    assert function(tmp_path / f"again{suffix}").read_bytes() == made[name].path.read_bytes()


def test_encoders_leave_the_scheduling_as_it_was(clips: Path) -> None:
    """SVT-AV1 makes the process of a privileged user a real-time one, and all that it starts."""
    if not hasattr(os, "sched_getscheduler"):
        pytest.skip("no scheduling policies here")
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
