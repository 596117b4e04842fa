"""A job that made no frame is no success, and says why."""

from __future__ import annotations

import pytest

from framefleet.common.job.completed import DoneVideo
from framefleet.common.protocol import messages as m
from framefleet.common.status import Failure, nothing_made
from framefleet.coordinator.core.core import Core
from framefleet.coordinator.events import Conclude
from framefleet.coordinator.status.summaries import summary
from framefleet.launcher.console.summary import _figures
from framefleet.launcher.output.combine_summaries import combine_summaries
from tests.helpers.core_bench import Bench, assigned
from tests.unit.launcher.output.test_combine_summaries import summary as share


def outcome(bench: Bench) -> tuple[str, str]:
    (end,) = [action for action in bench.others if isinstance(action, Conclude)]
    return end.outcome, end.reason


def test_an_empty_input_is_no_success() -> None:
    bench = Bench(videos=0, hosts=("a",))
    said = bench.hello("a")
    assert outcome(bench) == ("failed", nothing_made(0, 0))
    assert m.End(failed=nothing_made(0, 0)) in [message for _, message in said]
    account = summary(bench.core, bench.now, *outcome(bench))  # type: ignore[arg-type]
    assert account.frames_lost
    assert account.efficiency == 0.0
    (line,) = _figures(account)
    assert line.endswith("no work")
    assert "100" not in line


def test_files_that_all_fail_are_no_success() -> None:
    bench = Bench(hosts=("a",))
    said = bench.hello("a")
    while probes := assigned(said):
        said = bench.say("a", m.Probed(lease=probes[0].lease, found=[], refused=[(0, "noise")], seconds=9.0))
    assert outcome(bench) == ("failed", "nothing was extracted: the only file in the input failed")


def test_options_that_fit_no_video_are_no_success() -> None:
    bench = Bench(hosts=("a",))
    bench.hello("a")
    bench.probe_all("a", 2.0)
    while bench.running("a"):
        bench.finish("a", bench.running("a")[0], frames=0)
    assert outcome(bench) == (
        "failed",
        "nothing was extracted: 1 video has no frame that the options ask for",
    )


def test_frames_that_an_earlier_run_made_are_a_success() -> None:
    bench = Bench(hosts=("a",))
    before = bench.core
    bench.core = Core(
        before.spec,
        selection=before.pool.selection,
        videos=[video.listed for video in before.pool.videos],
        problems=[],
        expected=["a"],
        now=bench.now,
        done={"0.mp4": DoneVideo("0.mp4", True, [], 5, 0, 100)},
    )
    bench.hello("a")
    assert outcome(bench) == ("completed", "")


def test_a_share_without_frames_fails_no_sharded_job_that_has_some() -> None:
    bench = Bench(videos=0, hosts=("a",), mode="sharded")
    bench.hello("a")
    assert outcome(bench) == ("completed", "")
    empty = share("b", busy_s=0.0, makespan_s=1.0, frames=0, videos=2, videos_failed=2, units=0)
    assert (
        combine_summaries([share("a", busy_s=1.0, makespan_s=1.0), empty], missing=[]).outcome == "completed"
    )
    none = combine_summaries([empty, empty], missing=[])
    assert (none.outcome, none.reason) == ("failed", nothing_made(4, 4))
    assert none.frames_lost
    assert none.efficiency == 0.0


@pytest.mark.parametrize(
    ("videos", "failed", "words"),
    [
        (0, 0, "there is no file in the input that the options ask for"),
        (3, 3, "all 3 files in the input failed"),
        (3, 1, "2 videos have no frame that the options ask for, and 1 failed"),
    ],
)
def test_the_reason_is_told(videos: int, failed: int, words: str) -> None:
    assert nothing_made(videos, failed) == f"nothing was extracted: {words}"


def test_a_problem_with_a_file_is_one_that_failed() -> None:
    bench = Bench(videos=0, hosts=("a",), problems=(Failure(video="x", kind="input", reason="gone"),))
    bench.hello("a")
    assert outcome(bench)[0] == "failed"
