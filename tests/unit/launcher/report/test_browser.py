"""The report in a real browser: what is drawn and where, by its pixels, and that nothing goes wrong there."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from framefleet.launcher.report.compare import render_comparison
from framefleet.launcher.report.make_report import make_report
from framefleet.launcher.report.page import asset, render
from framefleet.launcher.report.read_job import read_job
from framefleet.launcher.report.timeline import Attempt, Kind, Lane, Timeline
from tests.helpers.fake_journal import eventful_job

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER = next((path for path in map(shutil.which, BROWSERS) if path is not None), None)
PATIENCE_S = 200.0
HEIGHT = 2600  # pixels of the window: all of the page

# Where the plots lie in the page is not the page's own script's to say.
PROBE = """<script>addEventListener("load", () => {
  const places = [...document.querySelectorAll(".u-over")].map((each) => {
    const { left, top, width, height } = each.getBoundingClientRect();
    return [left, top, width, height].join(" ");
  });
  document.documentElement.dataset.places = places.join(";");
});</script></body>"""

pytestmark = pytest.mark.skipif(
    BROWSER is None,
    reason=f"no browser: none of {', '.join(BROWSERS)} is there; tests/install-browser.sh installs one",
)


def colours(*, dark: bool) -> dict[str, tuple[int, int, int]]:
    """The colours of the style sheet by their names, as (red, green, blue)."""
    blocks = re.findall(r":root \{(.*?)\}", asset("report.css"), re.DOTALL)
    found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})\b", " ".join(blocks[: 1 + dark])))
    return {name: (int(text[1:3], 16), int(text[3:5], 16), int(text[5:], 16)) for name, text in found.items()}


@dataclass(frozen=True)
class Plot:
    """The inside of a plot, as it is to be seen."""

    pixels: NDArray[Any]

    def share(self, colour: Sequence[int], *, near: int = 6) -> float:
        """The share of pixels of such a colour."""
        away = np.abs(self.pixels.astype(int) - np.array(colour)).max(axis=2)
        return float((away <= near).mean())

    def bar(self, lane: int, lanes: int, times_s: tuple[float, float], end_s: float) -> Plot:
        """What is drawn for a lane between two times, within its edges."""
        height, width = self.pixels.shape[:2]
        left, right = (round(time_s / end_s * width) for time_s in times_s)
        top, bottom = round(lane * height / lanes), round((lane + 1) * height / lanes)
        inside = self.pixels[top + 2 : bottom - 2, left + 3 : right - 3]
        assert inside.size
        return Plot(inside)


@dataclass(frozen=True)
class Page:
    """A page as it is when its scripts have run."""

    document: str
    plots: list[Plot]

    @property
    def told(self) -> dict[str, str]:
        """What the page's script says of itself, on the root of the document."""
        root = re.search(r"<html[^>]*>", self.document)
        assert root is not None
        return dict(re.findall(r'data-(units|plots|errors)="([^"]*)"', root[0]))


def opened(path: Path, *, dark: bool = False, width: int = 1400) -> Page:
    assert BROWSER is not None
    probed, picture = path.with_suffix(".probed.html"), path.with_suffix(".png")
    text = path.read_text()
    assert text.count("</body>") == 1
    probed.write_text(text.replace("</body>", PROBE))
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--hide-scrollbars", "--force-device-scale-factor=1", "--force-color-profile=srgb",
        f"--user-data-dir={path.parent / 'profile'}", f"--window-size={width},{HEIGHT}",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}", "--virtual-time-budget=4000",
    ]  # fmt: skip
    dumped = subprocess.run(
        [*command, "--dump-dom", probed.as_uri()], capture_output=True, timeout=PATIENCE_S, check=True
    )
    subprocess.run(
        [*command, f"--screenshot={picture}", probed.as_uri()],
        capture_output=True, timeout=PATIENCE_S, check=True,
    )  # fmt: skip
    document = dumped.stdout.decode()
    places = re.search(r'<html[^>]* data-places="([^"]*)"', document)
    shot = cv2.imread(str(picture), cv2.IMREAD_COLOR)
    assert places is not None
    assert shot is not None
    plots = []
    for place in places[1].split(";"):
        left, top, wide, high = (round(float(value)) for value in place.split())
        assert top + high <= HEIGHT
        plots.append(Plot(shot[top : top + high, left : left + wide, ::-1]))
    return Page(document, plots)


def check_eventful(gantt: Plot, rate: Plot, *, dark: bool, end_s: float) -> None:
    """The units of ``eventful_job``, each where and when it was."""
    colour = colours(dark=dark)
    for lane, times_s, name in (
        (0, (0.61, 0.79), "probing"),
        (0, (1.0, 4.0), "hue-0"),
        (0, (4.6, 6.0), "hue-1"),
        (0, (6.1, 8.0), "hue-0"),
        (1, (2.1, 2.4), "idle"),
        (1, (2.6, 6.3), "hue-0"),
        (1, (6.6, 7.9), "idle"),
        (2, (4.6, 7.9), "gone"),
    ):
        drawn = gantt.bar(lane, 3, times_s, end_s)
        assert drawn.share(colour[name]) > 0.85, (lane, times_s, name)
    for lane, times_s, line, back in (
        (1, (1.0, 1.9), "wasted", "wasted-back"),
        (2, (1.6, 4.4), "wasted", "wasted-back"),
        (0, (0.0, 0.5), "start-line", "idle"),
        (2, (0.0, 1.0), "start-line", "idle"),
    ):
        drawn = gantt.bar(lane, 3, times_s, end_s)
        assert drawn.share(colour[line], near=24) > 0.05, (lane, times_s, line)
        assert drawn.share(colour[back], near=24) > 0.3, (lane, times_s, back)
    assert rate.share(colour["rate"], near=48) > 0.002
    assert rate.share(colour["busy"], near=48) > 0.001


@pytest.mark.parametrize(("dark", "width"), [(False, 1400), (True, 500)])
def test_all_that_was_done_is_drawn(tmp_path: Path, dark: bool, width: int) -> None:
    eventful_job(tmp_path)
    page = opened(make_report(tmp_path), dark=dark, width=width)
    assert page.told == {"units": "7", "plots": "2"}, "and no errors"
    end_s = read_job(tmp_path).makespan_us / 1e6
    check_eventful(page.plots[0], page.plots[1], dark=dark, end_s=end_s)
    assert page.document.count('<th scope="row">algo-') == 2
    assert len(re.findall(r'<th scope="row">video-\d', page.document)) == 2


def test_two_jobs_are_drawn(tmp_path: Path) -> None:
    eventful_job(tmp_path)
    job = read_job(tmp_path)
    path = tmp_path / "both.html"
    path.write_text(render_comparison([job, job], ["one", "other"]))
    page = opened(path)
    assert page.told == {"units": "14", "plots": "4"}
    for first in (0, 2):
        check_eventful(*page.plots[first : first + 2], dark=False, end_s=job.makespan_us / 1e6)


def test_a_job_that_did_nothing_is_drawn(tmp_path: Path) -> None:
    path = tmp_path / "empty.html"
    path.write_text(render(Timeline("j", "coordinated", "failed", "", 0, [])))
    page = opened(path)
    assert page.told == {"units": "0", "plots": "2"}
    assert page.plots[0].share(colours(dark=False)["hue-0"]) == 0


def test_a_hundred_thousand_units_are_drawn(tmp_path: Path) -> None:
    lanes = [
        Lane("algo-1", slot, 0, attempts=[
            Attempt(
                unit=unit, number=1, host="algo-1", video=f"v{slot}", start_us=unit * 1000,
                end_us=unit * 1000 + 990, kind=Kind.DONE, slot=slot, frames=1,
            )
            for unit in range(25_000)
        ])
        for slot in range(4)
    ]  # fmt: skip
    path = tmp_path / "large.html"
    path.write_text(render(Timeline("j", "coordinated", "completed", "", 25_000_000, lanes)))
    assert path.stat().st_size < 6_000_000
    page = opened(path)
    assert page.told == {"units": "100000", "plots": "2"}
    for lane in range(4):
        drawn = page.plots[0].bar(lane, 4, (0.0, 24.5), 25.0)
        assert drawn.share(colours(dark=False)[f"hue-{lane}"], near=24) > 0.9
