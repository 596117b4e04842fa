from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from framefleet.launcher.console.display import SlowStep, make_console, percent
from framefleet.launcher.text import clock, natural_key, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain name.mp4", "plain name.mp4"),
        ("é 日本 \N{SMILING FACE WITH SUNGLASSES}", "é 日本 \N{SMILING FACE WITH SUNGLASSES}"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\udcff", "\\udcff"),
        ("\N{RIGHT-TO-LEFT OVERRIDE}x", "\\u202ex"),
    ],
)
def test_what_is_not_printable_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("seconds", "text"), [(-1, "0:00"), (0.4, "0:00"), (59.6, "1:00"), (3599, "59:59"), (3661, "1:01:01")]
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_percent_stays_within_bounds() -> None:
    assert [percent(share) for share in (-0.1, 0.0, 0.954, 1.7)] == ["0 %", "0 %", "95 %", "100 %"]


def test_hosts_sort_by_number() -> None:
    names = ["algo-10", "algo-2", "7", "algo", "algo-1", "host\u0663"]
    assert sorted(names, key=natural_key) == ["7", "algo", "algo-1", "algo-2", "algo-10", "host\u0663"]


def test_console_survives_an_ascii_terminal_and_markup() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    make_console(stream).print("[red]é[/red] :smile:")
    stream.flush()
    assert raw.getvalue() == b"[red]\\xe9[/red] :smile:\n"


def test_only_slow_steps_show(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    console = Console(file=io.StringIO(), width=80)
    with console.capture() as capture:
        with SlowStep(console, "quick"):
            now += 100.0
        for label, duration_s in (("short", 1.9), ("long", 2.1)):
            with SlowStep(console, label) as step:
                step.update(1, 3)
                now += duration_s
                step.update(2, 3)
                step.update(3, 3)
    assert capture.get() == "long ...\n"
