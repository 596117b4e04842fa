"""Names of videos and folders: safe, unique, and stable, whatever the bytes."""

from __future__ import annotations

import os
import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framefleet.common.output.video_names import (
    MAX_COMPONENT_BYTES,
    MAX_FOLDER_BYTES,
    output_folders,
    safe_component,
    video_name,
)

AWKWARD = [
    b"a", b"a.mp4", b"a.mov", b"a.txt", b"a.mp4.mkv", b"a.mp4.mkv.avi", b"A.mp4", b".mp4", b"", b".", b"..",
    b"...", b"..a", b"a.", b"a. ", b"a. .mp4", b"00000000.jpg", b"00000000.jpg.mp4", b"00000000%2Ejpg",
    b"%0A", b"\n", b"%", b"%%41", b"%25", b"%2541", b"%C3", b"%25C3", b"%~", b"~", b"\0", b"\xff.mp4",
    b"%FF.mp4", b"%25FF.mp4", b"\xed\xa0\x80", b"\xe9", b"\xc3\xa9", b"x" * 251 + b".mp4",
    b"1" * 251 + b".mp4", b"\xff" * 255, "é".encode() * 126 + b".mkv", b"\n" * 200 + b".mov", b"\\",
    b"c:\\a.mp4", "\u2028".encode(), "\ufffe".encode(),
]  # fmt: skip
COMPONENTS = st.one_of(
    st.sampled_from(AWKWARD),
    st.binary(max_size=300).map(lambda part: part.replace(b"/", b"_")),
    st.text("aA1.%~ \n\\é2F", max_size=9).map(str.encode),
)
PATHS = st.lists(
    st.lists(COMPONENTS, min_size=1, max_size=5).map(b"/".join), min_size=1, max_size=12, unique=True
)

# how long an example takes depends on what else the machine does


def folders(*paths: str) -> list[str]:
    return output_folders([path.encode() for path in paths])


def check_safe(folder: str) -> None:
    assert len(folder.encode()) <= MAX_FOLDER_BYTES
    for part in folder.split("/"):
        assert part not in ("", ".", "..")
        assert len(part.encode()) <= MAX_COMPONENT_BYTES
        assert not re.fullmatch(r"\d{8,}\.[^.]+", part)
        assert not re.search(r'[\x00-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff\\:*?"<>|]|[. ]\Z', part)


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["a.mp4", "b.mov"], ["a", "b"]),
        (["day 1/cam.mp4", "day 2/cam.mp4"], ["day 1/cam", "day 2/cam"]),
        (["a.mp4", "a.mov", "b.mp4"], ["a.mp4", "a.mov", "b"]),
        (["a.mp4", "a.mov", "a.mp4.mkv"], ["a.mp4", "a.mov", "a.mp4.mkv"]),
        (
            ["a.mp4.mkv.avi", "a.mp4.mkv", "a.mov", "a.mp4"],
            ["a.mp4.mkv.avi", "a.mp4.mkv", "a.mov", "a.mp4"],
        ),
        (["a.mp4", "a.mp4.mkv"], ["a", "a.mp4"]),
        (["a.mp4", "a.json", "a.SRT"], ["a", "a.json", "a.SRT"]),
        (["a.json.mp4", "a.json"], ["a.json.mp4", "a.json"]),
        (["a.mp4", "a"], ["a.mp4", "a"]),
        (["a.mp4", "a/b.mp4", "A.mp4"], ["a", "a/b", "A"]),
        (["a\nb.mp4", "a%0Ab.mp4"], ["a%0Ab", "a%250Ab"]),
        (["a\nb.mp4", "a\nb.mov"], ["a%0Ab.mp4", "a%0Ab.mov"]),
        (["100%.mp4"], ["100%"]),
        (['it\'s "x".mp4'], ["it's %22x%22"]),
        (["Ünïcödé 视频.mp4"], ["Ünïcödé 视频"]),
        (["c:\\x?.mp4"], ["c%3A%5Cx%3F"]),
        (["00000007.jpg.mp4"], ["00000007%2Ejpg"]),
        (["00000007.jpg/v.mp4"], ["00000007%2Ejpg/v"]),
        (["20240101.mp4", "20240101.mov"], ["20240101%2Emp4", "20240101%2Emov"]),
        (["0000007.jpg/v.mp4"], ["0000007.jpg/v"]),
        ([".mp4"], [".mp4"]),
        (["a. .mp4"], ["a.%20"]),
        (["../../etc/passwd.mp4", "/root.mp4"], [".%2E/.%2E/etc/passwd", "%~/root"]),
    ],
)
def test_folders(paths: list[str], expected: list[str]) -> None:
    assert folders(*paths) == expected


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (b"caf\xe9/\xff.mp4", "caf%E9/%FF.mp4"),
        ("café/视频 1.mp4".encode(), "café/视频 1.mp4"),
        (b"caf%E9.mp4", "caf%25E9.mp4"),
        (b"100%/My%20Video.mp4", "100%/My%20Video.mp4"),
        (b"a\nb.mp4", "a\nb.mp4"),
    ],
)
def test_names_show_what_utf8_cannot(path: bytes, name: str) -> None:
    assert video_name(path) == name


def test_a_long_component_keeps_its_beginning() -> None:
    (folder,) = output_folders([b"day/" + "é".encode() * 200])
    day, name = folder.split("/")
    assert day == "day"
    assert name.startswith("é" * 100)
    check_safe(folder)


def test_a_long_path_keeps_its_first_folders() -> None:
    parts = [f"{number}-{'x' * 120}" for number in range(10)]
    same_start = folders("/".join(parts) + "/a.mp4", "/".join(parts) + "/b.mp4")
    assert len(set(same_start)) == 2
    for folder in same_start:
        assert folder.startswith("/".join(parts[:3]) + "/")
        check_safe(folder)


@given(PATHS)
def test_folders_are_safe_and_unique_in_any_order(paths: list[bytes]) -> None:
    result = output_folders(paths)
    assert len(set(result)) == len(paths)
    shuffled = random.Random(0).sample(paths, len(paths))
    assert dict(zip(shuffled, output_folders(shuffled), strict=True)) == dict(zip(paths, result, strict=True))
    for folder in result:
        check_safe(folder)


@given(PATHS)
def test_names_are_text_and_say_which_path_it_was(paths: list[bytes]) -> None:
    for path in paths:
        name = video_name(path)
        shown = re.sub(rb"%(25|[89A-F][0-9A-F])", lambda m: bytes.fromhex(m[1].decode()), name.encode())
        assert shown == path


@given(PATHS)
def test_files_named_like_results_change_nothing(paths: list[bytes]) -> None:
    """An adversary who knows the rules cannot make two videos share a name or a folder."""
    forged = {*paths, *(name.encode() for name in (*map(video_name, paths), *output_folders(paths)))}
    assert len({video_name(path) for path in forged}) == len(forged)
    assert len(set(output_folders(sorted(forged)))) == len(forged)


@given(COMPONENTS)
def test_escaping_is_one_to_one(part: bytes) -> None:
    safe = safe_component(os.fsdecode(part))
    if "%~" not in safe:
        assert re.sub(rb"%([0-9A-F]{2})", lambda m: bytes.fromhex(m[1].decode()), safe.encode()) == part
    else:
        assert not part or len(safe.encode()) > MAX_COMPONENT_BYTES - 8
