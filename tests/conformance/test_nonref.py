"""Real files with and without their droppable packets: all other frames are the same, bit for bit.

Runs where the folder of test videos lies beside the repository, as it does in CI. Of each file the first
``PACKETS`` packets are decoded whole, then without all droppable ones, then without random ones.
"""

from __future__ import annotations

import random
from collections import defaultdict
from functools import cache
from pathlib import Path

import av
import pytest

from framefleet.worker.bitstream.droppable import classifier_for
from framefleet.worker.video.open_video import MediaError, OpenVideo
from tests.helpers.droppable_packets import decode

VIDEOS = Path(__file__).resolve().parents[2].parent / "shared" / "videos"
pytestmark = pytest.mark.skipif(
    not VIDEOS.is_dir(), reason=f"the real test videos are not at {VIDEOS}; they are not shipped"
)

PACKETS = 150
CODECS = ["h264", "hevc", "libdav1d", "mpeg1video", "mpeg2video"]
WITH_SOME = ["h264", "hevc", "libdav1d"]  # no MPEG-1 or MPEG-2 file of this collection has B-pictures


@cache
def files() -> dict[str, list[Path]]:
    """The files of each codec."""
    found: dict[str, list[Path]] = defaultdict(list)
    for folder in ("clips", "awkward"):
        for path in sorted((VIDEOS / folder).glob("*")):
            try:
                with OpenVideo(path) as video:
                    found[video.codec].append(path)
            except MediaError:
                continue
    return found


@pytest.mark.parametrize("codec", CODECS)
def test_droppable_packets_change_no_other_frame(codec: str) -> None:
    droppable = 0
    assert files()[codec]
    for path in files()[codec]:
        whole = decode(path, limit=PACKETS)
        assert whole.is_one_to_one, path.name
        droppable += len(whole.droppable)
        print(
            f"{codec} {path.name}: {whole.packets} packets, {len(whole.frames)} frames, "
            f"{len(whole.droppable)} droppable"
        )
        for share, omit in ((1.0, False), (0.5, True)) if whole.droppable else ():
            generator = random.Random(path.name)
            chosen = {number for number in sorted(whole.droppable) if generator.random() < share}
            sparse = decode(path, chosen, PACKETS, omit=omit)
            assert sparse.frames == whole.without(chosen), (path.name, share)
            assert sparse.refused == whole.refused, (path.name, share)
    assert bool(droppable) == (codec in WITH_SOME)


def test_the_other_codecs_are_left_alone() -> None:
    others = set(files()) - set(CODECS)
    assert {"vp8", "vp9", "mpeg4"} <= others
    assert all(classifier_for(codec, None) is None for codec in others)


@pytest.mark.parametrize("folder", ["awkward", "bad"])
def test_bad_files_raise_nothing(folder: str) -> None:
    for path in sorted((VIDEOS / folder).glob("*")):
        try:
            with OpenVideo(path) as video:
                classifier = classifier_for(video.codec, video.stream.codec_context.extradata)
                for packet in video.container.demux(video.stream):
                    if classifier is not None:
                        needed = classifier.needed_bytes(memoryview(packet), packet.is_keyframe)
                        assert 0 <= needed <= packet.size
        except (MediaError, av.FFmpegError):
            continue
