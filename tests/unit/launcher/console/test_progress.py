from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from framefleet.common.status import HostState, HostStatus, Status
from framefleet.launcher.console.progress import LiveView, PlainView, draw, open_view, plain_line


def status(number_of_hosts: int = 8, **changes: Any) -> Status:
    values: dict[str, Any] = {
        "elapsed_s": 75.0,
        "frames": 1234567,
        "videos": 100000,
        "videos_done": 4321,
        "videos_failed": 0,
        "units_done": 99,
        "frames_per_s": 2310.4,
        "fraction": 0.431,
        "left_s": 102.0,
        "hosts": [host(f"algo-{number}") for number in range(1, number_of_hosts + 1)],
    }
    return Status(**(values | changes))


def host(name: str, *, state: HostState = "up", busy_share: float = 0.94) -> HostStatus:
    return HostStatus(
        host=name,
        state=state,
        slots=4,
        units=123456,
        frames=12345678,
        busy_s=70.5,
        busy_share=busy_share,
    )


def drawn(status: Status, *, width: int = 80, max_host_lines: int = 16) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=False, legacy_windows=False)
    with console.capture() as capture:
        console.print(draw(status, max_host_lines=max_host_lines))
    return capture.get().splitlines()


@pytest.mark.parametrize("hosts", [1, 8, 16])
def test_a_line_per_host_in_80_columns(hosts: int) -> None:
    lines = drawn(status(hosts))
    assert len(lines) == 2 + hosts
    assert max(map(len, lines)) <= 80
    for line, number in zip(lines[2:], range(1, hosts + 1), strict=True):
        assert line.split()[:2] == [f"algo-{number}", "up"]
        assert "94 % busy" in line


def test_the_head_tells_how_far_it_is() -> None:
    head, counts = drawn(status(0, videos_failed=3))[:2]
    assert "43 %" in head
    assert "1:42 left" in head
    assert "1:15 so far" in head
    assert counts.split("  ") == [
        "1,234,567 frames",
        "4,321 of 100,000 videos (3 failed)",
        "2,310 frames/s",
    ]


def test_many_hosts_are_summarised() -> None:
    hosts = [host(f"algo-{number}") for number in range(1, 98)]
    hosts += [
        host("slow\n[red]", busy_share=0.12),
        host("gone-1", state="lost"),
        host("gone-2", state="lost"),
    ]
    lines = drawn(status(0, hosts=hosts))
    assert len(lines) == 4
    assert max(map(len, lines)) <= 80
    assert lines[2] == "98 of 100 hosts up  lost: gone-1, gone-2"
    assert lines[3] == "93 % busy on average, the least slow\\n[red] with 12 %"


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_no_line_wraps_whatever_the_width(width: int) -> None:
    lines = drawn(status(3), width=width)
    assert len(lines) == 5
    assert max(map(len, lines)) <= width


def test_numbers_that_are_not_known_yet() -> None:
    lines = drawn(status(0, fraction=0.0, left_s=None, videos=0, videos_done=0, frames=0, frames_per_s=0.0))
    assert "--:-- left" in lines[0]
    assert lines[1] == "0 frames  0 of 0 videos  0 frames/s"


def test_plain_line_is_one_line() -> None:
    assert plain_line(status(8)) == (
        "1:15  43 %  1,234,567 frames  4,321 of 100,000 videos  2,310 frames/s  1:42 left  8 hosts 94 % busy"
    )


def test_plain_view_prints_every_five_seconds() -> None:
    now = 0.0
    console = Console(file=io.StringIO(), width=80)
    view = PlainView(console, now=lambda: now)
    with console.capture() as capture:
        for _ in range(25):
            now += 0.5
            view.update(status(1))
    assert len(capture.get().splitlines()) == 2


def test_notes_are_escaped() -> None:
    console = Console(file=io.StringIO(), width=40, markup=False)
    with console.capture() as capture:
        PlainView(console).note("a\x1b[2J[red]b\udc80" + "c" * 60)
    assert capture.get() == "a\\x1b[2J[red]b\\udc80" + "c" * 60 + "\n"


def test_the_terminal_decides_which_view() -> None:
    assert isinstance(open_view(Console(file=io.StringIO())), PlainView)
    view = open_view(Console(file=io.StringIO(), force_terminal=True))
    assert isinstance(view, LiveView)
    view.close()


def test_live_view_fits_a_low_terminal() -> None:
    output = io.StringIO()
    view = LiveView(Console(file=output, force_terminal=True, width=80, height=10))
    view.update(status(8))
    view.close()
    assert "8 of 8 hosts up" in output.getvalue()
    assert "algo-2 " not in output.getvalue()
