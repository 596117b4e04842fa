"""Small videos for the tests, made with PyAV's own encoders: one function per property that matters.

Every clip shows the same ``FRAMES`` pictures: picture i carries the number i as a row of black and white
blocks (``number_of`` reads it back from a decoded frame) over a texture that moves, so that predicted
frames cannot be mistaken for one another. Encoders run with one thread and fixed settings, so that the
same library makes the same bytes.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

FRAMES = 60
FPS = 25
GOP = 12  # so five GOPs, the last one as long as the others
SIZE = (160, 120)
ODD_SIZE = (161, 121)
START_S = 5
VFR_GAPS_MS = (17, 40, 3, 90, 33, 250, 1, 41)  # repeated; none is a multiple of another's grid
VFR_TIMES_MS = tuple(sum((VFR_GAPS_MS * FRAMES)[:index]) for index in range(FRAMES))

_BITS = 8
_BLOCK = 16  # pixels; large enough to survive any quantiser
_SAMPLE_RATE = 48_000
_AV1 = "libsvtav1"

os.environ.setdefault("SVT_LOG", "1")  # errors only: it writes to standard error whatever PyAV is told

_VP9 = {
    "g": str(GOP),
    "keyint_min": str(GOP),
    "deadline": "realtime",
    "cpu-used": "8",
    "lag-in-frames": "8",
    "auto-alt-ref": "1",
    "b": "500k",
    "row-mt": "0",
}


def picture(number: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """Picture ``number`` as RGB, uint8 [height, width, 3]."""
    width, height = size
    y, x = np.mgrid[0:height, 0:width]
    moving = np.stack(
        [(x * 2 + number * 5) % 256, (y * 2 + number * 3) % 256, ((x ^ y) + number * 7) % 256], axis=-1
    )
    image: NDArray[np.uint8] = (64 + moving // 2).astype(np.uint8)
    for bit in range(_BITS):
        image[:_BLOCK, bit * _BLOCK : (bit + 1) * _BLOCK] = 255 if number >> bit & 1 else 0
    return image


def number_of(frame: av.VideoFrame) -> int:
    """The number of the picture that a decoded frame shows, as coded (before any rotation)."""
    gray = frame.to_ndarray(format="gray")
    centres = [gray[_BLOCK // 2, bit * _BLOCK + _BLOCK // 2] for bit in range(_BITS)]
    return sum(1 << bit for bit, level in enumerate(centres) if level > 127)


@contextlib.contextmanager
def ordinary_priority() -> Iterator[None]:
    """Keep the scheduling of this thread: SVT-AV1, if it may, makes who calls it a real-time process.

    All that a test starts would inherit that, and what waits by turning starves the machine.
    """
    if not hasattr(os, "sched_setscheduler"):
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)


def _encode(
    path: Path,
    codec: str,
    *,
    options: dict[str, str],
    pix_fmt: str = "yuv420p",
    size: tuple[int, int] = SIZE,
    ticks: Sequence[int] = range(FRAMES),
    time_base: Fraction = Fraction(1, FPS),
    muxer: dict[str, str] | None = None,
    prepare: Callable[[VideoStream], None] = lambda stream: None,
) -> Path:
    """Write the pictures at ``ticks`` of ``time_base``; ``prepare`` may set up the stream further."""
    options_of_file = {"fflags": "+bitexact"} | (muxer or {})
    with ordinary_priority(), av.open(str(path), "w", options=options_of_file) as container:
        stream = container.add_stream(codec, rate=FPS)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = time_base
        stream.codec_context.thread_count = 1
        stream.options = {**options}
        prepare(stream)
        for number, tick in enumerate(ticks):
            frame = av.VideoFrame.from_ndarray(picture(number, size), format="rgb24")
            frame = frame.reformat(format=pix_fmt)
            frame.pts, frame.time_base = tick, time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


_GOPS: dict[str, object] = {"keyint": GOP, "min-keyint": GOP, "scenecut": 0, "bframes": 3, "b-adapt": 0}


def _parameters(settings: dict[str, object]) -> str:
    return ":".join(f"{name.replace('_', '-')}={value}" for name, value in settings.items())


def _x264(**settings: object) -> dict[str, str]:
    # x264's lookahead is not repeatable, even with one thread
    repeatable = {"rc-lookahead": 0, "no-mbtree": 1}
    return {"preset": "veryfast", "crf": "23", "x264-params": _parameters(_GOPS | repeatable | settings)}


def _x265(**settings: object) -> dict[str, str]:
    repeatable = {"pools": "none", "frame-threads": 1, "log-level": "none"}
    return {"preset": "ultrafast", "x265-params": _parameters(_GOPS | repeatable | settings)}


# ---- H.264 ------------------------------------------------------------------------------------------


def h264_closed(path: Path) -> Path:
    """B-frames, closed GOPs."""
    return _encode(path, "libx264", options=_x264(open_gop=0))


def h264_open(path: Path) -> Path:
    """Open GOPs: after each keyframe but the first come pictures that are shown before it."""
    return _encode(path, "libx264", options=_x264(open_gop=1))


def h264_one_gop(path: Path) -> Path:
    """One keyframe, at the start."""
    return _encode(path, "libx264", options=_x264(keyint="infinite"))


def h264_no_b(path: Path) -> Path:
    """No B-frames: decoding order is display order."""
    return _encode(path, "libx264", options=_x264(bframes=0))


def h264_vfr(path: Path) -> Path:
    """Variable frame rate: the frames lie at ``VFR_TIMES_MS``."""
    return _encode(path, "libx264", options=_x264(), ticks=VFR_TIMES_MS, time_base=Fraction(1, 1000))


def h264_late_start(path: Path) -> Path:
    """The first frame's pts is ``START_S`` seconds."""
    return _encode(path, "libx264", options=_x264(), ticks=range(START_S * FPS, START_S * FPS + FRAMES))


def h264_fragmented(path: Path) -> Path:
    """Fragmented MP4: no index over the whole file."""
    return _encode(
        path, "libx264", options=_x264(), muxer={"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    )


def h264_no_cues(path: Path) -> Path:
    """Matroska as a live stream leaves it: no index (cues) and no duration."""
    return _encode(path, "libx264", options=_x264(), muxer={"live": "1"})


def h264_with_audio(path: Path) -> Path:
    """A tone in AAC beside the pictures, and stream 0 is the audio."""
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        audio = container.add_stream("aac", rate=_SAMPLE_RATE, layout="mono")
        video = container.add_stream("libx264", rate=FPS)
        video.width, video.height = SIZE
        video.pix_fmt = "yuv420p"
        video.codec_context.thread_count = 1
        video.options = {**_x264()}
        for number in range(FRAMES):
            samples = number * _SAMPLE_RATE // FPS + np.arange(_SAMPLE_RATE // FPS)
            tone = np.sin(samples * (2 * np.pi * 440 / _SAMPLE_RATE)).astype(np.float32)
            sound = av.AudioFrame.from_ndarray(tone[np.newaxis], format="fltp", layout="mono")
            sound.sample_rate, sound.pts = _SAMPLE_RATE, int(samples[0])
            container.mux(audio.encode(sound))
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(video.encode(frame))
        container.mux(audio.encode(None))
        container.mux(video.encode(None))
    return path


def h264_10bit(path: Path) -> Path:
    """Ten bits per sample."""
    return _encode(path, "libx264", options=_x264(), pix_fmt="yuv420p10le")


def h264_odd(path: Path) -> Path:
    """Odd width and height, which H.264 has only without chroma subsampling."""
    return _encode(path, "libx264", options=_x264(), pix_fmt="yuv444p", size=ODD_SIZE)


def _turned(path: Path, degrees: int, *, mirrored: bool = False) -> Path:
    return _encode(
        path,
        "libx264",
        options=_x264(),
        prepare=lambda stream: stream.set_display_rotation(degrees, hflip=mirrored),
    )


def rotated_90(path: Path) -> Path:
    """To be shown turned by 90 degrees counter-clockwise."""
    return _turned(path, 90)


def rotated_180(path: Path) -> Path:
    """To be shown upside down."""
    return _turned(path, 180)


def rotated_270(path: Path) -> Path:
    """To be shown turned by 90 degrees clockwise, as phones held upright record."""
    return _turned(path, 270)


def mirrored(path: Path) -> Path:
    """To be shown with left and right exchanged."""
    return _turned(path, 0, mirrored=True)


# ---- other codecs -----------------------------------------------------------------------------------


def hevc_closed(path: Path) -> Path:
    """HEVC with B-frames, closed GOPs."""
    return _encode(path, "libx265", options=_x265(open_gop=0))


def hevc_open(path: Path) -> Path:
    """HEVC with open GOPs: CRA keyframes, and RASL pictures that need the GOP before."""
    return _encode(path, "libx265", options=_x265(open_gop=1))


def hevc_10bit(path: Path) -> Path:
    """HEVC Main 10."""
    return _encode(path, "libx265", options=_x265(open_gop=0), pix_fmt="yuv420p10le")


def vp9(path: Path) -> Path:
    """VP9 with hidden alternative reference frames."""
    return _encode(path, "libvpx-vp9", options=_VP9)


def vp9_odd(path: Path) -> Path:
    """Odd width and height with chroma subsampling."""
    return _encode(path, "libvpx-vp9", options=_VP9, size=ODD_SIZE)


def av1(path: Path) -> Path:
    """AV1, where this PyAV has its encoder."""
    return _encode(path, _AV1, options={"preset": "11", "g": str(GOP), "svtav1-params": "lp=1"})


def mpeg2_ts(path: Path) -> Path:
    """MPEG-2 with B-frames in a transport stream, which has no index and does not start at zero."""
    return _encode(path, "mpeg2video", options={"g": str(GOP), "bf": "2", "b": "1500k"})


def mpeg4_avi(path: Path) -> Path:
    """MPEG-4 part 2 without B-frames in AVI, which has no presentation times."""
    return _encode(path, "mpeg4", options={"g": str(GOP), "b": "1500k"})


CLIPS: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "h264-closed": (".mp4", h264_closed),
    "h264-open-mkv": (".mkv", h264_open),
    "h264-open-mp4": (".mp4", h264_open),
    "h264-one-gop": (".mp4", h264_one_gop),
    "h264-no-b": (".mp4", h264_no_b),
    "h264-vfr-mp4": (".mp4", h264_vfr),
    "h264-vfr-mkv": (".mkv", h264_vfr),
    "h264-late-start-mp4": (".mp4", h264_late_start),
    "h264-late-start-mkv": (".mkv", h264_late_start),
    "h264-fragmented": (".mp4", h264_fragmented),
    "h264-no-cues": (".mkv", h264_no_cues),
    "h264-with-audio": (".mp4", h264_with_audio),
    "h264-10bit": (".mp4", h264_10bit),
    "h264-odd": (".mp4", h264_odd),
    "rotated-90": (".mp4", rotated_90),
    "rotated-180": (".mp4", rotated_180),
    "rotated-270": (".mov", rotated_270),
    "mirrored": (".mp4", mirrored),
    "hevc-closed": (".mp4", hevc_closed),
    "hevc-open-mp4": (".mp4", hevc_open),
    "hevc-open-mkv": (".mkv", hevc_open),
    "hevc-10bit": (".mp4", hevc_10bit),
    "vp9": (".webm", vp9),
    "vp9-odd": (".webm", vp9_odd),
    "mpeg2-ts": (".ts", mpeg2_ts),
    "mpeg4-avi": (".avi", mpeg4_avi),
}
if _AV1 in av.codecs_available:
    CLIPS["av1"] = (".mp4", av1)


def make_all(folder: Path) -> dict[str, Path]:
    """Make every clip in ``folder``, as ``<name><suffix>``; some 3 s in all."""
    return {name: function(folder / f"{name}{suffix}") for name, (suffix, function) in CLIPS.items()}
