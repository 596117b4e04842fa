from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest

from framefleet.common.errors import UserError
from framefleet.launcher import demo
from framefleet.launcher.demo import CLIP, CLIP_FPS, CONTAINERS, LENGTHS_S, make_demo_set

DECODED_UP_TO_S = 40  # longer ones repeat the same packets: those are compared instead


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return sorted(make_demo_set(tmp_path_factory.mktemp("demo") / "set").iterdir())


def length_s(path: Path) -> int:
    return int(path.stem.removeprefix("bunny-").removesuffix("s"))


def clip_packets() -> list[bytes]:
    with av.open(str(CLIP)) as clip:
        return [bytes(packet) for packet in clip.demux(video=0) if packet.size]


def test_lengths_have_a_heavy_tail(videos: list[Path]) -> None:
    lengths = sorted(map(length_s, videos))
    assert len(lengths) == 12
    assert (lengths[0], lengths[-1]) == (2, 300)
    assert lengths[-1] > sum(lengths[:-1])
    assert {path.suffix for path in videos} == {".mp4", ".mov", ".mkv"}


def test_every_video_has_the_clips_packets_in_time(videos: list[Path]) -> None:
    expected = clip_packets()
    for path in videos:
        with av.open(str(path)) as video:
            assert [stream.type for stream in video.streams] == ["video"]
            tick = video.streams.video[0].time_base
            assert tick is not None
            packets = [packet for packet in video.demux() if packet.size]
            assert len(packets) == length_s(path) * CLIP_FPS
            for index, packet in enumerate(packets):
                assert packet.pts is not None
                assert packet.pts * tick == Fraction(index, CLIP_FPS)
                assert packet.is_keyframe == (index % len(expected) == 0)
                assert packet.size == len(expected[index % len(expected)])


def test_videos_decode_without_errors(videos: list[Path]) -> None:
    av.logging.set_level(av.logging.WARNING)
    try:
        with av.logging.Capture() as complaints:
            for path in videos:
                if length_s(path) > DECODED_UP_TO_S:
                    continue
                with av.open(str(path)) as video:
                    count = sum(1 for _ in video.decode(video=0))
                assert count == length_s(path) * CLIP_FPS, path.name
        assert complaints == []
    finally:
        av.logging.set_level(None)


def test_whole_set_is_kept_and_others_are_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "set"
    made = []

    def make() -> Path:
        before = len(seen)
        videos = make_demo_set(folder, lengths_s=(1, 2), on_progress=lambda done, total: seen.append(done))
        made.append(len(seen) > before)
        return videos

    seen: list[int] = []
    videos = make()
    make()
    assert made == [True, False]
    next(videos.iterdir()).unlink()
    make()
    monkeypatch.setattr(demo, "VERSION", "another")
    make()
    assert made == [True, False, True, True]
    assert sorted(path.name for path in videos.iterdir()) == ["bunny-001s.mp4", "bunny-002s.mkv"]
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_set_that_cannot_be_finished_leaves_nothing(tmp_path: Path) -> None:
    def fail(done: int, total: int) -> None:
        raise RuntimeError("pulled the plug")

    with pytest.raises(RuntimeError, match="pulled the plug"):
        make_demo_set(tmp_path / "set", lengths_s=(1,), on_progress=fail)
    assert list(tmp_path.iterdir()) == []


def test_folder_of_the_users_own_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "holiday.mp4").touch()
    with pytest.raises(UserError, match="is not the demo set"):
        make_demo_set(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.mp4"]


def test_containers_in_turn() -> None:
    assert len(LENGTHS_S) % len(CONTAINERS) == 0
