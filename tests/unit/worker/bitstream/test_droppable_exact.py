"""Decoding with and without droppable packets: all other frames are the same, bit for bit."""

from __future__ import annotations

import random
from fractions import Fraction
from pathlib import Path

import av
import pytest
from av.video.stream import VideoStream

from framefleet.worker.bitstream.droppable import classifier_for
from tests.helpers import clips as small
from tests.helpers.droppable_packets import Decoding, decode

FRAMES = 48
X264 = "keyint=24:min-keyint=24:scenecut=0:b-adapt=0:bframes=3:rc-lookahead=0:mbtree=0:"
X265 = "keyint=24:min-keyint=24:scenecut=0:b-adapt=0:bframes=3:pools=none:frame-threads=1:log-level=none:"


def x264(parameters: str) -> dict[str, str]:
    return {"preset": "veryfast", "x264-params": X264 + parameters}


def x265(parameters: str) -> dict[str, str]:
    return {"preset": "ultrafast", "x265-params": X265 + parameters}


MPEG = {"g": "12", "bf": "2", "b": "1500k"}
AV1 = {"preset": "11", "g": "40"}
# name: file, encoder, options, pixel format, and how many packets of the 48 are droppable at the least
MADE: dict[str, tuple[str, str, dict[str, str], str, int]] = {
    "pyramid": ("a.mp4", "libx264", x264("b-pyramid=normal"), "yuv420p", 18),
    "deep": ("a.mp4", "libx264", x264("bframes=7:b-pyramid=strict:ref=4"), "yuv420p", 24),
    "flat": ("a.mkv", "libx264", x264("b-pyramid=none:open-gop=1"), "yuv420p", 30),
    "no-b": ("a.mp4", "libx264", x264("bframes=0"), "yuv420p", 0),
    "slices": ("a.ts", "libx264", x264("slices=4:aud=1"), "yuv420p", 18),
    "interlaced": ("a.mp4", "libx264", x264("tff=1"), "yuv420p", 18),
    "interlaced-ts": ("a.ts", "libx264", x264("bff=1:slices=2:open-gop=1"), "yuv422p10le", 18),
    "pulldown": ("a.mp4", "libx264", x264("fake-interlaced=1:pic-struct=1"), "yuv420p", 18),
    "refresh": ("a.mp4", "libx264", x264("intra-refresh=1"), "yuv420p", 18),
    "hevc": ("a.mp4", "libx265", x265("b-pyramid=1"), "yuv420p", 18),
    "hevc-ts": ("a.ts", "libx265", x265("open-gop=1:aud=1:repeat-headers=1"), "yuv420p10le", 18),
    "hevc-layers-2": ("a.ts", "libx265", x265("temporal-layers=2:repeat-headers=1"), "yuv420p", 18),
    "hevc-layers-3": ("a.mkv", "libx265", x265("temporal-layers=3:open-gop=1"), "yuv420p10le", 18),
    "hevc-no-b": ("a.mp4", "libx265", x265("bframes=0"), "yuv420p", 0),
    "mpeg2": ("a.mp4", "mpeg2video", MPEG, "yuv420p", 30),
    "mpeg2-interlaced": ("a.mpg", "mpeg2video", MPEG | {"flags": "+ilme+ildct"}, "yuv420p", 30),
    "mpeg1": ("a.mpg", "mpeg1video", MPEG, "yuv420p", 30),
    "av1": ("a.mp4", "libsvtav1", AV1 | {"svtav1-params": "lp=1"}, "yuv420p", 18),
    "av1-grain": ("a.mkv", "libsvtav1", AV1 | {"svtav1-params": "lp=1:film-grain=25"}, "yuv420p10le", 18),
    "av1-low-delay": ("a.ivf", "libsvtav1", AV1 | {"svtav1-params": "lp=1:pred-struct=1"}, "yuv420p", 18),
}


def encode(path: Path, codec: str, options: dict[str, str], pix_fmt: str) -> Path:
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no {codec}")
    with (
        small.ordinary_priority(),
        av.open(str(path), "w", options={"fflags": "+bitexact"}) as container,
    ):
        stream = container.add_stream(codec, rate=small.FPS)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = small.SIZE
        stream.pix_fmt = pix_fmt
        stream.codec_context.thread_count = 1
        stream.options = {**options}
        for number in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(small.picture(number), format="rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = number, Fraction(1, small.FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def assert_exact(path: Path) -> Decoding:
    """Nothing else changes without all droppable packets, or random ones. Gives the whole decoding."""
    generator = random.Random(path.name)
    whole = decode(path)
    assert whole.refused == 0
    assert whole.is_one_to_one
    choices = [(share, omit) for share in (1.0, 0.5, 0.1, 0.8) for omit in (True, False)]
    for share, omit in choices if whole.droppable else ():
        chosen = {number for number in whole.droppable if generator.random() < share}
        sparse = decode(path, chosen, omit=omit)
        assert sparse.left_out == chosen
        assert sparse.frames == whole.without(chosen)
        assert sparse.refused == 0
    return whole


@pytest.mark.parametrize("name", MADE)
def test_what_is_droppable_changes_nothing_else(name: str, tmp_path: Path) -> None:
    file, codec, options, pix_fmt, at_least = MADE[name]
    whole = assert_exact(encode(tmp_path / file, codec, options, pix_fmt))
    assert len(whole.frames) == whole.packets == FRAMES
    assert at_least <= len(whole.droppable) <= (FRAMES if at_least else 0)


@pytest.mark.parametrize("name", small.CLIPS)
def test_the_same_over_the_clips_of_all_tests(name: str, clips: Path) -> None:
    whole = assert_exact(clips / f"{name}{small.CLIPS[name][0]}")
    has_some = classifier_for(whole.codec, None) is not None and name != "h264-no-b"
    assert bool(whole.droppable) == has_some


def test_the_comparison_notices_a_missing_reference(clips: Path) -> None:
    path = clips / "av1.mp4"
    if not path.exists():
        pytest.skip("this PyAV has no AV1 encoder")
    whole = decode(path)
    references = [number for number in range(1, small.GOP) if number not in whole.droppable]
    assert any(decode(path, {number}).frames != whole.without({number}) for number in references)
