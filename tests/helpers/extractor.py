"""Units of one open file, for tests: extracted in any order, each into a folder of its own."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from fractions import Fraction
from itertools import count, pairwise
from pathlib import Path

import msgspec

from framefleet.common.job.sampling import Sampling
from framefleet.common.job.spec import ImageOptions
from framefleet.common.media import FrameRow, UnitResult, VideoInfo
from framefleet.worker.extraction.extract import extract
from framefleet.worker.extraction.range_extraction import Checkpoint
from framefleet.worker.staging import STAGED_BUNDLE
from framefleet.worker.video.open_video import OpenVideo
from framefleet.worker.video.probe import probe
from tests.helpers.clips import CLIPS

PNG = ImageOptions(format="png")
NATIVE = Sampling(None)
FIVE = Sampling(Fraction(5))
ODD_RATE = Sampling(Fraction(24_000, 1001))
SEEKABLE = sorted(name for name, (suffix, _) in CLIPS.items() if suffix not in (".ts", ".avi"))


class Extractor:
    """One open file and the units asked of it, each in a folder of its own."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.info: VideoInfo = probe(path)
        self.video = OpenVideo(path)
        self._folder = folder
        self._numbers = count()

    def unit(
        self,
        sampling: Sampling,
        start: int = 0,
        stop: int | None = None,
        *,
        checkpoint: Checkpoint = lambda done_to, frames: None,
        image: ImageOptions = PNG,
        bundled: bool = False,
    ) -> tuple[UnitResult, Path]:
        folder = self._folder / str(next(self._numbers))
        folder.mkdir(parents=True)
        result = extract(
            self.video,
            self.info.first_pts,
            sampling,
            start,
            stop,
            image=image,
            folder=folder,
            checkpoint=checkpoint,
            duration_s=self.info.duration_s,
            bundled=bundled,
        )
        if bundled:
            check_bundle(folder, result.rows)
        else:
            assert {row.file for row in result.rows} == {path.name for path in folder.iterdir()}
        return result, folder

    def cut(self, sampling: Sampling, cuts: Sequence[int], *, shuffle: int = 0) -> list[FrameRow]:
        """All rows, in order, of the units between ``cuts``, done in an order of their own; into bundles, of
        which the rows then say nothing."""
        units = list(pairwise([0, *cuts, None]))
        random.Random(shuffle).shuffle(units)
        found = {
            start or 0: self.unit(sampling, start or 0, stop, bundled=True)[0].rows for start, stop in units
        }
        return [msgspec.structs.replace(row, place=None) for start in sorted(found) for row in found[start]]

    def last_position(self, sampling: Sampling, rows: Sequence[FrameRow]) -> int:
        return sampling.position_of(rows[-1].pts - self.info.first_pts, self.info.time_base)


def check_bundle(folder: Path, rows: Sequence[FrameRow]) -> None:
    """A bundle has the images of all rows, where they say, and nothing else."""
    path = folder / STAGED_BUNDLE
    data = path.read_bytes() if path.exists() else b""
    assert list(folder.iterdir()) == [path] * path.exists()
    end = 0
    for row in rows:
        assert row.place == end
        end += row.bytes
        assert hashlib.sha256(data[row.place : end]).hexdigest() == row.sha256
    assert end == len(data)


def clip(clips: Path, name: str) -> Path:
    return clips / f"{name}{CLIPS[name][0]}"


def same(rows: Sequence[FrameRow]) -> list[tuple[int, str, str]]:
    """What no cut may change; the number is left out, for native counts within the unit."""
    return [(row.pts, row.sha256, row.status) for row in rows]
