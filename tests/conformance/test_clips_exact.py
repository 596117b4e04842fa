"""Extraction of real files against the oracle of the design, unit by unit, without a job around it.

Runs where the folder of test videos lies beside the repository, as it does in CI. Every clip is taken at
5 fps and native, in pieces (at most ``MAX_PIECES``) that are cut at random places too; ``test_any_cut`` cuts
them in other ways. The pixels handed to the encoder are compared with the oracle's; at 5 fps, over the whole
file, PNG files are read back as well. The one clip of 10,883 frames would take minutes each time it is
decoded; it is left to ``test_job_exact``.
"""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from framefleet.common.job.sampling import Sampling
from framefleet.common.job.spec import ImageOptions
from framefleet.worker.extraction.extract import extract
from framefleet.worker.picture import render as images
from framefleet.worker.video.open_video import MediaError, OpenVideo
from framefleet.worker.video.probe import probe
from tests.helpers.oracle_reference import Decoded, bgr_md5, select

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
VIDEOS = SHARED / "videos"
pytestmark = pytest.mark.skipif(
    not VIDEOS.is_dir(), reason=f"the real test videos are not at {VIDEOS}; they are not shipped"
)

LONG = "androidx-media__long_1080p_lowbitrate.mp4"
MAX_PIECES = 3
FIVE = Sampling(Fraction(5))
NATIVE = Sampling(None)
PNG_SIGNATURE = b"\x89PNG"
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
    for frame, _, _ in oracle.decode_all(str(path)):
        if before is not None and frame.pts <= before:
            continue
        before = frame.pts
        digest = bgr_md5(oracle.as_displayed(frame, frame.to_ndarray(format="bgr24")))
        yield Decoded(frame.pts, frame.duration or 0, digest)


def pixels(image: images.Image, options: ImageOptions) -> bytes:
    """In the place of an encoder: the digest of what it would have stored."""
    return bgr_md5(image).encode()


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
            data = (folder / row.file).read_bytes()
            if data.startswith(PNG_SIGNATURE):
                image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
                assert image is not None
                data = bgr_md5(image.astype(np.uint8)).encode()
            found[start].append((row.sample, row.pts, data.decode()))
            (folder / row.file).unlink()
        assert list(folder.iterdir()) == []
    in_order = [frame for start in sorted(found) for frame in found[start]]
    if sampling.numbered_by_order:
        return [(number, pts, digest) for number, (_, pts, digest) in enumerate(in_order)]
    return in_order


@pytest.mark.parametrize(
    "path", [path for path in files("clips") if path.name != LONG], ids=lambda path: path.name
)
def test_every_frame_is_the_oracles_however_cut(
    oracle: ModuleType, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = probe(path)
    frames = list(oracle_frames(oracle, path))
    generator = random.Random(path.name)
    with OpenVideo(path) as video:
        for sampling in (FIVE, NATIVE):
            chosen = select([(frame.pts, frame.duration) for frame in frames], info.time_base, sampling.rate)
            expected = [(sample, frames[index].pts, frames[index].bgr_md5) for sample, index in chosen]
            last = sampling.position_of(expected[-1][1] - info.first_pts, info.time_base)
            cuts: list[list[int]] = [[]]
            if info.seekable and last > 1:
                second = sampling.position_at(Fraction(1), info.time_base)
                piece = max(second, -(-last // MAX_PIECES))
                in_pieces = range(piece, last + 1, piece)
                anywhere = generator.sample(range(1, last + 1), min(last, 3))
                cut = sorted({*in_pieces, *anywhere})
                cuts = [[], cut] if sampling is FIVE else [cut]
            for cut in cuts:
                with monkeypatch.context() as patch:
                    if cut or sampling is NATIVE:
                        patch.setattr(images, "encode", pixels)
                    found = extracted(video, info.first_pts, sampling, [0, *cut, None], tmp_path)
                assert found == expected, (sampling, cut)


@pytest.mark.parametrize("path", files("awkward", "bad"), ids=lambda path: path.name)
def test_a_bad_file_gives_frames_or_a_reason(path: Path, tmp_path: Path) -> None:
    reason = ""
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


# not the stereo HEVC file: the oracle fails on its side data
AWKWARD_BUT_WHOLE = [
    "roadtrip-vp92",
    "sample_without_stss",
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
