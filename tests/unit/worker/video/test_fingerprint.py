"""What a video is: found alike wherever it is opened, and compared before anything is written."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import msgspec
import pytest

from framefleet.common.job.sampling import Sampling
from framefleet.common.job.spec import ImageOptions
from framefleet.common.media import Fingerprint
from framefleet.worker.extraction.extract import extract
from framefleet.worker.video.fingerprint import EDGE_BYTES, ContradictionError, checksum_of
from framefleet.worker.video.input_file import InputFile
from framefleet.worker.video.open_video import OpenVideo
from framefleet.worker.video.probe import probe
from tests.helpers.clips import CLIPS
from tests.helpers.extractor import clip

SAMPLINGS = {
    "5 fps": Sampling(Fraction(5)),
    "1 fps": Sampling(Fraction(1)),
    "native": Sampling(),
    "every 7th": Sampling(every=7),
    "keyframes": Sampling(keyframes_only=True),
    "times": Sampling(times=(Fraction(1, 2), Fraction(3, 2))),
}
LIES: list[dict[str, int | str]] = [
    {"first_pts": 1},
    {"first_pts": -1},
    {"first_pts": 2**20},
    {"time_base_den": 1},
    {"width": 1},
    {"height": 1},
    {"checksum": "0"},
]


def unit(video: OpenVideo, told: Fingerprint, sampling: Sampling, start: int, folder: Path) -> list[str]:
    folder.mkdir()
    result = extract(
        video,
        told.first_pts,
        sampling,
        start,
        None,
        image=ImageOptions(resize="32x32"),
        folder=folder,
        checkpoint=lambda done_to, frames: None,
        told=told,
    )
    return [row.sha256 for row in result.rows]


@pytest.mark.parametrize("name", sorted(CLIPS))
def test_what_a_probe_told_is_found_by_every_unit(clips: Path, tmp_path: Path, name: str) -> None:
    path = clip(clips, name)
    told = probe(path).fingerprint
    for number, sampling in enumerate(SAMPLINGS.values()):
        second = 1 if sampling.times is not None else sampling.position_at(Fraction(1), probe(path).time_base)
        for start in (0, second):
            with OpenVideo(path) as video:
                unit(video, told, sampling, start, tmp_path / f"{number}-{start}")


@pytest.mark.parametrize("lie", LIES, ids=str)
@pytest.mark.parametrize("start_s", [0, 1])
@pytest.mark.parametrize("name", ["h264-closed", "h264-open-mkv", "hevc-open-mp4"])
def test_nothing_is_written_of_what_was_told_wrong(
    clips: Path, tmp_path: Path, name: str, start_s: int, lie: dict[str, int | str]
) -> None:
    path = clip(clips, name)
    info = probe(path)
    true = info.fingerprint
    changed = {key: by if isinstance(by, str) else getattr(true, key) + by for key, by in lie.items()}
    told = msgspec.structs.replace(true, **changed)
    for mode, sampling in SAMPLINGS.items():
        folder = tmp_path / mode
        start = (
            start_s if sampling.times is not None else sampling.position_at(Fraction(start_s), info.time_base)
        )
        with OpenVideo(path) as video, pytest.raises(ContradictionError) as caught:
            unit(video, told, sampling, start, folder)
        assert caught.value.found == true
        assert list(folder.iterdir()) == []


def test_a_checksum_is_of_both_ends(tmp_path: Path) -> None:
    path = tmp_path / "file"
    data = bytes(range(256)) * (3 * EDGE_BYTES // 256)

    def checksum(place: int | None = None) -> str:
        changed = bytearray(data)
        if place is not None:
            changed[place] ^= 1
        path.write_bytes(changed)
        with InputFile(path) as file:
            return checksum_of(file)

    same = checksum()
    assert len(same) == 16
    for place in (0, EDGE_BYTES - 1, len(data) - EDGE_BYTES, len(data) - 1):
        assert checksum(place) != same
    assert checksum(EDGE_BYTES) == checksum(len(data) - EDGE_BYTES - 1) == same


def test_a_small_file_has_a_checksum(tmp_path: Path) -> None:
    path = tmp_path / "small"
    path.write_bytes(b"x")
    with InputFile(path) as file:
        assert checksum_of(file) == "8cdc16838cdc1683"
