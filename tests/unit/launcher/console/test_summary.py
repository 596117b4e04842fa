from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from framefleet.common.job.spec import ImageOptions, SamplingOptions
from framefleet.common.status import Failure, HostSummary, Summary
from framefleet.launcher.console.display import make_console
from framefleet.launcher.console.summary import print_result
from framefleet.launcher.job import EXIT_DONE, EXIT_INTERRUPTED, EXIT_LOST, JobRequest, JobResult
from framefleet.launcher.options.sampling import SamplingRequest


def summary(**changes: Any) -> Summary:
    values: dict[str, Any] = {
        "job_id": "job", "mode": "coordinated", "outcome": "completed", "reason": "",
        "started_at": "2024-01-01T00:00:00+00:00", "videos": 12, "videos_done": 11, "videos_failed": 1,
        "frames": 2830, "suspect_frames": 0, "bytes": 123_456_789, "units": 40, "retries": 0, "failures": 1,
        "frames_lost": False, "makespan_s": 20.0, "work_s": 38.0, "speed": 2.0, "lower_bound_s": 19.0,
        "efficiency": 0.95, "notes": [], "options": {},
        "hosts": [
            HostSummary(host=f"algo-{number}", state="left", slots=1, units=20, frames=1415, busy_s=19.0,
                        idle_share=0.05)
            for number in (1, 10, 2)
        ],
    }  # fmt: skip
    return Summary(**(values | changes))


def result(summary: Summary | None, **changes: Any) -> JobResult:
    values: dict[str, Any] = {
        "failures": [],
        "interrupted": False,
        "trouble": [],
        "lost": False,
        "log_tail": [],
        "frames_merged": 7,
    }
    return JobResult(summary=summary, **(values | changes))


def printed(result: JobResult, *, encoding: str = "utf-8") -> list[str]:
    request = JobRequest(
        input=Path("/in"),
        output=Path("/out"),
        instances=2,
        slots_per_instance=1,
        sampling=SamplingRequest(SamplingOptions(fps="5")),
        mode="coordinated",
        image=ImageOptions(),
        on_error="report",
    )
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    print_result(make_console(stream), request, result)
    stream.flush()
    return [line.rstrip() for line in raw.getvalue().decode(encoding).splitlines()]


def failure(video: str, **changes: Any) -> Failure:
    return Failure(video=video, kind="input", reason="not a video", **changes)


def test_table_figures_and_places() -> None:
    lines = printed(result(summary()))
    hosts = [line.split() for line in lines if line.lstrip().startswith("algo-")]
    assert hosts == [[f"algo-{number}", "1", "20", "1,415", "19.0", "5", "%"] for number in (1, 2, 10)]
    assert "2,830 frames (123.5 MB) from 11 of 12 videos, 1 failed, in 40 units" in lines
    assert "makespan 20.0 s, lower bound W/S = 38.0 s / 2 = 19.0 s, efficiency 95 %" in lines
    assert lines[-3:] == [
        "Frames:   /out/frames",
        "Manifest: /out/manifest",
        "Report:   /out/job/report.html",
    ]


def test_hostile_names_stay_on_their_line_on_any_terminal() -> None:
    names = [
        "a\nb.mp4",
        "\x1b[2Jc.mp4",
        "[red]d[/red].mp4",
        "e\udcff.mp4",
        "é \N{RIGHT-TO-LEFT OVERRIDE}.mp4",
    ]
    for encoding in ("utf-8", "ascii"):
        lines = printed(
            result(summary(failures=5), failures=[failure(name) for name in names]), encoding=encoding
        )
        shown = [line for line in lines if line.startswith("Failed: ")]
        assert shown[:4] == [
            "Failed: a\\nb.mp4: not a video",
            "Failed: \\x1b[2Jc.mp4: not a video",
            "Failed: [red]d[/red].mp4: not a video",
            "Failed: e\\udcff.mp4: not a video",
        ]
        assert shown[4].removeprefix("Failed: ").replace("\\xe9", "é") == "é \\u202e.mp4: not a video"


def test_folder_without_files_is_told() -> None:
    lines = printed(
        result(summary(videos=0, videos_done=0, videos_failed=0, frames=0, failures=0), frames_merged=0)
    )
    assert lines == [
        "There is nothing to extract: no files were found in /in",
        "Report:   /out/job/report.html",
    ]


def test_long_list_of_failures_is_cut() -> None:
    lines = printed(result(summary(failures=25), failures=[failure(f"{n}.mp4") for n in range(25)]))
    assert sum(line.startswith("Failed: ") for line in lines) == 20
    assert "and 5 more in job/failures.jsonl" in lines


def test_long_list_of_notes_is_cut() -> None:
    lines = printed(result(summary(notes=[f"note {number}" for number in range(22)])))
    assert sum(line.startswith("Note: ") for line in lines) == 20
    assert "and 2 more notes in job/summary.json" in lines


def test_range_that_failed_is_named() -> None:
    lines = printed(result(summary(), failures=[failure("a.mp4", start_s=1.5, stop_s=None)]))
    assert "Failed: a.mp4 from 1.50 s to the end: not a video" in lines


def test_interrupted_and_failed_jobs_say_so() -> None:
    assert "The job was interrupted; 7 frames are whole and kept." in printed(result(None, interrupted=True))
    lines = printed(result(None, log_tail=["last\twords"], trouble=["algo-1 was killed by SIGKILL"]))
    assert lines[0] == "The job failed: it ended without a summary; 7 frames are whole and kept."
    assert "Trouble: algo-1 was killed by SIGKILL" in lines
    assert "  | last\\twords" in lines
    assert "The job failed: the disk is full." in printed(
        result(summary(outcome="failed", reason="the disk is full."))
    )


def test_exit_codes() -> None:
    good = summary(failures=0)
    assert result(good).exit_code("fail") == EXIT_DONE
    assert result(summary(failures=1)).exit_code("report") == EXIT_DONE
    assert result(summary(failures=1)).exit_code("fail") == EXIT_LOST
    assert result(good, lost=True).exit_code("report") == EXIT_LOST
    assert result(summary(frames_lost=True)).exit_code("report") == EXIT_LOST
    assert result(summary(outcome="failed")).exit_code("report") == EXIT_LOST
    assert result(None).exit_code("report") == EXIT_LOST
    assert result(good, interrupted=True).exit_code("report") == EXIT_INTERRUPTED


def test_a_report_that_could_not_be_made_is_told_in_a_line() -> None:
    lines = printed(result(summary(), no_report="cannot write to /out/job: No space left on device"))
    told = "There is no report: cannot write to /out/job: No space left on device"
    assert lines[-2:] == [told, "Account:  /out/job"]
    lines = printed(result(None, interrupted=True, no_report="/out holds no job"))
    assert not any("report" in line.lower() for line in lines), "nothing ran"
