from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from benchmarks.modes_report import PAGE, PICTURE, cost_of_100_hours, in_short, page
from benchmarks.modes_results import (
    HostShare,
    Promise,
    Results,
    Run,
    SetResults,
    Setup,
    Way,
    bounds,
    load,
    save,
)
from benchmarks.modes_sets import ONE_LONG, made_sets, make_set

SETUP = Setup(commit="c", target="compose", hosts=2, cpus=0.5, slots=1, alone_slots=1, fps="5")


def run(makespan_s: float, *, work_s: float = 20.0, slots: int = 2) -> Run:
    return Run(
        makespan_s=makespan_s,
        told_s=makespan_s - 1,
        work_s=work_s,
        slots=slots,
        frames=10,
        units=4,
        retries=0,
        digest="d",
        hosts=[
            HostShare(host="a", units=3, busy_s=10.0, idle=0.25),
            HostShare(host="b", units=1, busy_s=5.0, idle=0.75),
        ],
    )


def results(
    *, promise: Promise | None = "efficient", coordinated: tuple[float, ...] = (11.0, 10.0, 14.0)
) -> SetResults:
    runs: dict[Way, list[Run]] = {
        "alone": [run(12.0, work_s=10.0, slots=1)],
        "coordinated": [run(each) for each in coordinated],
        "sharded": [run(22.0)],
    }
    return SetResults(
        name="s",
        title="a set",
        promise=promise,
        videos=3,
        footage_s=3600.0,
        longest_s=900.0,
        runs=runs,
    )


def test_figures_are_those_of_the_median_run() -> None:
    measured = results()
    assert measured.makespan_s("coordinated") == 11.0
    assert measured.work_s == 10.0
    assert measured.efficiency("coordinated") == pytest.approx(10 / 11)
    assert measured.told_efficiency("coordinated") == pytest.approx(1.0)
    assert measured.gain == pytest.approx(2.0)
    assert (measured.idle("sharded"), measured.worst_idle("sharded")) == (0.5, 0.75)
    assert measured.is_complete
    del measured.runs["alone"]
    assert not measured.is_complete


def test_the_work_of_a_host_alone_is_shared_by_its_slots() -> None:
    measured = results()
    measured.runs["alone"] = [run(12.0, work_s=30.0, slots=2)]
    assert measured.work_s == 15.0


def test_bounds_are_of_two_kinds() -> None:
    heavy, equal = bounds([results(), results(promise="free", coordinated=(22.5,)), results(promise=None)])
    assert heavy.met
    assert heavy.value == pytest.approx(10 / 11)
    assert equal.value == pytest.approx(22.5 / 22.0)
    assert not equal.met
    assert not bounds([results(coordinated=(11.2,))])[0].met


def test_cost_is_of_all_hosts_for_the_makespan() -> None:
    # two hosts for 11 s on an hour of footage; a hundred times that, at 3.60 an hour
    assert cost_of_100_hours(results(), "coordinated", SETUP, 3.6) == pytest.approx(2 * 11 / 3600 * 3.6 * 100)


def test_the_page_tells_both_modes_and_what_is_missed() -> None:
    measured = Results(setup=SETUP, machine="a machine", date="today", sets=[results(coordinated=(12.0,))])
    text = page(measured, measured.sets, price=1.0, command="python -m benchmarks.modes")
    assert "Coordinated is 1.83 times as fast as sharded." in text
    assert "| a set: efficiency, coordinated | 0.833 | at least 0.9 | **missed** |" in text
    assert "| coordinated | 12.0 | 1.20 | 0.833 |" in text
    assert "| sharded | 22.0 | 2.20 | 0.455 |" in text


def test_runs_are_kept_for_the_same_setup_only(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "results.json"
    assert load(path, SETUP) is None
    measured = Results(setup=SETUP, machine="m", date="d", sets=[results()])
    save(measured, path)
    assert load(path, SETUP) == measured
    assert load(path, msgspec.structs.replace(SETUP, cpus=0.25)) is None
    path.write_text("{")
    assert load(path, SETUP) is None


def test_made_sets_are_what_they_are_called() -> None:
    sets = made_sets(2000)
    assert list(sets) == ["demo", "one-long", "lognormal", "equal"]
    for name in ("one-long", "lognormal", "equal"):
        assert sets[name].footage_s == pytest.approx(2000, rel=0.05)
    longest, second = sorted(sets["one-long"].lengths_s.values())[:-3:-1]
    assert longest == pytest.approx(ONE_LONG * 2000, abs=1)
    assert second < longest / 5
    assert len(set(sets["equal"].lengths_s.values())) == 1
    lengths = sorted(sets["lognormal"].lengths_s.values())
    assert lengths[-1] > 8 * lengths[len(lengths) // 2]
    assert made_sets(2000) == sets, "the same again"
    assert next(iter(sets["one-long"].lengths_s.values())) != longest, "it is not the first by name"


def test_a_set_is_made_once(tmp_path: Path) -> None:
    import av

    small = made_sets(64 * 2)["equal"]
    folder = make_set(small, tmp_path)
    names = sorted(path.name for path in folder.iterdir())
    assert names == sorted(small.lengths_s)
    with av.open(str(folder / names[0])) as video:
        assert sum(1 for _ in video.decode(video=0)) == 50
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert make_set(small, tmp_path) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_another_page_tells_it_in_short(tmp_path: Path) -> None:
    assert in_short(tmp_path) == ""
    whole = Results(machine="m", date="d", setup=SETUP, sets=[results()])
    (tmp_path / PAGE).write_text(page(whole, whole.sets, price=None, command="c"))
    told = in_short(tmp_path)
    assert f"[a page of its own]({PAGE})" in told
    assert f"![Makespan of both modes by W/S]({PICTURE})" in told
    assert re.search(r"is as fast: [^.]*: 2\.00\.$", told, re.MULTILINE)
