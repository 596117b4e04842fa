"""Options that mean the same are the same, and what is done travels as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from common.done import DONE_FILE, DoneRange, DoneVideo, encode_done, frame_options, read_done
from common.errors import UserError
from common.spec import ImageOptions, SamplingOptions


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


def test_what_is_done_comes_back(tmp_path: Path) -> None:
    assert read_done(tmp_path) == {}
    video = DoneVideo("a/Ünï.mp4", False, [DoneRange(0, 5, 5, 25), DoneRange(9, None, 1, 2)], 6, 1, 600)
    (tmp_path / DONE_FILE).write_bytes(encode_done([video]))
    assert read_done(tmp_path) == {"a/Ünï.mp4": video}
    (tmp_path / DONE_FILE).write_bytes(b"\xc1")
    with pytest.raises(UserError, match=r"done\.msgpack"):
        read_done(tmp_path)
