"""The launcher's options on sampling: what reaches the specification, and what is refused."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from framefleet.common.errors import UserError
from framefleet.common.job.selection import Selection
from framefleet.common.job.spec import SamplingOptions
from framefleet.launcher.options.sampling import NAMES, make_sampling, sampling_options

seen: dict[str, Any] = {}


@click.command()
@sampling_options
def command(**options: Any) -> None:
    seen.clear()
    seen.update(options)


def run(*arguments: str) -> SamplingOptions:
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    assert set(seen) == set(NAMES)
    return make_sampling(seen).options


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ("", SamplingOptions(fps="5")),
        ("--fps native --start 1", SamplingOptions(fps="native", start="1")),
        ("--every 3 --end 0:07", SamplingOptions(every=3, end="0:07")),
        ("--keyframes --max-frames-per-video 2", SamplingOptions(keyframes=True, max_frames_per_video=2)),
    ],
)
def test_options_reach_the_specification(arguments: str, options: SamplingOptions) -> None:
    assert run(*arguments.split()) == options


def test_files_travel_with_the_job(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("1\n0.5\n")
    (tmp_path / "r.csv").write_text("video,start,end\na.mp4,0,1\n")
    options = run("--timestamps", str(tmp_path / "t.txt"), "--ranges", str(tmp_path / "r.csv"))
    files = make_sampling(seen).files
    assert options.timestamps is not None
    assert options.ranges is not None
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    sampling = Selection.load(options, tmp_path).of("a.mp4")
    assert sampling is not None
    assert (sampling.times, sampling.end) == ((Fraction(1, 2), Fraction(1)), Fraction(1))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--fps 5 --every 2", "not --fps and --every"),
        ("--keyframes --fps native", "not --fps and --keyframes"),
        ("--start 2 --end 1", "--start 2 is not before --end 1"),
        ("--timestamps nowhere.txt", "nowhere.txt cannot be read"),
        ("--ranges nowhere.csv", "nowhere.csv cannot be read"),
        ("--max-frames-per-video 1000000001", "--max-frames-per-video 1000000001 is above the limit"),
    ],
)
def test_what_does_not_go_together_is_refused(arguments: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        run(*arguments.split())


@pytest.mark.parametrize("arguments", ["--every 0", "--max-frames-per-video 0", "--every half"])
def test_counts_begin_at_one(arguments: str) -> None:
    assert CliRunner().invoke(command, arguments.split()).exit_code == 2
