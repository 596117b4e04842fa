"""The user's files of times and ranges: what they may look like, and what is told when they do not."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framefleet.common.errors import UserError
from framefleet.common.job.selection import Selection
from framefleet.common.job.spec import SamplingOptions
from framefleet.launcher.options.sampling_files import read_ranges, read_timestamps

FILE = "given.txt"


def times_in(folder: Path, content: str | bytes, video: str = "any") -> tuple[Fraction, ...] | None:
    path = folder / FILE
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    selection = Selection(SamplingOptions(timestamps="t"), timestamps=read_timestamps(path))
    sampling = selection.of(video)
    return None if sampling is None else sampling.times


@pytest.mark.parametrize(
    "content",
    [
        "0.5\n1/3\n0:00:02\n",
        "# from the cutting room\n\n2\n  0.50 \n0.5\n1/3",
        b"\xef\xbb\xbf2.0\r\n1/3\r\n0.5\r\n",
    ],
)
def test_a_list_for_every_video(tmp_path: Path, content: str | bytes) -> None:
    assert times_in(tmp_path, content) == (Fraction(1, 3), Fraction(1, 2), Fraction(2))


@pytest.mark.parametrize(
    "content",
    [
        'video,seconds\na.mp4,2\n"b, c.mp4",7\na.mp4,0.5\n',
        b'\xef\xbb\xbf# a, b\r\nSeconds,note,Video\r\n0.5,,a.mp4\r\n\r\n0:02,,a.mp4\r\n7,,"b, c.mp4"',
    ],
)
def test_times_for_videos_that_are_named(tmp_path: Path, content: str | bytes) -> None:
    assert times_in(tmp_path, content, "a.mp4") == (Fraction(1, 2), Fraction(2))
    assert times_in(tmp_path, content, "b, c.mp4") == (Fraction(7),)
    assert times_in(tmp_path, content, "d.mp4") is None


@given(
    st.lists(
        st.one_of(st.fractions(0, 3, max_denominator=10**12), st.integers(0, 9).map(Fraction)), min_size=1
    )
)
def test_times_are_sorted_exactly_and_none_is_there_twice(times: list[Fraction]) -> None:
    near = [time + Fraction(1, 10**18) for time in times]  # the same as floats
    with tempfile.TemporaryDirectory() as folder:
        lines = "\n".join(f"{time.numerator}/{time.denominator}" for time in times + near + times)
        assert times_in(Path(folder), lines) == tuple(sorted({*times, *near}))


def test_fractions_without_a_common_denominator_are_sorted_too(tmp_path: Path) -> None:
    odd = range(10_001, 10_801, 2)  # of their common multiple, over a thousand bits are needed
    assert times_in(tmp_path, "\n".join(f"1/{number}" for number in odd)) == tuple(
        Fraction(1, number) for number in reversed(odd)
    )


@pytest.mark.parametrize(
    ("read", "content", "words"),
    [
        (read_timestamps, "1\n\n# x\ntwo\n", ["line 4", "'two'", "is not a number of seconds: give"]),
        (read_timestamps, "1\n-2\n", ["line 2", "'-2'", "negative"]),
        (read_timestamps, "video;seconds\na.mp4;1\n", ["line 1", "'video;seconds'"]),
        (read_timestamps, "", ["is empty"]),
        (read_timestamps, "# nothing\n", ["holds no times"]),
        (read_timestamps, "video,seconds\n", ["holds no times"]),
        (read_timestamps, "video,seconds\na.mp4,1\na.mp4\n", ["line 3", "it lacks one of video, seconds"]),
        (read_timestamps, "video,seconds\n,1\n", ["line 2", "it lacks"]),
        (read_timestamps, "video,seconds\na.mp4,x\n", ["line 2", "'a.mp4,x'", "'x' is not"]),
        (read_timestamps, 'video,seconds\n"a.mp4,x\n', ["not valid CSV"]),
        (read_timestamps, b"1\n2\n\xff\n", ["line 3", "is not UTF-8"]),
        (read_timestamps, "1\n" + "9" * 200, ["line 2", "…"]),
        (read_ranges, "a.mp4,1,2\n", ["no header video,start,end"]),
        (read_ranges, "video,start,end\na.mp4,2,2.0\n", ["line 2", "not before its end"]),
        (read_ranges, "video,start,end\na.mp4,,0\n", ["line 2", "not before its end"]),
        (read_ranges, "video,start,end\na.mp4,1,2\na.mp4,3,4\n", ["line 3", "has a range already"]),
        (read_ranges, "video,start,end\n", ["holds no ranges"]),
    ],
)
def test_mistakes_are_told_with_their_line(
    tmp_path: Path, read: Callable[[Path], bytes], content: str | bytes, words: list[str]
) -> None:
    path = tmp_path / FILE
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as caught:
        read(path)
    text = str(caught.value)
    assert all(word in text for word in (*words, str(path)))
    assert len(text) < 300 + len(str(path))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--ranges .*nowhere\.csv cannot be read: No such file"):
        read_ranges(tmp_path / "nowhere.csv")
    with pytest.raises(UserError, match=r"--timestamps .* cannot be read: Is a directory"):
        read_timestamps(tmp_path)


def test_ranges_may_be_open(tmp_path: Path) -> None:
    path = tmp_path / FILE
    path.write_text("video,start,end\na.mp4,0:01,2.5\nb.mp4,,3\nc.mp4,1/3,\nd.mp4,,\n")
    options = SamplingOptions(fps="5", start="1", end="100", ranges="r")
    selection = Selection(options, ranges=read_ranges(path))
    found = [selection.of(f"{name}.mp4") for name in "abcde"]
    assert [(sampling.start, sampling.end) for sampling in found if sampling is not None] == [
        (Fraction(1), Fraction(5, 2)),
        (Fraction(0), Fraction(3)),
        (Fraction(1, 3), None),
        (Fraction(0), None),
        (Fraction(1), Fraction(100)),
    ]
