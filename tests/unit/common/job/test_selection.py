"""What a job wants of each video: options, and tables that say otherwise for some."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framefleet.common.errors import UserError
from framefleet.common.job.sampling import Sampling
from framefleet.common.job.selection import (
    OPEN,
    Selection,
    Table,
    base_sampling,
    encode_table,
    format_seconds,
    parse_seconds,
)
from framefleet.common.job.spec import SamplingOptions
from framefleet.common.output.video_names import video_name

TIMES = "times.tsv"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", Fraction(7)),
        (" 0.1 ", Fraction(1, 10)),
        (".5", Fraction(1, 2)),
        ("7.", Fraction(7)),
        ("1/3", Fraction(1, 3)),
        ("1e-3", Fraction(1, 1000)),
        ("1:02:03.5", Fraction(7447, 2)),
        ("90:00", Fraction(5400)),
        ("0:00:00.04", Fraction(1, 25)),
    ],
)
def test_a_time_is_read_exactly(text: str, seconds: Fraction) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not a number"),
        ("soon", "not a number"),
        ("1,5", "not a number"),
        ("nan", "not a number"),
        ("٣", "not a number"),
        ("1_000", "not a number"),
        ("1:2:3:4", "not a number"),
        ("1e999", "not a number"),
        ("9" * 70, "not a number"),
        ("-1", "negative"),
        ("1/0", "zero"),
        ("0:60", "59"),
        ("1:60:00", "59"),
        ("1e10", "limit"),
        ("10000000000", "limit"),
    ],
)
def test_what_is_no_time(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_seconds(text)


@pytest.mark.parametrize(
    ("options", "sampling"),
    [
        (SamplingOptions(fps="5"), Sampling(Fraction(5))),
        (SamplingOptions(fps="native", end="2"), Sampling(end=Fraction(2))),
        (SamplingOptions(every=3, start="0:01"), Sampling(every=3, start=Fraction(1))),
        (SamplingOptions(keyframes=True), Sampling(keyframes_only=True)),
        (SamplingOptions(timestamps=TIMES), Sampling(times=())),
    ],
)
def test_options_make_a_sampling(options: SamplingOptions, sampling: Sampling) -> None:
    assert base_sampling(options) == sampling


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (SamplingOptions(), "not none"),
        (SamplingOptions(fps="5", every=2), "not --fps and --every"),
        (SamplingOptions(keyframes=True, timestamps=TIMES), "not --keyframes and --timestamps"),
        (SamplingOptions(fps="5", start="3", end="0:03"), "--start 3 is not before --end 0:03"),
        (SamplingOptions(fps="5", start="tomorrow"), "--start 'tomorrow' is not a number of seconds: give"),
        (SamplingOptions(fps="5", end="-1"), "--end '-1' is negative: give"),
        (SamplingOptions(fps="much"), "'much'"),
    ],
)
def test_options_that_do_not_go_together(options: SamplingOptions, words: str) -> None:
    with pytest.raises(UserError) as caught:
        Selection(options)
    assert words in str(caught.value)


def test_every_video_has_the_times_of_a_list() -> None:
    table = encode_table([(None, ["0", "1/3", "5/2"])])
    selection = Selection(SamplingOptions(timestamps=TIMES, start="0.1"), timestamps=table)
    sampling = selection.of("any.mp4")
    assert sampling == Sampling(times=(Fraction(0), Fraction(1, 3), Fraction(5, 2)), start=Fraction(1, 10))
    other = selection.of("other.mp4")
    assert other is not None
    assert other.times is sampling.times if sampling else False, "a million times are kept once"
    assert selection.wants("any.mp4")
    assert list(selection.named()) == []


def test_only_videos_with_times_of_their_own_are_wanted() -> None:
    table = encode_table([("b.mp4", ["1"]), ("a\t.mp4", ["2", "3"])])
    selection = Selection(SamplingOptions(timestamps=TIMES), timestamps=table)
    assert selection.of("a\t.mp4") == Sampling(times=(Fraction(2), Fraction(3)))
    assert selection.of("c.mp4") is None
    assert [name for name in ("a\t.mp4", "b.mp4", "c.mp4") if selection.wants(name)] == ["a\t.mp4", "b.mp4"]
    assert sorted(selection.named()) == [("--timestamps", "a\t.mp4"), ("--timestamps", "b.mp4")]


def test_a_range_of_its_own_overrides_the_limits_of_all() -> None:
    table = encode_table([("a", ["1/2", "2"]), ("b", [OPEN, "2"]), ("c", ["1", OPEN])])
    options = SamplingOptions(every=2, start="5", end="9", ranges="r.tsv", max_frames_per_video=4)
    selection = Selection(options, ranges=table)
    assert selection.of("a") == Sampling(every=2, start=Fraction(1, 2), end=Fraction(2))
    assert selection.of("b") == Sampling(every=2, end=Fraction(2))
    assert selection.of("c") == Sampling(every=2, start=Fraction(1))
    assert selection.of("d") == Sampling(every=2, start=Fraction(5), end=Fraction(9))
    assert selection.limit == 4


def test_the_order_of_units_counts_for_numbers_and_limits_only() -> None:
    assert not Selection(SamplingOptions(fps="5")).in_order
    assert Selection(SamplingOptions(fps="5", max_frames_per_video=3)).in_order
    assert Selection(SamplingOptions(fps="native")).in_order
    assert Selection(SamplingOptions(keyframes=True)).in_order


@given(
    st.dictionaries(st.binary(min_size=1, max_size=12).map(video_name), st.integers(0, 10**9), max_size=40)
)
def test_a_table_finds_what_was_put_in_whatever_the_names(numbers: dict[str, int]) -> None:
    table = Table(encode_table((name, [format_seconds(number, 7)]) for name, number in numbers.items()))
    assert {name: table.find(name) for name in numbers} == {
        name: f"{number}/7" for name, number in numbers.items()
    }
    assert set(table.names()) == set(numbers)
    assert table.find("another name") is None
    assert table.find(None) is None


def test_files_are_read_from_the_folder_of_the_job(tmp_path: Path) -> None:
    options = SamplingOptions(timestamps=TIMES)
    with pytest.raises(UserError, match=r"times\.tsv, a part of the job"):
        Selection.load(options, tmp_path)
    (tmp_path / TIMES).write_bytes(encode_table([(None, ["4"])]))
    assert Selection.load(options, tmp_path).of("x") == Sampling(times=(Fraction(4),))


def test_a_damaged_table_is_told_of(tmp_path: Path) -> None:
    selection = Selection(SamplingOptions(timestamps=TIMES), timestamps=b'"a"\t1 x\n')
    with pytest.raises(UserError, match="damaged"):
        selection.of("a")
