"""Extraction through damage: the same frames whatever the cut, and the user is told."""

from __future__ import annotations

import random
from fractions import Fraction
from pathlib import Path

import av
import pytest

from framefleet.common.job.sampling import Sampling
from tests.helpers.clips import FRAMES
from tests.helpers.extractor import FIVE, NATIVE, ODD_RATE, Extractor, clip, same
from tests.helpers.oracle_reference import reference


def packets(path: Path) -> list[tuple[int, int, int, bool]]:
    """(pts, offset in the file, size, keyframe) of each packet."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [
            (packet.pts, packet.pos, packet.size, packet.is_keyframe)
            for packet in container.demux(stream)
            if packet.pts is not None and packet.pos is not None
        ]


def damaged(path: Path, target: Path, seed: int) -> Path:
    """A copy of ``path`` with some bytes of some packets replaced, the container left whole."""
    generator = random.Random(f"{path.name}{seed}")
    data = bytearray(path.read_bytes())
    for _, offset, size, _ in generator.sample(packets(path), generator.choice([1, 2, 6])):
        length = min(size - 6, generator.choice([2, 20, 200]))
        at = offset + generator.randrange(5, size - length)
        data[at : at + length] = generator.randbytes(length)
    target.write_bytes(data)
    return target


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    "name",
    ["h264-closed", "h264-open-mp4", "h264-open-mkv", "h264-one-gop", "h264-10bit", "h264-vfr-mkv", "vp9"],
)
def test_damage_gives_the_same_whatever_the_cut(clips: Path, tmp_path: Path, name: str, seed: int) -> None:
    path = clip(clips, name)
    work = Extractor(damaged(path, tmp_path / path.name, seed), tmp_path / "units")
    whole = work.unit(NATIVE)[0]
    last = work.last_position(NATIVE, whole.rows)
    generator = random.Random(seed)
    for attempt in range(3):
        cuts = sorted(generator.sample(range(1, last), 5))
        assert same(work.cut(NATIVE, cuts, shuffle=attempt)) == same(whole.rows), cuts
    at_rate = work.unit(ODD_RATE)[0].rows
    seen = {row.pts: row for row in whole.rows}
    assert same(at_rate) == same([seen[row.pts] for row in at_rate])


def test_frames_after_an_error_are_suspect_until_the_next_keyframe(clips: Path, tmp_path: Path) -> None:
    path = clip(clips, "h264-closed")
    order = packets(path)
    keys = [index for index, packet in enumerate(order) if packet[3]]
    hit = keys[2] + 4
    data = bytearray(path.read_bytes())
    offset, size = order[hit][1:3]
    data[offset : offset + size] = bytes(size)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(data)
    work = Extractor(broken, tmp_path / "units")
    result, _ = work.unit(NATIVE)
    assert result.errors >= 1
    after = {packet[0] for packet in order[hit : keys[3]]}
    suspect = {row.pts for row in result.rows if row.status == "suspect"}
    assert suspect
    assert suspect <= after
    assert {row.pts for row in result.rows} - after <= {row.pts for row in result.rows} - suspect
    clean = {row.pts: row.sha256 for row in Extractor(path, tmp_path / "clean").unit(NATIVE)[0].rows}
    for row in result.rows:
        if row.status == "ok":
            assert row.sha256 == clean[row.pts]


def test_a_truncated_file_gives_what_it_has_and_says_so(clips: Path, tmp_path: Path) -> None:
    whole = Extractor(clip(clips, "h264-open-mkv"), tmp_path / "whole").unit(NATIVE)[0].rows
    data = clip(clips, "h264-open-mkv").read_bytes()
    path = tmp_path / "cut.mkv"
    path.write_bytes(data[: len(data) // 2])
    work = Extractor(path, tmp_path / "units")
    result, _ = work.unit(NATIVE)
    assert 10 < len(result.rows) < FRAMES - 10
    assert [row.pts for row in result.rows] == [row.pts for row in whole[: len(result.rows)]]
    assert len(result.notes) == 1
    assert "2.4" in result.notes[0]
    last = work.last_position(NATIVE, result.rows)
    assert same(work.cut(NATIVE, [last // 3, last // 2, last - 1])) == same(result.rows)


def test_an_mp4_without_its_tail_gives_what_it_has(clips: Path, tmp_path: Path) -> None:
    source = clip(clips, "h264-closed")
    path = tmp_path / "cut.mp4"
    # the index in front, so that it survives the cut
    with av.open(str(source)) as old, av.open(str(path), "w", options={"movflags": "faststart"}) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    work = Extractor(path, tmp_path / "units")
    result, _ = work.unit(FIVE)
    assert 0 < len(result.rows) < len(Extractor(source, tmp_path / "whole").unit(FIVE)[0].rows)
    assert len(result.notes) == 1
    assert "cut short" in result.notes[0]
    assert same(work.cut(FIVE, [1, 4, 5, 7])) == same(result.rows)


@pytest.mark.parametrize("rate", ["1/2", "1", "5"])
def test_timestamps_that_jump_back_end_nothing(clips: Path, tmp_path: Path, rate: str) -> None:
    # two films in one: behind the first one's fragments, time begins anew
    data = clip(clips, "h264-fragmented").read_bytes()
    path = tmp_path / "twice.mp4"
    path.write_bytes(data + data)
    sampling = Sampling(Fraction(rate))
    rows = Extractor(path, tmp_path / "units").unit(sampling)[0].rows
    assert [(row.sample, row.pts) for row in rows] == [
        (frame.sample, frame.pts) for frame in reference(path, sampling.rate)
    ]
