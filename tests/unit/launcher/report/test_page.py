"""The page: one file, its tables, and names that are data."""

from __future__ import annotations

import html
import re
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from framefleet.common.status import Failure
from framefleet.launcher.cli import main as launch
from framefleet.launcher.report import make_report as making
from framefleet.launcher.report import page
from framefleet.launcher.report.compare import render_comparison, titles
from framefleet.launcher.report.html import cut
from framefleet.launcher.report.read_job import read_job
from framefleet.launcher.report.thumbnails import HEIGHT, WIDTH, thumbnails
from framefleet.launcher.report.timeline import Timeline
from tests.helpers.fake_journal import FakeJournal, eventful_job
from tests.unit.launcher.console.test_summary import summary

HOSTILE = "</script><script>alert(1)</script>\"'&\udcff.mp4"


@pytest.fixture
def timeline(tmp_path: Path) -> Timeline:
    eventful_job(tmp_path)
    return read_job(tmp_path)


def table(text: str, name: str) -> list[list[str]]:
    """The rows of a table of a page, as text."""
    found = re.search(rf'<table id="{name}">.*?<tbody>(.*?)</tbody>', text, re.DOTALL)
    assert found is not None
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", found[1], re.DOTALL)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]
    return [[html.unescape(re.sub(r"<[^>]*>", "", cell)).strip() for cell in row] for row in cells]


def test_the_tables_tell_what_was(timeline: Timeline) -> None:
    text = page.render(timeline)
    assert table(text, "hosts") == [
        ["algo-1", "2", "4", "40", "1", "600 ms", "1.0 s", "11.5 s", "28.3 %", ""],
        ["algo-2", "1", "0", "0", "1", "1.1 s", "\N{EN DASH}", "3.0 s", "62.6 %", "gone at 4.5 s"],
    ]
    assert [row[:5] for row in table(text, "videos")] == [
        ["video-0.mp4", "30", "0", "3", "1"],
        ["video-1.mp4", "10", "0", "1", "1"],
    ]
    account = {row[0]: row[1] for row in table(text, "accounting")}
    assert account["Slots \N{MULTIPLICATION SIGN} makespan"] == "24.0 s"
    assert account["Retries"] == "4.0 s"
    assert account["Gone"] == "3.5 s"


def test_nothing_is_loaded_from_anywhere(timeline: Timeline) -> None:
    text = page.render(timeline)
    markup = re.sub(r"<script[^>]*>.*?</script>", "", text, flags=re.DOTALL)
    assert not re.findall(r"(?:src|href)=[\"'](?!data:)", markup)
    assert "url(" not in markup
    assert "default-src 'none'" in text


def test_names_are_data(tmp_path: Path) -> None:
    journal = FakeJournal()
    journal.host("algo-1")
    journal.unit(1, "algo-1", 1.0, 1.0)
    for line in journal.lines:
        if "video" in line:
            line["video"] = HOSTILE.replace("\udcff", "ÿ")
    journal.write(tmp_path / "job" / "journal.jsonl")
    timeline = read_job(tmp_path)
    timeline.failures = [Failure(video=HOSTILE, kind="input", reason="<b>&", start_s=1.0)]
    timeline.summary = summary(notes=[HOSTILE], options={"fps": "<i>"}, reason="<u>")
    text = page.render(timeline)
    text.encode()
    assert "alert(1)</script>" not in text
    assert not re.search(r"<b>&|<i>|<u>", text)
    assert table(text, "failures")[0][1:] == ["1.00 s to the end", "1", "<b>&"]


def test_long_tables_end(timeline: Timeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "MAX_VIDEO_ROWS", 1)
    monkeypatch.setattr(page, "MAX_FAILURES", 1)
    timeline.failures = [Failure(video="video-1.mp4", kind="lost", reason="x")] * 3
    text = page.render(timeline)
    assert [row[0] for row in table(text, "videos")] == ["video-1.mp4"], "those that failed come first"
    assert "and 1 more, with less work" in text
    assert "and 2 more in job/failures.jsonl" in text


def test_two_jobs_side_by_side(tmp_path: Path, timeline: Timeline) -> None:
    journal = FakeJournal()
    journal.host("algo-1")
    journal.unit(1, "algo-1", 1.0, 15.012, video=1)
    journal.write(tmp_path / "other" / "job" / "algo-1" / "journal.jsonl")
    other = read_job(tmp_path / "other")
    names = titles([other, timeline], ["x", "x"])
    assert names == ["sharded", "coordinated"]
    assert titles([timeline, timeline], ["x", "x"]) == ["x (A)", "x (B)"]
    text = render_comparison([other, timeline], names, price=1800.0)
    figures = {row[0]: row[1:] for row in table(text, "comparison")}
    assert figures["Makespan"] == ["16.0 s", "8.0 s", "0.50"]
    assert figures["Slots"] == ["1", "3", "3.00"]
    assert figures["Cost"] == ["8.012", "8.012", "1.00"]
    assert text.count('"end_s":16.024') == 2, "one axis of time"
    legends = re.findall(r'<ul class="legend">(.*?)</ul>', text)
    assert [re.findall(r"video-\d", legend) for legend in legends[::2]] == [
        ["video-1"],
        ["video-1", "video-0"],
    ], "each of its own videos"
    assert len(set(re.findall(r"--hue-0\)\"></span>([^<]*)", text))) == 1, "a video has one colour"


def test_the_legend_tells_of_second_copies_where_there_are_some(tmp_path: Path, timeline: Timeline) -> None:
    told = "a second copy"
    assert told not in page.render(timeline).partition("<script")[0]
    journal = FakeJournal()
    journal.host("a")
    journal.host("b")
    journal.lease(1, "a", 1.0)
    journal.say(4.0, "hedged", unit=1, copy=2, host="b")
    journal.write(tmp_path / "copied" / "job" / "journal.jsonl")
    assert told in page.render(read_job(tmp_path / "copied")).partition("<script")[0]


def test_a_long_name_is_cut_in_the_middle_by_the_browser_and_whole_in_its_title() -> None:
    assert cut("short<.mp4") == "short&lt;.mp4"
    whole = "a-folder-of-some-length/camera-7&8.mp4"
    found = re.fullmatch(
        r'<span class="cut" title="(.*)"><span>(.*)</span><span>(.*)</span></span>', cut(whole)
    )
    assert found is not None
    title, head, tail = (html.unescape(part) for part in found.groups())
    assert (title, head + tail) == (whole, whole)
    assert tail == whole[-10:]


def write_frames(output: Path, count: int) -> None:
    (output / "frames").mkdir()
    (output / "manifest").mkdir()
    files = [f"frames/{number:08d}.png" for number in range(count)]
    for file in files:
        cv2.imwrite(str(output / file), np.full((300, 400, 3), 128, np.uint8))
    columns = {
        "video": ["a.mp4"] * count,
        "time_s": [float(number) for number in range(count)],
        "file": files,
        "bytes": [(output / file).stat().st_size for file in files],
    }
    pq.write_table(pa.table(columns), output / "manifest" / "algo-1-0.parquet")


def test_a_few_frames_are_shown_small(tmp_path: Path) -> None:
    assert thumbnails(tmp_path) == []
    write_frames(tmp_path, 9)
    (tmp_path / "frames" / "00000004.png").unlink()
    (tmp_path / "frames" / "00000007.png").write_bytes(b"x")
    (tmp_path / "manifest" / "torn.parquet").write_bytes(b"PAR1")
    found = thumbnails(tmp_path, 3)
    assert [each.time_s for each in found] == [1.0]
    assert (found[0].width, found[0].height) == (min(WIDTH, HEIGHT * 4 // 3), HEIGHT)
    assert found[0].source.startswith("data:image/jpeg;base64,")
    assert len(found[0].source) < 8000


def test_the_report_is_made_again_on_demand(tmp_path: Path) -> None:
    eventful_job(tmp_path)
    write_frames(tmp_path, 2)
    done = CliRunner().invoke(launch.cli, ["report", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert done.output == f"Report: {tmp_path}/job/report.html\n"
    text = (tmp_path / "job" / "report.html").read_text()
    assert text.count("<img ") == 2
    assert (tmp_path / "job" / "trace.json").stat().st_size > 1000
    both = ["report", "--compare", str(tmp_path), str(tmp_path), "--page", str(tmp_path / "both.html")]
    assert CliRunner().invoke(launch.cli, both).output == f"Report: {tmp_path}/both.html\n"
    assert (tmp_path / "both.html").exists()


def test_the_report_is_of_one_of_several_jobs_as_they_lie_on_s3(tmp_path: Path) -> None:
    for name in ("job-1", "job-2"):
        eventful_job(tmp_path / name)
        (tmp_path / "out" / "job").mkdir(parents=True, exist_ok=True)
        (tmp_path / name / "job").rename(tmp_path / "out" / "job" / name)
    done = CliRunner().invoke(launch.cli, ["report", str(tmp_path / "out"), "--job", "job-2"])
    assert done.output == f"Report: {tmp_path}/out/job/job-2/report.html\n"
    assert (tmp_path / "out" / "job" / "job-2" / "trace.json").stat().st_size > 1000
    text = (tmp_path / "out" / "job" / "job-2" / "report.html").read_text()
    assert "coordinated, 2 hosts, 3 slots" in text, "of one job, and not of shares of a sharded one"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "give the output folder"),
        (["x", "--compare", "a", "b"], "give the output folder"),
        (["x", "--price", "1"], "--price and --page go with --compare"),
        (["--job", "j", "--compare", "a", "b"], "--job does not go with --compare"),
        (["/nonexistent"], "holds no job"),
    ],
)
def test_what_cannot_be_reported_is_told(arguments: list[str], text: str) -> None:
    done = CliRunner().invoke(launch.cli, ["report", *arguments])
    assert done.exit_code == 2
    assert text in done.output


def test_a_report_that_fails_fails_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "holds no job" in making.try_report(tmp_path)
    eventful_job(tmp_path)
    assert making.try_report(tmp_path) == ""

    def broken(*_: object) -> str:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(page, "render", broken)
    assert making.try_report(tmp_path) == "ZeroDivisionError: a bug"
    assert not (tmp_path / "job" / "report.html").exists(), (
        "that of an earlier job would be taken for this one's"
    )
