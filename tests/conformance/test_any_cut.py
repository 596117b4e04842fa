"""Any way of sampling gives the same frames however it is cut: on each generated clip, and each real file.

Only the decisions and the pixels count here, so a digest takes the place of an encoder.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from framefleet.common.job.sampling import Sampling
from framefleet.common.job.spec import ImageOptions
from framefleet.worker.extraction.extract import extract
from framefleet.worker.picture import render as images
from framefleet.worker.video.open_video import OpenVideo
from framefleet.worker.video.probe import probe
from tests.helpers.clips import CLIPS

VIDEOS = Path(__file__).resolve().parents[2].parent / "shared" / "videos" / "clips"
LONG = "androidx-media__long_1080p_lowbitrate.mp4"  # minutes each time it is decoded
BIG_BYTES = 1_000_000
EXAMPLES_SMALL, EXAMPLES_BIG = 6, 2

Row = tuple[int, int, str | None, str, int | None, float | None]  # (sample or 0, pts, digest, status, ...)
ALL = ImageOptions()
CHOSEN = ImageOptions(dedup=6, min_sharpness=60.0)


def samplings(duration_s: float) -> st.SearchStrategy[Sampling]:
    """All modes, over the whole of a video of this length or a part of it."""
    moments = st.integers(0, int(duration_s * 1000) + 500).map(lambda ms: Fraction(ms, 1000))
    limits = st.one_of(
        st.just((Fraction(0), None)),
        st.tuples(moments, moments).map(lambda pair: (min(pair), max(pair) + Fraction(1, 7))),
    )
    modes: st.SearchStrategy[dict[str, Any]] = st.one_of(
        st.fractions(Fraction(1, 10), Fraction(70), max_denominator=1001).map(lambda f: {"rate": f}),
        st.just({}),
        st.integers(2, 40).map(lambda n: {"every": n}),
        st.just({"keyframes_only": True}),
        st.lists(moments, min_size=1, max_size=12, unique=True).map(lambda t: {"times": tuple(sorted(t))}),
    )
    return st.builds(
        lambda mode, limit: Sampling(**{"rate": None, "start": limit[0], "end": limit[1]} | mode),
        modes,
        limits,
    )


def rows(
    video: OpenVideo,
    first_pts: int,
    sampling: Sampling,
    bounds: Sequence[int | None],
    folder: Path,
    image: ImageOptions,
) -> list[Row]:
    """What the units between ``bounds`` give, in order."""
    found: list[Row] = []
    rank = 0
    for start, stop in pairwise(bounds):
        assert start is not None
        result = extract(
            video,
            first_pts,
            sampling,
            start,
            stop,
            image=image,
            folder=folder,
            checkpoint=lambda done_to, frames: None,
            rank=rank,
        )
        rank += result.shown
        for row in result.rows:
            digest = None
            if not row.is_dropped:
                path = folder / row.file
                digest = path.read_text()
                path.unlink()
            sample = 0 if sampling.numbered_by_order else row.sample
            found.append((sample, row.pts, digest, row.status, row.distance, row.sharpness))
    assert not list(folder.iterdir())
    return found


def check(path: Path, tmp_path: Path, examples: int) -> None:
    info = probe(path)

    @seed(zlib.crc32(path.name.encode()))
    @settings(max_examples=examples, database=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def any_cut(data: st.DataObject) -> None:
        sampling = data.draw(samplings(min(info.duration_s or 3.0, 60.0)))
        image = data.draw(st.sampled_from([ALL, CHOSEN]))
        low, high = sampling.range_of(info.time_base)
        with OpenVideo(path) as video:
            whole = rows(video, info.first_pts, sampling, [low, high], tmp_path, image)
            if not info.seekable or not whole:
                return
            last = sampling.position_of(whole[-1][1] - info.first_pts, info.time_base)
            inside = st.integers(low + 1, max(low + 1, last + 1))
            cuts = sorted(data.draw(st.sets(inside, max_size=4)))
            bounds = [low, *(cut for cut in cuts if high is None or cut < high), high]
            assert rows(video, info.first_pts, sampling, bounds, tmp_path, image) == whole

    any_cut()


@pytest.fixture
def digests(monkeypatch: pytest.MonkeyPatch) -> None:
    def digest(image: images.Image, options: ImageOptions) -> bytes:
        return hashlib.md5(image.tobytes()).hexdigest().encode()

    monkeypatch.setattr(images, "encode", digest)


@pytest.mark.parametrize("name", CLIPS)
def test_generated_clips(clips: Path, tmp_path: Path, digests: None, name: str) -> None:
    check(clips / f"{name}{CLIPS[name][0]}", tmp_path, EXAMPLES_SMALL)


@pytest.mark.skipif(
    not VIDEOS.is_dir(), reason=f"the real test videos are not at {VIDEOS}; they are not shipped"
)
@pytest.mark.parametrize(
    "path", sorted(path for path in VIDEOS.glob("*") if path.name != LONG), ids=lambda path: path.name
)
def test_real_files(tmp_path: Path, digests: None, path: Path) -> None:
    check(path, tmp_path, EXAMPLES_BIG if path.stat().st_size > BIG_BYTES else EXAMPLES_SMALL)
