"""A folder of videos with what an output must carry through: names that are not ASCII, several folders, a
rotated video, and one with suspect frames."""

from __future__ import annotations

import shutil
from pathlib import Path

import av

VIDEOS = {
    "h264-closed.mp4": "straße/夏の海 1.mp4",
    "h264-open-mkv.mkv": "straße/b.v2/open.mkv",
    "rotated-90.mp4": "gedreht.mp4",
    "h264-no-b.mp4": "kaputt.mp4",
}
SUSPECT = "kaputt.mp4"
ROTATED = "gedreht.mp4"


def make_awkward_videos(clips: Path, folder: Path) -> Path:
    """Copies of some clips below ``folder``, one of them damaged."""
    for name, target in VIDEOS.items():
        (clip,) = [path for path in clips.iterdir() if path.stem.startswith(Path(name).stem)][:1]
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, folder / target)
    broken = folder / SUSPECT
    with av.open(str(broken)) as container:
        packets = [(packet.pos, packet.size, packet.is_keyframe) for packet in container.demux(video=0)]
    key = [place for place, (_, _, is_key) in enumerate(packets) if is_key][1]
    data = bytearray(broken.read_bytes())
    at, size, _ = packets[key + 1]
    assert at is not None
    data[at : at + size] = bytes(size)
    broken.write_bytes(data)
    return folder
