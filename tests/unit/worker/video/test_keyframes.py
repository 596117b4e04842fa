"""Keyframes alone: the same pictures and times as plain decoding gives, wherever one begins."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from framefleet.worker.video.keyframes import keyframes
from framefleet.worker.video.open_video import OpenVideo
from tests.helpers.clips import CLIPS, FRAMES, GOP


def expected(path: Path) -> dict[int, bytes]:
    """Pixels of the keyframes, by pts."""
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        frames = list(container.decode(video=0))
    return {frame.pts or 0: frame.to_ndarray(format="bgr24").tobytes() for frame in frames if frame.key_frame}


@pytest.mark.parametrize("name", CLIPS)
def test_they_are_those_of_plain_decoding(clips: Path, name: str) -> None:
    path = clips / f"{name}{CLIPS[name][0]}"
    with OpenVideo(path) as video:
        found = {
            key.pts: key.frame.to_ndarray(format="bgr24").tobytes()
            for key in keyframes(video, None)
            if key.frame is not None
        }
        assert found == expected(path)
        assert len(found) >= (1 if name == "h264-one-gop" else -(-FRAMES // GOP))
        again = [key.pts for key in keyframes(video, None)]
        assert again == sorted(found), "the file is as it was"


@pytest.mark.parametrize("name", ["h264-closed", "h264-open-mkv", "hevc-open-mp4", "vp9"])
def test_it_begins_with_the_last_one_before(clips: Path, name: str) -> None:
    path = clips / f"{name}{CLIPS[name][0]}"
    with OpenVideo(path) as video:
        every = [key.pts for key in keyframes(video, None)]
        for place, pts in enumerate(every):
            later = every[place + 1] if place + 1 < len(every) else pts + 100
            for begin in (pts, (pts + later) // 2, later - 1):
                assert [key.pts for key in keyframes(video, begin)] == every[place:]


def test_a_damaged_one_is_refused_or_flagged(clips: Path, tmp_path: Path) -> None:
    path = clips / "h264-closed.mp4"
    with av.open(str(path)) as container:
        keys = [packet for packet in container.demux(video=0) if packet.is_keyframe]
    data = bytearray(path.read_bytes())
    at, size = keys[2].pos, keys[2].size
    assert at is not None
    data[at + size // 4 : at + size] = np.random.default_rng(0).bytes(size - size // 4)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(data)
    with OpenVideo(broken) as video:
        found = list(keyframes(video, None))
    assert [key.pts for key in found] == [key.pts for key in keys]
    assert [key.refused or key.damaged for key in found] == [place == 2 for place in range(len(keys))]
