"""Extraction: the same frames, byte for byte, however a video is cut."""

from __future__ import annotations

import random
import time
from fractions import Fraction
from pathlib import Path

import av
import cv2
import msgspec
import numpy as np
import pytest

from framefleet.common.job.sampling import Sampling
from framefleet.common.job.spec import ImageOptions
from framefleet.worker.extraction.extract import extract
from framefleet.worker.video import decode_session as decode
from framefleet.worker.video.input_file import ReadError
from framefleet.worker.video.open_video import OpenVideo
from tests.helpers.clips import CLIPS, FPS, FRAMES, GOP
from tests.helpers.extractor import FIVE, NATIVE, ODD_RATE, PNG, SEEKABLE, Extractor, clip, same
from tests.helpers.oracle_reference import bgr_md5, reference


@pytest.mark.parametrize("name", CLIPS)
def test_a_whole_file_gives_what_plain_decoding_gives(clips: Path, tmp_path: Path, name: str) -> None:
    path = clip(clips, name)
    work = Extractor(path, tmp_path)
    for sampling in (NATIVE, FIVE, ODD_RATE):
        result, folder = work.unit(sampling)
        found = []
        for row in result.rows:
            image = cv2.imread(str(folder / row.file), cv2.IMREAD_COLOR)
            assert image is not None
            assert (image.shape[1], image.shape[0]) == (row.width, row.height)
            assert (folder / row.file).stat().st_size == row.bytes
            assert row.file == f"{row.sample:08d}.png"
            found.append((row.sample, row.pts, bgr_md5(image.astype(np.uint8))))
        expected = reference(path, sampling.rate, mirrored=name == "mirrored")
        assert found == [(frame.sample, frame.pts, frame.bgr_md5) for frame in expected]
        assert {row.status for row in result.rows} == {"ok"}
        assert (result.saw_end, result.errors, result.notes) == (True, 0, [])


@pytest.mark.parametrize("name", SEEKABLE)
def test_any_cut_gives_the_same_frames(clips: Path, tmp_path: Path, name: str) -> None:
    work = Extractor(clip(clips, name), tmp_path)
    for sampling in (NATIVE, FIVE, ODD_RATE):
        whole = work.unit(sampling)[0].rows
        last = work.last_position(sampling, whole)
        generator = random.Random(name)
        for attempt in range(3):
            cuts = sorted(generator.sample(range(1, last + 2), min(last, 5)))
            rows = work.cut(sampling, cuts, shuffle=attempt)
            assert same(rows) == same(whole), cuts
            if sampling.rate is not None:
                assert rows == whole


@pytest.mark.parametrize("name", ["h264-open-mp4", "hevc-open-mkv", "h264-closed"])
def test_every_frame_alone_and_backwards(clips: Path, tmp_path: Path, name: str) -> None:
    work = Extractor(clip(clips, name), tmp_path)
    whole = work.unit(NATIVE)[0].rows
    for row in reversed(whole):
        position = row.pts - work.info.first_pts
        result, _ = work.unit(NATIVE, position, position + 1)
        assert same(result.rows) == same([row])
        assert result.rows[0].sample == 0


def test_a_range_in_the_middle_decodes_little_more_than_itself(clips: Path, tmp_path: Path) -> None:
    work = Extractor(clip(clips, "h264-closed"), tmp_path)
    position = work.info.keyframes[3] - work.info.first_pts
    result, _ = work.unit(NATIVE, position, position + 2)
    assert len(result.rows) == 1
    assert result.roll_in == 0
    assert result.decoded <= GOP
    assert not result.saw_end


def test_an_extraction_tells_where_its_time_went(clips: Path, tmp_path: Path) -> None:
    work = Extractor(clip(clips, "h264-one-gop"), tmp_path)
    began = time.perf_counter()
    whole, _ = work.unit(FIVE)
    middle, _ = work.unit(FIVE, 3)
    elapsed_s = time.perf_counter() - began
    for timing in (whole.timing, middle.timing):
        assert min(timing.decode_s, timing.convert_s, timing.encode_s, timing.write_s) > 0
    assert whole.timing.roll_in_s == 0
    assert middle.timing.roll_in_s > 0, "it begins within a GOP"
    told = [
        value
        for result in (whole, middle)
        for name, value in msgspec.structs.asdict(result.timing).items()
        if name.endswith("_s")
    ]
    assert sum(told) < elapsed_s + 0.002


def test_only_what_is_wanted_is_written(clips: Path, tmp_path: Path) -> None:
    work = Extractor(clip(clips, "h264-one-gop"), tmp_path)
    result, _ = work.unit(Sampling(Fraction(1)), 2, 3)
    assert [row.sample for row in result.rows] == [2]
    assert result.decoded < 2 * FPS
    assert result.roll_in < FPS
    assert result.rows[0].target_s == 2.0
    assert result.rows[0].time_s == 2.0


def test_a_range_beyond_the_end_is_empty(clips: Path, tmp_path: Path) -> None:
    work = Extractor(clip(clips, "h264-closed"), tmp_path)
    result, _ = work.unit(FIVE, 500, None)
    assert result.rows == []
    assert result.saw_end


def test_rows_tell_of_the_frame(clips: Path, tmp_path: Path) -> None:
    result, _ = Extractor(clip(clips, "rotated-270"), tmp_path).unit(NATIVE, image=ImageOptions())
    first = result.rows[0]
    assert (first.file, first.keyframe, first.rotation, first.pix_fmt) == (
        "00000000.jpg",
        True,
        90,
        "yuv420p",
    )
    assert first.width < first.height
    assert [row.keyframe for row in result.rows].count(True) == FRAMES // GOP
    assert [row.sample for row in result.rows] == list(range(FRAMES))


@pytest.mark.parametrize("sampling", [NATIVE, ODD_RATE], ids=["native", "rate"])
def test_a_checkpoint_lowers_the_stop(clips: Path, tmp_path: Path, sampling: Sampling) -> None:
    work = Extractor(clip(clips, "h264-open-mp4"), tmp_path)
    whole = work.unit(sampling)[0].rows
    last = work.last_position(sampling, whole)
    asked: list[tuple[int, int]] = []

    def stop_soon(done_to: int, frames: int) -> int | None:
        asked.append((done_to, frames))
        return last // 2 if len(asked) == 1 else None

    head, _ = work.unit(sampling, 0, None, checkpoint=stop_soon)
    assert not head.saw_end
    rest = work.unit(sampling, last // 2, None)[0]
    assert same([*head.rows, *rest.rows]) == same(whole)
    assert [done for done, _ in asked] == sorted(done for done, _ in asked)
    assert asked[0][1] > 0


@pytest.mark.parametrize("sampling", [NATIVE, FIVE], ids=["native", "rate"])
def test_a_stop_below_what_is_done_counts_as_what_is_done(
    clips: Path, tmp_path: Path, sampling: Sampling
) -> None:
    work = Extractor(clip(clips, "h264-closed"), tmp_path)
    whole = work.unit(sampling)[0].rows
    done: list[int] = []

    def stop_at_once(done_to: int, frames: int) -> int | None:
        done.append(done_to)
        return 0 if len(done) == 2 else None

    head, _ = work.unit(sampling, 0, None, checkpoint=stop_at_once)
    assert set(done[1:]) == {done[1]}, "it went no further"
    rest = work.unit(sampling, done[1], None)[0]
    assert same([*head.rows, *rest.rows]) == same(whole)


def test_a_checkpoint_cannot_raise_the_stop(clips: Path, tmp_path: Path) -> None:
    work = Extractor(clip(clips, "h264-closed"), tmp_path)
    result, _ = work.unit(FIVE, 0, 4, checkpoint=lambda done_to, frames: 10)
    assert [row.sample for row in result.rows] == [0, 1, 2, 3]


def make_without_b_frames(path: Path, *, gop: int) -> Path:
    with av.open(str(path), "w") as container:
        options = {"g": str(gop), "preset": "ultrafast", "x264-params": "scenecut=0"}
        stream = container.add_stream("libx264", 25, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for number in range(600):
            picture = np.full((64, 64, 3), number % 250, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("gop", [600, 50])
def test_checkpoints_come_within_a_long_gop_and_after_short_ones(tmp_path: Path, gop: int) -> None:
    asked: list[int] = []
    work = Extractor(make_without_b_frames(tmp_path / "long.mp4", gop=gop), tmp_path / "units")
    assert len(work.info.keyframes) == 600 // gop
    result, _ = work.unit(FIVE, checkpoint=lambda done_to, frames: asked.append(done_to))
    assert len(result.rows) == 120
    assert len(asked) >= max(2, 600 // gop - 1)
    assert asked == sorted(asked)


def test_checkpoints_come_more_often_where_packets_take_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "STEP_S", 0.0)
    asked: list[int] = []
    work = Extractor(make_without_b_frames(tmp_path / "long.mp4", gop=600), tmp_path / "units")
    work.unit(NATIVE, checkpoint=lambda done_to, frames: asked.append(done_to))
    assert len(asked) > 2 * 600 // decode.STEP_PACKETS


def test_whatever_a_checkpoint_raises_ends_the_unit(clips: Path, tmp_path: Path) -> None:
    def cancel(done_to: int, frames: int) -> int | None:
        raise KeyboardInterrupt

    work = Extractor(clip(clips, "h264-closed"), tmp_path)
    with pytest.raises(KeyboardInterrupt):
        work.unit(NATIVE, checkpoint=cancel)
    assert len(work.unit(NATIVE)[0].rows) == FRAMES


def test_output_trouble_is_no_media_error(clips: Path, tmp_path: Path) -> None:
    work = Extractor(clip(clips, "h264-closed"), tmp_path)
    with pytest.raises(FileNotFoundError):
        extract(
            work.video,
            work.info.first_pts,
            NATIVE,
            0,
            None,
            image=PNG,
            folder=tmp_path / "missing",
            checkpoint=lambda done_to, frames: None,
        )


def test_a_file_that_is_open_is_read_to_its_end_whatever_its_name_leads_to(
    clips: Path, tmp_path: Path
) -> None:
    path = tmp_path / "here.mp4"
    path.write_bytes(clip(clips, "h264-closed").read_bytes())
    work = Extractor(path, tmp_path / "units")
    before = work.unit(FIVE)[0].rows
    path.unlink()
    path.write_bytes(b"another file")
    assert work.unit(FIVE)[0].rows == before
    path.unlink()
    with pytest.raises(ReadError, match="vanished"):
        OpenVideo(path)


def test_times_beyond_the_end_are_told(clips: Path, tmp_path: Path) -> None:
    times = tuple(Fraction(value) for value in ("1/2", "1", "7/3", "5/2", "100"))
    work = Extractor(clip(clips, "h264-closed"), tmp_path)
    result, _ = work.unit(Sampling(None, times=times), 0, len(times))
    assert [(row.sample, row.time_s) for row in result.rows] == [(0, 0.48), (1, 1.0), (2, 2.32)]
    assert result.notes == ["ends after 2.400 s: nothing to give for 2.5 s, 100 s"]
    rest, _ = work.unit(Sampling(None, times=times), 4, len(times))
    assert rest.notes == ["ends after 2.400 s: nothing to give for 100 s"]
