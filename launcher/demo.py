"""The demo set: one short real clip, repeated into videos of very uneven lengths.

Packets are copied, not re-encoded: the clip is one GOP without B-frames, so it may be cut after any
frame and followed by itself, with the timestamps carried on.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from framefleet import PACKAGE
from framefleet.common.errors import UserError

CLIP = PACKAGE / "assets" / "bigbuckbunny.mp4"
CLIP_FPS = 25

# One video is more than half of all: whole videos cannot be shared evenly, however they are dealt out.
LENGTHS_S = (300, 90, 60, 40, 25, 16, 11, 8, 6, 4, 3, 2)
CONTAINERS = ("mp4", "mkv", "mov")

VERSION = "1"  # of what is made; a set with another one is made anew
VIDEOS = "videos"
_MARKER = "version"  # beside the videos, not among them: what lies there is input


@dataclass(frozen=True, slots=True)
class _Packet:
    data: bytes
    pts: int
    duration: int
    keyframe: bool


def demo_name(length_s: int, container: str) -> str:
    """The file name of a demo video; names sort by length."""
    return f"bunny-{length_s:03}s.{container}"


def make_demo_set(
    folder: Path,
    *,
    lengths_s: tuple[int, ...] = LENGTHS_S,
    loop_frames: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Make the demo set in ``folder``, unless a whole one of this version is there already.

    The set appears under its name in one step. ``loop_frames``: see ``repeat_clip``. ``on_progress`` gets
    seconds of video made and in all.

    Returns:
        The folder of the videos, which holds nothing else.

    Raises:
        UserError: ``folder`` holds something else, or cannot be written.
    """
    marker = folder / _MARKER
    version = VERSION if loop_frames is None else f"{VERSION}, loops of {loop_frames} frames"
    if marker.is_file() and marker.read_text() == version and _is_whole(folder / VIDEOS, lengths_s):
        return folder / VIDEOS
    making = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}")
    try:
        if folder.is_dir() and any(folder.iterdir()) and not marker.is_file():
            raise UserError(f"{folder} holds something that is not the demo set: move it, or use --input")
        (making / VIDEOS).mkdir(parents=True)
        _make_videos(making / VIDEOS, lengths_s, loop_frames, on_progress)
        (making / _MARKER).write_text(version)
        if folder.exists():
            shutil.rmtree(folder)
        making.replace(folder)
    except OSError as error:
        raise UserError(f"cannot make the demo set in {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return folder / VIDEOS


def _is_whole(folder: Path, lengths_s: tuple[int, ...]) -> bool:
    return all((folder / name).is_file() for name in _names(lengths_s))


def _names(lengths_s: tuple[int, ...]) -> list[str]:
    return [
        demo_name(length_s, CONTAINERS[index % len(CONTAINERS)]) for index, length_s in enumerate(lengths_s)
    ]


def _make_videos(
    folder: Path,
    lengths_s: tuple[int, ...],
    loop_frames: int | None,
    on_progress: Callable[[int, int], None],
) -> None:
    lengths = dict(zip(_names(lengths_s), lengths_s, strict=True))
    done_s = 0
    for name in repeat_clip(folder, lengths, loop_frames=loop_frames):
        done_s += lengths[name]
        on_progress(done_s, sum(lengths_s))


def repeat_clip(
    folder: Path, lengths_s: Mapping[str, int], *, loop_frames: int | None = None
) -> Iterator[str]:
    """Make videos out of the demo clip: each ends after so many seconds of it, again and again.

    ``folder`` must be there. The names of the videos, with their suffixes, are given as they are made.
    ``loop_frames``: take only so many frames of the clip, which makes GOPs of that length.

    Raises:
        UserError: the clip is damaged.
        OSError: a video cannot be written.
    """
    import av

    with av.open(str(CLIP)) as clip:
        source = clip.streams.video[0]
        packets = [
            _Packet(bytes(packet), packet.pts, packet.duration, packet.is_keyframe)
            for packet in clip.demux(source)
            if packet.pts is not None and packet.duration
        ][:loop_frames]
        if source.time_base is None:
            raise UserError(f"{CLIP} has no time base: it is damaged, take it from a fresh checkout")
        for name, length_s in lengths_s.items():
            with av.open(str(folder / name), "w") as video:
                stream = video.add_stream_from_template(source)
                offset = 0
                for index in range(length_s * CLIP_FPS):
                    if index and index % len(packets) == 0:
                        offset += packets[-1].pts + packets[-1].duration
                    piece = packets[index % len(packets)]
                    packet = av.Packet(piece.data)
                    packet.stream = stream
                    packet.time_base = source.time_base
                    packet.pts = packet.dts = offset + piece.pts
                    packet.duration = piece.duration
                    packet.is_keyframe = piece.keyframe
                    video.mux(packet)
            yield name
