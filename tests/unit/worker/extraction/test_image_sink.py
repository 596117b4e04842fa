"""Bundles hold what loose files would, also where images were taken back."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from framefleet.common.host.layout import Layout
from framefleet.common.media import FrameRow
from framefleet.worker.extraction.image_sink import BundleSink, LooseSink
from framefleet.worker.staging import STAGED_BUNDLE
from tests.helpers.publishing_hosts import stage


@pytest.fixture
def row(tmp_path: Path) -> FrameRow:
    return stage(Layout(tmp_path / "other"), 0, 1, range(1))[0]


def test_a_bundle_has_the_images_one_after_the_other(tmp_path: Path) -> None:
    bundle = BundleSink(tmp_path)
    assert not (tmp_path / STAGED_BUNDLE).exists()
    loose = LooseSink(tmp_path)
    for name, data, place in (("0.jpg", b"first", 0), ("1.jpg", b"second", 5), ("2.jpg", b"3", 11)):
        assert loose.add(name, data)[0] == bundle.add(name, data)[0]
        assert (tmp_path / STAGED_BUNDLE).read_bytes()[place:] == data  # at once: nothing waits in memory
    bundle.close()
    assert (tmp_path / STAGED_BUNDLE).read_bytes() == b"firstsecond3"


def test_what_is_taken_back_is_gone(tmp_path: Path, row: FrameRow) -> None:
    bundle, loose = BundleSink(tmp_path), LooseSink(tmp_path)
    rows = []
    for number in range(4):
        digest, place = bundle.add("", b"abc")
        loose.add(f"{number}.jpg", b"abc")
        rows.append(msgspec.structs.replace(row, file=f"{number}.jpg", place=place, sha256=digest))
    for taken in reversed(rows[1:]):
        bundle.take_back(taken)
        loose.take_back(taken)
    assert (tmp_path / STAGED_BUNDLE).read_bytes() == b"abc"
    assert [path.name for path in tmp_path.glob("*.jpg")] == ["0.jpg"]
    assert bundle.add("", b"de")[1] == 3
    bundle.close()
    assert (tmp_path / STAGED_BUNDLE).read_bytes() == b"abcde"
