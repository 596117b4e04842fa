"""Names of videos and folders: safe, unique, and stable, whatever the bytes."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.names import MAX_COMPONENT_BYTES, output_folders, safe_component, video_names

COMPONENTS = st.one_of(
    st.binary(min_size=1, max_size=300).map(lambda part: part.replace(b"/", b"_").replace(b"\0", b"_")),
    st.sampled_from(
        [b"a", b"a.mp4", b"a.mov", b"a.mp4.mkv", b"00000000.jpg", b"00000000.jpg.mp4", b"%0A", b"\n", b"..a",
         b"a.", b"a. ", b"A.mp4", b"\xff.mp4", b"%FF.mp4", b"x" * 251 + b".mp4", "é".encode() * 126 + b".mkv"]
    ),
)  # fmt: skip
PATHS = st.lists(
    st.lists(COMPONENTS, min_size=1, max_size=3).map(b"/".join), min_size=1, max_size=12, unique=True
)


def folders(*paths: str) -> list[str]:
    return output_folders([path.encode() for path in paths])


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["a.mp4", "b.mov"], ["a", "b"]),
        (["day 1/cam.mp4", "day 2/cam.mp4"], ["day 1/cam", "day 2/cam"]),
        (["a.mp4", "a.mov", "b.mp4"], ["a.mp4", "a.mov", "b"]),
        (["a.mp4", "a.mov", "a.mp4.mkv"], ["a.mp4", "a.mov", "a.mp4.mkv"]),
        (["a.mp4", "a.json", "a.srt"], ["a", "a.json", "a.srt"]),
        (["a.mp4", "a"], ["a.mp4", "a"]),
        (["a\nb.mp4"], ["a%0Ab"]),
        (['it\'s "x".mp4'], ["it's %22x%22"]),
        (["Ünïcödé 视频.mp4"], ["Ünïcödé 视频"]),
        (["00000007.jpg.mp4"], ["00000007%2Ejpg"]),
        (["00000007.jpg/v.mp4"], ["00000007%2Ejpg/v"]),
        ([".mp4"], [".mp4"]),
    ],
)
def test_folders(paths: list[str], expected: list[str]) -> None:
    assert folders(*paths) == expected


def test_names_show_bytes_that_are_not_utf8() -> None:
    assert video_names([b"caf\xe9/\xff.mp4"]) == ["caf%E9/%FF.mp4"]


@given(PATHS)
def test_folders_are_safe_and_unique_in_any_order(paths: list[bytes]) -> None:
    result = output_folders(paths)
    assert len(set(result)) == len(paths)
    shuffled = random.Random(0).sample(paths, len(paths))
    assert dict(zip(shuffled, output_folders(shuffled), strict=True)) == dict(zip(paths, result, strict=True))
    for folder in result:
        for part in folder.split("/"):
            assert part not in ("", ".", "..")
            assert len(part.encode()) <= MAX_COMPONENT_BYTES
            assert not re.fullmatch(r"\d{8,}\.[^.]+", part)
            assert not re.search(r"[\x00-\x1f\x7f\\]", part)


@given(PATHS)
def test_names_are_unique_text(paths: list[bytes]) -> None:
    names = video_names(paths)
    assert len(set(names)) == len(paths)
    for name in names:
        name.encode("utf-8")


@given(st.text(min_size=1).map(lambda part: part.replace("/", "_")))
def test_escaping_is_one_to_one(part: str) -> None:
    safe = safe_component(part)
    if len(safe.encode()) < MAX_COMPONENT_BYTES - 20:
        back = re.sub(r"(%[0-9A-F]{2})+", lambda m: bytes.fromhex(m.group().replace("%", "")).decode(), safe)
        assert back == part
