"""Probing: what a file is told to be, and in which words it is refused."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from framefleet.common.job.spec import ImageOptions
from framefleet.launcher.plan.inspect_videos import look
from framefleet.worker.picture.render import encode
from framefleet.worker.video.open_video import MediaError, OpenVideo, check_dimensions
from framefleet.worker.video.probe import probe
from tests.helpers.clips import FPS, FRAMES, GOP, SIZE, START_S

DURATION_S = FRAMES / FPS


def first_displayed_pts(path: Path) -> int:
    with av.open(str(path)) as container:
        pts = next(container.decode(video=0)).pts
        assert pts is not None
        return pts


def keyframe_pts(path: Path) -> list[int]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [p.pts for p in container.demux(stream) if p.is_keyframe and p.pts is not None]


def test_every_clip_is_told_as_it_is(clips: Path) -> None:
    for path in sorted(clips.iterdir()):
        info = probe(path)
        assert info.first_pts == first_displayed_pts(path), path.name
        assert info.size_bytes == path.stat().st_size, path.name
        assert info.seekable == (path.suffix not in (".ts", ".avi")), path.name
        if "no-cues" not in path.name and "vfr" not in path.name:
            assert info.duration_s == pytest.approx(DURATION_S, abs=0.15), path.name
            assert info.frame_rate == pytest.approx(FPS, rel=0.1), path.name


@pytest.mark.parametrize(
    "name", ["h264-closed.mp4", "h264-open-mp4.mp4", "h264-open-mkv.mkv", "hevc-open-mp4.mp4", "vp9.webm"]
)
def test_keyframe_hints_are_presentation_times(clips: Path, name: str) -> None:
    info = probe(clips / name)
    assert info.keyframes == keyframe_pts(clips / name)
    assert len(info.keyframes) >= FRAMES // GOP


def test_a_late_start_is_no_part_of_the_duration(clips: Path) -> None:
    for name in ("h264-late-start-mp4.mp4", "h264-late-start-mkv.mkv"):
        info = probe(clips / name)
        assert info.first_pts * info.time_base == pytest.approx(START_S, abs=0.001)
        assert info.duration_s == pytest.approx(DURATION_S, abs=0.15)


def test_size_and_codec_come_from_the_pictures(clips: Path) -> None:
    info = probe(clips / "h264-closed.mp4")
    assert (info.width, info.height) == SIZE
    assert (info.codec, info.time_base > 0) == ("h264", True)
    assert "mp4" in info.container


def lying_mp4(source: Path, target: Path, ticks: int) -> Path:
    """``source`` with every duration in its headers set to ``ticks``, one frame's length among them."""
    data = bytearray(source.read_bytes())
    for name, offset in ((b"mvhd", 16), (b"tkhd", 20), (b"mdhd", 16)):
        at = data.index(name) + 4
        assert data[at] == 0  # version: 32-bit times
        struct.pack_into(">I", data, at + offset, ticks)
    at = data.index(b"stts") + 4
    count = struct.unpack_from(">I", data, at + 4)[0]
    struct.pack_into(">I", data, at + 8 + 8 * (count - 1) + 4, ticks // FRAMES)
    target.write_bytes(data)
    return target


def test_an_absurd_duration_is_not_believed(clips: Path, tmp_path: Path) -> None:
    info = probe(lying_mp4(clips / "h264-no-b.mp4", tmp_path / "lie.mp4", 4_000_000_000))
    assert info.duration_s <= info.size_bytes / 250


def test_an_unknown_duration_is_zero(clips: Path) -> None:
    assert probe(clips / "h264-no-cues.mkv").duration_s == 0


@pytest.mark.parametrize(
    "name",
    [
        b"with space.mp4",
        b"quote'\".mp4",
        b"line\nbreak.mp4",
        "ünï-日本.mp4".encode(),
        b"\xff\xfe.mp4",
        b"a:b%03d.mp4",
    ],
)
def test_any_name_opens(clips: Path, tmp_path: Path, name: bytes) -> None:
    path = os.fsencode(tmp_path) + b"/" + name
    shutil.copy(os.fsencode(clips / "h264-closed.mp4"), path)
    assert probe(path) == probe(clips / "h264-closed.mp4")
    assert probe(os.fsdecode(path)).codec == "h264"


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_title_need_not_be_utf_8(clips: Path, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"titled{suffix}"
    with av.open(str(clips / "h264-no-b.mp4")) as plain, av.open(str(path), "w") as titled:
        source = plain.streams.video[0]
        stream = titled.add_stream_from_template(source)
        titled.metadata["title"] = stream.metadata["title"] = stream.metadata["handler_name"] = "cafe-cafe"
        for packet in plain.demux(source):
            if packet.dts is not None:
                packet.stream = stream
                titled.mux(packet)
    old = path.read_bytes()
    path.write_bytes(old.replace(b"cafe-cafe", "café-café".encode("latin-1")))
    assert old.count(b"cafe-cafe") >= 2
    assert probe(path).codec == "h264"
    seen = look(path, len(old), ImageOptions())
    assert seen is not None
    assert seen.codec == "h264"


def test_an_image_a_playlist_and_a_text_are_no_videos(clips: Path, tmp_path: Path) -> None:
    black = np.zeros((64, 64, 3), np.uint8)
    (tmp_path / "a.jpg").write_bytes(encode(black, ImageOptions()))
    (tmp_path / "a.png").write_bytes(encode(black, ImageOptions(format="png")))
    (tmp_path / "a.ffconcat").write_text(f"ffconcat version 1.0\nfile '{clips / 'h264-closed.mp4'}'\n")
    (tmp_path / "a.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nh264-closed.mp4\n")
    (tmp_path / "a.txt").write_text("hello\n" * 400)
    (tmp_path / "a.mp4").write_text("<html>404 Not ResolvedSettings</html>")
    for path in tmp_path.iterdir():
        with pytest.raises(MediaError, match="not a video"):
            probe(path)


def test_what_holds_no_pictures_says_so(tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", "not compressed"))
        sound.writeframes(bytes(16000))
    with pytest.raises(MediaError, match=r"no video stream \(audio only\)"):
        probe(path)


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    (tmp_path / "zeros.mp4").write_bytes(bytes(10_000))
    reasons = {
        "pipe.mp4": "pipe",
        "empty.mp4": r"empty \(0 bytes\)",
        "loop.mp4": "symbolic link",
        ".": "folder",
        "zeros.mp4": "zero bytes",
        "x" * 300: "too long",
        "nul\0.mp4": "not a valid file name",
    }
    for name, reason in reasons.items():
        with pytest.raises(MediaError, match=reason) as caught:
            probe(f"{tmp_path}/{name}")
        assert caught.value.kind == "input"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_says_so(clips: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(clips / "h264-closed.mp4", tmp_path))
    path.chmod(0)
    with pytest.raises(MediaError, match="permission denied"):
        probe(path)


def test_a_file_cut_within_its_header_says_so(clips: Path, tmp_path: Path) -> None:
    data = (clips / "h264-closed.mp4").read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(data[: data.index(b"moov") + 40])
    with pytest.raises(MediaError, match="cut short"):
        probe(path)


def test_video_without_one_decodable_frame_says_so(clips: Path, tmp_path: Path) -> None:
    data = bytearray((clips / "h264-closed.mp4").read_bytes())
    begin = data.index(b"mdat") + 4
    end = data.index(b"moov") - 4
    assert begin < end
    data[begin:end] = bytes([0xFF]) * (end - begin)
    path = tmp_path / "blank.mp4"
    path.write_bytes(data)
    with pytest.raises(MediaError, match="not one frame"):
        probe(path)


def test_frames_of_gigabytes_are_refused() -> None:
    check_dimensions(16_384, 16_384)
    with pytest.raises(MediaError, match="16385 x 16384"):
        check_dimensions(16_385, 16_384)


def test_an_open_video_can_be_closed_twice_and_rewound(clips: Path) -> None:
    with OpenVideo(clips / "h264-closed.mp4") as video:
        assert video.time_base == Fraction(1, 12_800)
        video.touched = True
        video.rewind()
        packet = next(video.container.demux(video.stream))
        assert packet.is_keyframe
        video.close()
    video.close()


def test_a_file_that_names_others_makes_libav_open_none_of_them(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even through a demuxer that nobody has thought of: all are allowed here."""
    everything = {name for names in av.formats_available for name in names.split(",")}
    monkeypatch.setattr(
        "framefleet.worker.video.open_video._film_formats", lambda: ",".join(sorted(everything))
    )
    shutil.copy(clips / "h264-closed.mp4", tmp_path / "b.mp4")
    with av.open(str(tmp_path / "b.sub"), "w", format="vob") as sub:
        sub.add_stream("mpeg2video", rate=25)
        sub.start_encoding()
    named = {
        "a.ffconcat": "ffconcat version 1.0\nfile b.mp4\n",
        "b.idx": "# VobSub index file, v7 (do not modify this line!)\nsize: 720x480\nid: en, index: 0\n"
        "timestamp: 00:00:01:000, filepos: 000000000\n",
    }
    monkeypatch.chdir(tmp_path)
    for name, text in named.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(MediaError, match="Protocol not found"):
            OpenVideo(tmp_path / name)


def test_a_pipe_beside_an_index_of_subtitles_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "a.idx").write_text("# VobSub index file, v7 (do not modify this line!)\nid: en, index: 0\n")
    os.mkfifo(tmp_path / "a.sub")
    reading = "import sys; from framefleet.worker.video.open_video import OpenVideo; OpenVideo(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", reading, tmp_path / "a.idx"],
        check=False,
        capture_output=True,
        timeout=300,  # that it hangs is what would be wrong
    )
    assert b"MediaError: not a video" in done.stderr
