"""Options that mean the same are the same, and those that do not are not."""

from __future__ import annotations

from typing import Any

import pytest

from framefleet.common.job.spec import ImageOptions, SamplingOptions
from framefleet.launcher.output.job_fingerprint import frame_options


def options(sampling: dict[str, Any], image: dict[str, Any] | None = None) -> dict[str, str]:
    files = {"timestamps.tsv": b"1 2 3", "ranges.tsv": b"", "other.tsv": b"4"}
    return frame_options(SamplingOptions(**sampling), files, ImageOptions(**(image or {})))


def test_they_are_told_by_their_names() -> None:
    found = options({"every": 3, "max_frames_per_video": 7}, {"format": "png", "gray": True})
    assert found == {"--every": "3", "--max-frames-per-video": "7", "--format": "png", "--gray": "yes"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (({"fps": "5"}, {}), ({"fps": "5.0"}, {"quality": 95})),
        (({"fps": "30000/1001"}, {}), ({"fps": "60000/2002"}, {})),
        (({"fps": "1", "start": "90"}, {}), ({"fps": "1", "start": "0:01:30"}, {})),
        (({"fps": "1", "start": "0"}, {}), ({"fps": "1"}, {})),
        (({"fps": "native"}, {"format": "png"}), ({"fps": "native"}, {"format": "png", "depth": 8})),
    ],
)
def test_another_spelling_is_no_difference(one: Any, other: Any) -> None:
    assert options(*one) == options(*other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (({"fps": "5"}, {}), ({"fps": "native"}, {})),
        (({"fps": "native"}, {}), ({"every": 1}, {})),
        (({"fps": "5"}, {}), ({"fps": "5"}, {"quality": 94})),
        (({"fps": "5"}, {}), ({"fps": "5", "end": "1"}, {})),
        (({"timestamps": "timestamps.tsv"}, {}), ({"timestamps": "other.tsv"}, {})),
        (({"fps": "1"}, {}), ({"fps": "1", "ranges": "ranges.tsv"}, {})),
        (({"fps": "1"}, {"format": "webp"}), ({"fps": "1"}, {"format": "webp", "lossless": True})),
    ],
)
def test_what_changes_frames_is_a_difference(one: Any, other: Any) -> None:
    assert options(*one) != options(*other)
