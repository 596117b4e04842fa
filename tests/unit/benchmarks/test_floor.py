"""The floor of the benchmark: it decodes what the wanted frames need, and nothing else."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from benchmarks.floor import measure, needed, spare_bytes, wanted_pts
from benchmarks.task import Task
from framefleet.worker.video.open_video import OpenVideo
from tests.helpers.clips import CLIPS, FPS, FRAMES, GOP
from tests.helpers.oracle_reference import bgr_md5, decode_in_order, select


@pytest.mark.parametrize("rate", [Fraction(5), Fraction(1), Fraction(24_000, 1001), Fraction(1, 10)])
@pytest.mark.parametrize("name", ["h264-closed", "h264-open-mkv"])
def test_wanted_is_what_the_definition_says(clips: Path, name: str, rate: Fraction) -> None:
    path = clips / f"{name}{CLIPS[name][0]}"
    frames, time_base = decode_in_order(path)
    chosen = select([(frame.pts, frame.duration) for frame in frames], time_base, rate)
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(container.streams.video[0]) if packet.size]
    task = Task(video="", folder="", rate=str(rate))
    assert wanted_pts(packets, time_base, task) == {frames[index].pts for _, index in chosen}


@pytest.mark.parametrize("name", ["h264-closed", "h264-open-mp4", "hevc-open-mkv", "vp9", "av1"])
@pytest.mark.parametrize("every", [1, 5, 25])
def test_runs_decode_to_the_wanted_frames_exactly(clips: Path, name: str, every: int) -> None:
    path = clips / f"{name}{CLIPS[name][0]}"
    frames, _ = decode_in_order(path)
    wanted = {frame.pts for frame in frames[::every]}
    with OpenVideo(path) as video:
        packets = [packet for packet in video.container.demux(video.stream) if packet.size]
        runs = needed(packets, spare_bytes(video, packets), wanted)
        codec = video.stream.codec_context
        found = {}
        for run in runs:
            for packet in [*run, None]:
                for frame in codec.decode(packet):
                    assert isinstance(frame, av.VideoFrame)
                    if frame.pts in wanted:
                        found[frame.pts] = bgr_md5(frame.to_ndarray(format="bgr24").astype(np.uint8))
            codec.flush_buffers()
    assert found == {frame.pts: frame.bgr_md5 for frame in frames[::every]}
    fed = sum(len(run) for run in runs)
    if every == 25 and name == "h264-closed":
        assert fed < FRAMES / 2
    if every == 1:
        assert fed == FRAMES


@pytest.mark.parametrize("name", ["h264-closed", "h264-open-mp4", "hevc-open-mkv"])
def test_the_decoder_itself_leaves_out_the_same(clips: Path, name: str) -> None:
    with OpenVideo(clips / f"{name}{CLIPS[name][0]}") as video:
        packets = [packet for packet in video.container.demux(video.stream) if packet.size]
        spare = spare_bytes(video, packets)
        codec = video.stream.codec_context
        codec.skip_frame = "NONREF"
        given = {frame.pts for packet in [*packets, None] for frame in codec.decode(packet)}
        assert {packet.pts for packet in packets if not spare[packet.pts or 0]} == {
            packet.pts for packet in packets
        } - given


def test_keyframes_need_themselves_alone(clips: Path, tmp_path: Path) -> None:
    path = clips / f"h264-closed{CLIPS['h264-closed'][0]}"
    costs = measure(Task(video=str(path), folder=str(tmp_path), rate=None))
    assert costs.decoded == costs.written == FRAMES // GOP == len(list(tmp_path.iterdir()))
    assert costs.floor_s == costs.decode_s + costs.convert_s + costs.encode_s > 0


def test_the_images_are_those_wanted(clips: Path, tmp_path: Path) -> None:
    path = clips / f"h264-closed{CLIPS['h264-closed'][0]}"
    costs = measure(Task(video=str(path), folder=str(tmp_path), rate="1"))
    assert costs.written == -(-FRAMES // FPS)
    assert costs.written < costs.decoded < FRAMES
