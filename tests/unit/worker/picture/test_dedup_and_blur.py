"""Frames that are left out: what is measured of a picture, and what follows from it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from framefleet.common.job.image_options import MAX_DISTANCE, ImageOptions
from framefleet.common.job.sampling import Sampling
from framefleet.common.media import UnitResult
from framefleet.launcher.options.image import MAX_DEDUP
from framefleet.worker.extraction import frame_writer as writer
from framefleet.worker.extraction.extract import extract
from framefleet.worker.picture.dedup_and_blur import Measures, measure, perceptual_hash, sharpness, verdict
from framefleet.worker.video.open_video import OpenVideo
from framefleet.worker.video.probe import probe

BOTH = ImageOptions(dedup=4, min_sharpness=50.0)
Image = NDArray[np.uint8]


def scene(seed: int) -> Image:
    """A picture with large shapes, as films have: (180, 320, 3) uint8."""
    chance = np.random.default_rng(seed)
    coarse = chance.integers(0, 256, (6, 8, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, (320, 180), interpolation=cv2.INTER_CUBIC), np.uint8)


def gray(picture: Image) -> Image:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)


def distance(one: Image, other: Image) -> int:
    return (perceptual_hash(gray(one)) ^ perceptual_hash(gray(other))).bit_count()


@pytest.mark.parametrize("seed", range(20))
def test_the_hash_is_that_of_the_transform_in_floats(seed: int) -> None:
    picture = gray(scene(seed))
    small = cv2.resize(picture, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float64)
    # cv2.dct scales the first row and column by 1/sqrt(2); the hash leaves all as they are
    low = cv2.dct(small)[:8, :8]
    low[0] *= np.sqrt(2)
    low[:, 0] *= np.sqrt(2)
    bits = "".join("1" if value > np.median(low) else "0" for value in low.ravel())
    assert (perceptual_hash(picture) ^ int(bits, 2)).bit_count() <= 2  # two are next to the median


@pytest.mark.parametrize("seed", range(10))
def test_what_looks_alike_is_near_and_what_does_not_is_far(seed: int) -> None:
    picture = scene(seed)
    done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 40])
    assert done
    compressed = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    brighter = np.clip(picture.astype(np.int32) * 7 // 8 + 12, 0, 255).astype(np.uint8)
    assert distance(picture, picture) == 0
    assert distance(picture, compressed) <= 4
    assert distance(picture, np.ascontiguousarray(cv2.resize(picture, (160, 90)), np.uint8)) <= 4
    assert distance(picture, brighter) <= 4
    assert distance(picture, scene(seed + 1000)) > 12
    assert distance(picture, np.ascontiguousarray(picture[:, ::-1])) > 12


def test_sharpness_is_the_variance_of_the_laplacian() -> None:
    picture = gray(scene(3))
    edges = cv2.Laplacian(picture, cv2.CV_64F)
    assert sharpness(picture) == pytest.approx(float(edges.var()), abs=1e-3)
    noisy = np.random.default_rng(1).integers(0, 256, picture.shape, np.uint8)
    blurred = np.asarray(cv2.GaussianBlur(noisy, (9, 9), 3), np.uint8)
    assert sharpness(noisy) > 100 * sharpness(blurred)
    assert sharpness(np.full((10, 10), 7, np.uint8)) == 0


def test_only_what_is_asked_for_is_measured() -> None:
    picture = scene(1)
    assert measure(picture, ImageOptions(dedup=0)).sharpness is None
    assert measure(picture, ImageOptions(min_sharpness=1.0)).hash is None
    deep = np.left_shift(picture, 8, dtype=np.uint16)
    assert measure(deep, BOTH) == measure(picture, BOTH)
    assert measure(gray(picture), BOTH) == measure(picture, BOTH)


@pytest.mark.parametrize(
    ("mine", "before", "expected"),
    [
        (Measures(0b0000, 60.0), None, ("ok", None)),
        (Measures(0b0000, 50.0), None, ("ok", None)),
        (Measures(0b0000, 49.9), None, ("blurred", None)),
        (Measures(0b1111, 60.0), Measures(0b0000, 60.0), ("duplicate", 4)),
        (Measures(0b11111, 60.0), Measures(0b00000, 60.0), ("ok", 5)),
        (Measures(0b0000, 10.0), Measures(0b0000, 60.0), ("blurred", 0)),
        # of two that are alike, the first of which is blurred, one is left
        (Measures(0b0000, 60.0), Measures(0b0000, 10.0), ("ok", 0)),
    ],
)
def test_verdicts(mine: Measures, before: Measures | None, expected: tuple[str, int | None]) -> None:
    assert verdict(mine, before, BOTH) == expected


def test_limits_agree() -> None:
    assert MAX_DEDUP == MAX_DISTANCE


def of_clip(path: Path, folder: Path, image: ImageOptions, start: int = 0) -> UnitResult:
    info = probe(path)
    folder.mkdir()
    with OpenVideo(path) as video:
        return extract(
            video, info.first_pts, Sampling(Fraction(5)), start, None, image=image, folder=folder,
            checkpoint=lambda done_to, frames: None,
        )  # fmt: skip


def test_dropped_frames_have_rows_and_no_files(clips: Path, tmp_path: Path) -> None:
    path = clips / "h264-closed.mp4"
    whole = of_clip(path, tmp_path / "whole", ImageOptions()).rows
    far = [row.distance for row in of_clip(path, tmp_path / "far", ImageOptions(dedup=0)).rows]
    assert far[0] is None
    limit = sorted(each for each in far if each is not None)[len(far) // 2]
    rows = of_clip(path, tmp_path / "some", ImageOptions(dedup=limit)).rows
    assert [(row.sample, row.pts) for row in rows] == [(row.sample, row.pts) for row in whole]
    dropped = [row for row in rows if row.is_dropped]
    assert 0 < len(dropped) < len(rows)
    assert {(row.file, row.sha256, row.bytes, row.status) for row in dropped} == {("", "", 0, "duplicate")}
    kept = {row.file: row.sha256 for row in rows if not row.is_dropped}
    assert kept.items() <= {row.file: row.sha256 for row in whole}.items()
    assert {each.name for each in (tmp_path / "some").iterdir()} == set(kept)


def test_the_sample_before_a_range_costs_no_more_than_roll_in(clips: Path, tmp_path: Path) -> None:
    path = clips / "h264-closed.mp4"
    plain = of_clip(path, tmp_path / "a", ImageOptions(), start=7)
    chosen = of_clip(path, tmp_path / "b", ImageOptions(dedup=0), start=7)
    assert chosen.rows[0].distance is not None
    assert chosen.roll_in > plain.roll_in
    assert chosen.decoded - chosen.roll_in == plain.decoded - plain.roll_in


def test_nothing_is_measured_unless_asked_for(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> Measures:
        raise AssertionError("nobody asked")

    monkeypatch.setattr(writer, "measure", refuse)
    rows = of_clip(clips / "h264-closed.mp4", tmp_path / "out", ImageOptions(), start=3).rows
    assert {(row.distance, row.sharpness) for row in rows} == {(None, None)}
