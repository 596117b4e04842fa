from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import startup_marks
from benchmarks.startup import Start, breakdown, page
from benchmarks.startup_marks import LAST, MARKS_VARIABLE, Mark, install, read


def mark(at: float, role: str, label: str, cpu_s: float = 0.1) -> Mark:
    return Mark(at=at, cpu_s=cpu_s, pid=1, role=role, label=label)


def test_functions_of_modules_leave_marks_and_work_as_before(tmp_path: Path) -> None:
    hooks, package = tmp_path / "hooks", tmp_path / "framefleet" / "worker"
    hooks.mkdir()
    (package / "picture").mkdir(parents=True)
    install(hooks)
    for folder in (package.parent, package, package / "picture"):
        (folder / "__init__.py").touch()
    (package / "picture" / "render.py").write_text(
        "def render(frame):\n    return frame + 1\n\ndef write(path, data):\n    raise OSError('full')\n"
    )
    (package / "__main__.py").write_text(
        "from framefleet.worker.picture import render as images\n"
        "assert images.render(1) == images.render(1) == 2\n"
        "try:\n    images.write(1, 2)\nexcept OSError as error:\n    print(error)\n"
    )
    told = tmp_path / "marks"
    environment = os.environ | {"PYTHONPATH": f"{hooks}{os.pathsep}{tmp_path}", MARKS_VARIABLE: str(told)}
    run = subprocess.run(
        [sys.executable, "-m", "framefleet.worker"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == "full\n"
    marks = read(told)
    assert [each.label for each in marks] == ["interpreter", "first wanted frame decoded", "encoded", LAST]
    assert {each.role for each in marks} == {"agent"}
    assert [each.at for each in marks] == sorted(each.at for each in marks)
    assert all(0 < each.cpu_s < 60 for each in marks)


def test_what_is_half_written_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "marks"
    assert read(path) == []
    path.write_text("2.5 0.25 7 slot up\n1.5 0.125 6 agent Hello said\n3.5 0.5 7 sl")
    assert read(path) == [
        Mark(at=1.5, cpu_s=0.125, pid=6, role="agent", label="Hello said"),
        Mark(at=2.5, cpu_s=0.25, pid=7, role="slot", label="up"),
    ]


def test_every_point_is_a_function_of_the_product() -> None:
    import importlib

    for module, name, _, when in startup_marks.POINTS:
        owner = importlib.import_module(module)
        for part in filter(None, name.split(".")):
            owner = getattr(owner, part)
        assert when in ("before", "after")


def test_the_breakdown_has_medians_of_what_all_rounds_reached() -> None:
    rounds = [
        Start([mark(0.2, "agent", "Hello said"), mark(at, "slot", LAST), mark(9, "slot", LAST)], 0.4)
        for at in (0.5, 0.7, 0.6)
    ]
    rounds[0].marks[0:0] = [mark(0.1, "agent", "once")]  # type: ignore[index]
    table = breakdown(rounds)
    assert list(table) == [("agent", "Hello said"), ("slot", LAST)]
    assert table["slot", LAST] == pytest.approx((600.0, 100.0))
    assert rounds[1].first_frame_s == 0.7


def test_the_page_compares_two_versions() -> None:
    now = [Start([mark(0.4, "slot", LAST)], 0.5)]
    then = [Start([mark(0.8, "slot", LAST)], 1.0)]
    imports = {"agent": {"zmq": 8.0, "tiny": 0.2}, "coordinator": {"zmq": 7.0}, "slot's libraries": {}}
    text = page(
        {"now": now, "commit abc": then},
        {"now": imports, "commit abc": imports},
        bare_ms=20.0, slots=1, command="python -m benchmarks.startup",
    )  # fmt: skip
    assert "0.50 of the time (0.80 s then), 0.50 of the CPU time" in text
    assert f"| slot | {LAST} | 400 | 100 | 800 | 100 |" in text
    assert "| zmq | 8.0 | 7.0 |  |" in text
    assert "| others | 0.2 |  |  |" in text
