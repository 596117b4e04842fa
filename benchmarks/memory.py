"""``python -m benchmarks.memory``: the memory that a slot takes for 4K video of an hour, whatever its GOPs.

A few seconds of 3840 x 2160 are encoded and then repeated by stream copy, with shifted timestamps, for an
hour: with GOPs of two seconds, as one endless GOP (one keyframe, then the same P pictures again and again),
in HEVC with 10 bits, and, as long as the disk allows, at a high bit rate. Ranges of them are extracted, each
in a process of its own, whose peak of resident memory is compared with the bound. Exit code 1: it was passed.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Final

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

BOUND_BYTES: Final = 400 * 2**20  # docs/design.md and the contract: 4K video of any length
WIDTH: Final = 3840
HEIGHT: Final = 2160
FPS: Final = 30
HOUR_S: Final = 3600
REPOSITORY: Final = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Film:
    """A video to be made: ``frames`` are encoded and repeated up to ``length_s``.

    If it is ``endless`` the first one is not repeated, and the others must be a multiple of 16: by this H.264
    counts its reference pictures here, and a decoder must not find one missing.
    """

    name: str
    suffix: str
    codec: str
    pix_fmt: str
    options: dict[str, str]
    frames: int
    length_s: int
    endless: bool = False
    noise: int = 0  # standard deviation of the grain, in levels: it makes the bit rate


def _x264(kbits: int, *, endless: bool = False) -> dict[str, str]:
    gops = "keyint=infinite:bframes=0" if endless else "keyint=60:min-keyint=60:open-gop=0"
    rate = {"b": f"{kbits}k", "maxrate": f"{kbits}k", "bufsize": f"{kbits}k"}
    return {"preset": "veryfast", "x264-params": f"{gops}:scenecut=0"} | rate


FILMS: Final = (
    Film("2 s GOPs", ".mp4", "libx264", "yuv420p", _x264(3000), 120, HOUR_S),
    Film("2 s GOPs, Matroska", ".mkv", "libx264", "yuv420p", _x264(3000), 120, HOUR_S),
    Film("endless GOP", ".mp4", "libx264", "yuv420p", _x264(3000, endless=True), 113, HOUR_S, endless=True),
    Film(
        "endless, high rate",
        ".mp4",
        "libx264",
        "yuv420p",
        _x264(60_000, endless=True),
        113,
        240,
        endless=True,
        noise=12,
    ),
    Film(
        "HEVC, 10 bits",
        ".mp4",
        "libx265",
        "yuv420p10le",
        {"preset": "ultrafast", "b": "3000k", "x265-params": "keyint=60:bframes=4:ref=4:log-level=none"},
        60,
        HOUR_S,
    ),
)


@dataclass(frozen=True, slots=True)
class Range:
    """What is extracted: at ``fps`` (None: every frame), ``length_s`` seconds (None: all) of the film."""

    fps: Fraction | None
    start_s: float
    length_s: float | None


def ranges(film: Film) -> list[Range]:
    """A range at 5 fps, one every ten seconds over all, every frame of a short one in the middle.

    In an endless GOP all that lies before a range is decoded: there the ranges lie near the start.
    """
    if film.endless:
        return [
            Range(Fraction(5), 40, 10),
            Range(Fraction(1, 10), 0, 60),
            Range(None, 60, 2),
        ]
    return [
        Range(Fraction(5), film.length_s / 3, 20),
        Range(Fraction(1, 10), 0, None),
        Range(None, film.length_s / 2 + 1, 3),
    ]


@cache
def _pattern(noise: int) -> NDArray[np.uint8]:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.int32)
    image = np.stack([x // 8 + y // 16, y // 8, (x ^ y) // 32], axis=-1) % 256
    if noise:
        image += np.random.default_rng(1).normal(0, noise, (HEIGHT, WIDTH, 1)).astype(np.int32)
    pattern: NDArray[np.uint8] = np.clip(image, 0, 255).astype(np.uint8)
    return pattern


def picture(number: int, noise: int) -> NDArray[np.uint8]:
    """RGB of a moving pattern; its grain jumps, so that it cannot be predicted."""
    step = (number * 977, number * 1543) if noise else (number * 3, number * 6)
    return np.roll(_pattern(noise), step, axis=(0, 1))


def make(film: Film, folder: Path) -> Path:
    """Encode the frames of a film and repeat them for its length."""
    seed = folder / "seed.mp4"  # which keeps every time, whatever the film's own container does
    with av.open(str(seed), "w") as container:
        stream = container.add_stream(film.codec, rate=FPS)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, film.pix_fmt
        stream.options = dict(film.options)
        for number in range(film.frames):
            frame = av.VideoFrame.from_ndarray(picture(number, film.noise), format="rgb24")
            frame = frame.reformat(format=film.pix_fmt)
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    path = folder / f"film{film.suffix}"
    _repeat(seed, path, film)
    seed.unlink()
    return path


def _repeat(seed: Path, path: Path, film: Film) -> None:
    with av.open(str(seed)) as source, av.open(str(path), "w") as target:
        template = source.streams.video[0]
        time_base = template.time_base
        assert time_base is not None
        stream = target.add_stream_from_template(template)
        packets = [
            (bytes(packet), packet.pts, packet.dts, packet.duration, packet.is_keyframe)
            for packet in source.demux(template)
            if packet.pts is not None and packet.dts is not None
        ]
        repeated = packets[1:] if film.endless else packets
        span = round(Fraction(len(repeated), FPS) / time_base)
        for turn in range(film.length_s * FPS // len(repeated)):
            for data, pts, dts, duration, is_key in repeated if turn else packets:
                packet = av.Packet(data)
                packet.stream, packet.time_base = stream, time_base
                packet.pts, packet.dts, packet.duration = pts + turn * span, dts + turn * span, duration
                packet.is_keyframe = is_key
                target.mux(packet)


def extract_in_child(path: Path, wanted: Range) -> dict[str, float]:
    """Extract a range in a process of its own: frames, seconds, peak of resident bytes."""
    fps = None if wanted.fps is None else str(wanted.fps)
    request = json.dumps([str(path), fps, wanted.start_s, wanted.length_s])
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", "--child", request],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def child(request: str) -> None:
    """In the child: extract, and print what it took."""
    from framefleet.common.job.sampling import Sampling
    from framefleet.common.job.spec import ImageOptions, LimitOptions
    from framefleet.worker import slot_limits as limits
    from framefleet.worker.extraction.extract import extract
    from framefleet.worker.video.open_video import OpenVideo
    from framefleet.worker.video.probe import probe

    limits.enter(limits.limits_for(LimitOptions(), slots=1, host_bytes=None), ctypes.c_uint64())
    path, fps, start_s, length_s = json.loads(request)
    sampling = Sampling(None if fps is None else Fraction(fps))
    began = time.monotonic()
    info = probe(path)
    limits.give_back_memory()
    start = sampling.position_at(Fraction(start_s), info.time_base)
    stop = None
    if length_s is not None:
        stop = sampling.position_at(Fraction(start_s) + Fraction(length_s), info.time_base)
    with tempfile.TemporaryDirectory() as folder, OpenVideo(path) as video:
        result = extract(
            video,
            info.first_pts,
            sampling,
            start,
            stop,
            image=ImageOptions(),
            folder=Path(folder),
            checkpoint=lambda done_to, frames: None,
            duration_s=info.duration_s,
        )
    # not getrusage's maximum, which knows what the parent held when it started this process
    (peak,) = [
        int(line.split()[1]) * 1024
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmHWM:")
    ]
    found = {"frames": len(result.rows), "decoded": result.decoded, "peak": peak}
    print(json.dumps(found | {"seconds": time.monotonic() - began}))


def rows(folder: Path, films: Sequence[Film]) -> Iterator[tuple[str, float]]:
    """A line of the table for each film and range, and its peak in bytes."""
    for film in films:
        path = make(film, folder)
        size_mib = path.stat().st_size / 2**20
        for wanted in ranges(film):
            found = extract_in_child(path, wanted)
            fps = "native" if wanted.fps is None else f"{float(wanted.fps):g} fps"
            end = "end" if wanted.length_s is None else f"{wanted.start_s + wanted.length_s:g}"
            span = f"[{wanted.start_s:g}, {end}) s"
            frames = f"{found['frames']:4.0f} frames of {found['decoded']:5.0f} decoded"
            line = f"{film.name:20} {film.length_s:5} s {size_mib:6.0f} MiB  {fps:>7} {span:16} {frames}"
            yield f"{line} {found['seconds']:6.1f} s {found['peak'] / 2**20:5.0f} MiB", found["peak"]
        path.unlink()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--film", help="only films with this in their name")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        child(options.child)
        return 0
    films = [film for film in FILMS if options.film is None or options.film in film.name]
    largest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for line, peak in rows(Path(folder), films):
            print(line, flush=True)
            largest = max(largest, peak)
    print(f"largest: {largest / 2**20:.0f} MiB, bound: {BOUND_BYTES / 2**20:.0f} MiB")
    return 1 if largest > BOUND_BYTES else 0


if __name__ == "__main__":
    sys.exit(main())
