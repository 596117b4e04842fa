"""The report in a real browser: what is drawn, and that nothing goes wrong there."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from report.compare import render_comparison
from report.making import make_report
from report.page import render
from report.reading import read_job
from report.timeline import Attempt, Kind, Lane, Timeline
from tests.fake_job import eventful_job

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER = next((path for path in map(shutil.which, BROWSERS) if path is not None), None)
PATIENCE_S = 100.0

pytestmark = pytest.mark.skipif(
    BROWSER is None, reason=f"no browser: none of {', '.join(BROWSERS)} is there (apt-get install chromium)"
)


def opened(path: Path, *, dark: bool = False, width: int = 1400) -> str:
    """The document as it is when its scripts have run."""
    assert BROWSER is not None
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        f"--user-data-dir={path.parent / 'profile'}", f"--window-size={width},900",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}", "--virtual-time-budget=4000",
        "--dump-dom", path.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, timeout=PATIENCE_S, check=True)
    return done.stdout.decode()


def told(document: str) -> dict[str, str]:
    """What the page's script says of itself, on the root of the document."""
    root = re.search(r"<html[^>]*>", document)
    assert root is not None
    return dict(re.findall(r'data-([a-z-]+)="([^"]*)"', root[0]))


@pytest.mark.parametrize(("dark", "width"), [(False, 1400), (True, 500)])
def test_all_that_was_done_is_drawn(tmp_path: Path, dark: bool, width: int) -> None:
    eventful_job(tmp_path)
    document = opened(make_report(tmp_path), dark=dark, width=width)
    assert told(document) == {"units": "7", "plots": "2"}, "and no errors"
    assert document.count("<canvas") == 2
    assert document.count('<th scope="row">algo-') == 2
    assert len(re.findall(r'<th scope="row">video-\d', document)) == 2


def test_two_jobs_are_drawn(tmp_path: Path) -> None:
    eventful_job(tmp_path)
    job = read_job(tmp_path)
    page = tmp_path / "both.html"
    page.write_text(render_comparison([job, job], ["one", "other"]))
    assert told(opened(page)) == {"units": "14", "plots": "4"}


def test_a_job_that_did_nothing_is_drawn(tmp_path: Path) -> None:
    page = tmp_path / "empty.html"
    page.write_text(render(Timeline("j", "coordinated", "failed", "", 0, [])))
    assert told(opened(page)) == {"units": "0", "plots": "2"}


def test_a_hundred_thousand_units_are_drawn(tmp_path: Path) -> None:
    lanes = [
        Lane("algo-1", slot, 0, attempts=[
            Attempt(
                unit=unit, number=1, host="algo-1", video=f"v{unit % 50}", start_us=unit * 1000,
                end_us=unit * 1000 + 990, kind=Kind.DONE, slot=slot, frames=1,
            )
            for unit in range(25_000)
        ])
        for slot in range(4)
    ]  # fmt: skip
    page = tmp_path / "large.html"
    page.write_text(render(Timeline("j", "coordinated", "completed", "", 25_000_000, lanes)))
    assert page.stat().st_size < 6_000_000
    assert told(opened(page)) == {"units": "100000", "plots": "2"}
