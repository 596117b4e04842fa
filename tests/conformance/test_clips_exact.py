"""Extraction of real files against the oracle of the design, unit by unit, without a job around it.

Runs where the folder of test videos lies beside the repository, as it does in CI. Every clip is taken at
5 fps and native: whole, in pieces of a second, and cut at random places, each PNG compared with the
oracle's pixels. Of the one clip of 10,883 frames, native is checked over its first ``LONG_NATIVE_FRAMES``
frames, in pieces; its 5 fps over all of it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import random
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from types import ModuleType

import cv2
import pytest

from common.sampling import Sampling
from common.spec import ImageOptions
from tests.oracle_reference import Decoded, select
from worker.extract import extract
from worker.media import MediaError, OpenVideo
from worker.probe import probe

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
VIDEOS = SHARED / "videos"
pytestmark = pytest.mark.skipif(
    not VIDEOS.is_dir(), reason=f"the real test videos are not at {VIDEOS}; they are not shipped"
)

LONG = "androidx-media__long_1080p_lowbitrate.mp4"
LONG_NATIVE_FRAMES = 200
FIVE = Sampling(Fraction(5))
NATIVE = Sampling(None)
Frames = list[tuple[int, int, str]]  # (sample, pts, MD5 of the BGR pixels)


def files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (VIDEOS / folder).glob("*"))


@pytest.fixture(scope="module")
def oracle() -> ModuleType:
    spec = importlib.util.spec_from_file_location("oracle_frames", SHARED / "oracle" / "frames.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def oracle_frames(oracle: ModuleType, path: Path) -> Iterator[Decoded]:
    """What the oracle decodes, in order, with the pixels that it would store."""
    before: int | None = None
    wanted = wanted_indices(oracle, path) if path.name == LONG else None
    index = 0
    for frame, _, _ in oracle.decode_all(str(path)):
        if before is not None and frame.pts <= before:
            continue
        before = frame.pts
        digest = oracle.hashed(frame)[1] if wanted is None or index in wanted else ""
        yield Decoded(frame.pts, frame.duration or 0, digest)
        index += 1


def wanted_indices(oracle: ModuleType, path: Path) -> set[int]:
    """Frames of the long clip whose pixels are compared: converting all would take minutes."""
    times = [(frame.pts, frame.duration or 0) for frame, _, _ in oracle.decode_all(str(path))]
    at_rate = {index for _, index in select(times, probe(path).time_base, FIVE.rate)}
    return at_rate | set(range(LONG_NATIVE_FRAMES))


def extracted(
    video: OpenVideo, first_pts: int, sampling: Sampling, bounds: list[int | None], folder: Path
) -> Frames:
    """The frames of the units between ``bounds``, done in a random order on one open file."""
    units = list(pairwise(bounds))
    random.Random(0).shuffle(units)
    found: dict[int, Frames] = {}
    for start, stop in units:
        assert start is not None
        result = extract(
            video,
            first_pts,
            sampling,
            start,
            stop,
            image=ImageOptions(format="png"),
            folder=folder,
            checkpoint=lambda done_to, frames: None,
        )
        assert all(row.status == "ok" for row in result.rows)
        found[start] = []
        for row in result.rows:
            image = cv2.imread(str(folder / row.file), cv2.IMREAD_COLOR)
            assert image is not None
            found[start].append((row.sample, row.pts, hashlib.md5(image.tobytes()).hexdigest()))
            (folder / row.file).unlink()
        assert list(folder.iterdir()) == []
    in_order = [frame for start in sorted(found) for frame in found[start]]
    if sampling.numbered_by_order:
        return [(number, pts, digest) for number, (_, pts, digest) in enumerate(in_order)]
    return in_order


@pytest.mark.parametrize("path", files("clips"), ids=lambda path: path.name)
def test_every_frame_is_the_oracles_however_cut(oracle: ModuleType, path: Path, tmp_path: Path) -> None:
    info = probe(path)
    frames = list(oracle_frames(oracle, path))
    generator = random.Random(path.name)
    with OpenVideo(path) as video:
        for sampling in (FIVE, NATIVE):
            chosen = select([(frame.pts, frame.duration) for frame in frames], info.time_base, sampling.rate)
            expected = [(sample, frames[index].pts, frames[index].bgr_md5) for sample, index in chosen]
            end: int | None = None
            if path.name == LONG and sampling is NATIVE:
                end = frames[LONG_NATIVE_FRAMES].pts - info.first_pts
                expected = list(islice(expected, LONG_NATIVE_FRAMES))
            last_pts = expected[-1][1]
            last = sampling.position_of(last_pts - info.first_pts, info.time_base)
            span_s = 10 if path.name == LONG and sampling is FIVE else 1
            second = sampling.position_at(Fraction(span_s), info.time_base)
            cuts: list[list[int]] = [[]]
            if info.seekable and last > 1:
                cuts += [
                    list(range(second, last + 1, second)),
                    sorted(generator.sample(range(1, last + 1), min(last, 4))),
                ]
            for cut in cuts:
                found = extracted(video, info.first_pts, sampling, [0, *cut, end], tmp_path)
                assert found == expected, (sampling, cut)


@pytest.mark.parametrize("path", files("awkward", "bad"), ids=lambda path: path.name)
def test_a_bad_file_gives_frames_or_a_reason(path: Path, tmp_path: Path) -> None:
    try:
        info = probe(path)
        with OpenVideo(path) as video:
            result = extract(
                video,
                info.first_pts,
                NATIVE,
                0,
                None,
                image=ImageOptions(),
                folder=tmp_path,
                checkpoint=lambda done_to, frames: None,
            )
    except MediaError as error:
        reason, result = str(error), None
    if result is None:
        assert len(reason) > 10
        return
    assert len(result.rows) > 0
    assert result.saw_end
    pts = [row.pts for row in result.rows]
    assert pts == sorted(set(pts))


AWKWARD_BUT_WHOLE = [
    "roadtrip-vp92",
    "sample_without_stss",
    "water_180_mvhevc",
    "sample_empty_track",
    "vvc",
    "discard_first",
]


@pytest.mark.parametrize("part", AWKWARD_BUT_WHOLE)
def test_awkward_files_are_exact_too(oracle: ModuleType, part: str, tmp_path: Path) -> None:
    path = next(path for path in files("awkward") if part in path.name)
    info = probe(path)
    expected = [(n, frame.pts, frame.bgr_md5) for n, frame in enumerate(oracle_frames(oracle, path))]
    last = expected[-1][1] - info.first_pts
    with OpenVideo(path) as video:
        for bounds in ([0, None], [0, last // 3, last // 2, last, None]):
            assert extracted(video, info.first_pts, NATIVE, bounds, tmp_path) == expected
