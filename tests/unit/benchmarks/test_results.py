"""Ratios, bounds and the page that is written from them."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from rich.console import Console

from benchmarks.clips import CLIPS
from benchmarks.contestants import FLOOR, OURS, contestants
from benchmarks.extraction import SAMPLINGS, chosen_cells, chosen_field, task_of
from benchmarks.report import page, show
from benchmarks.results import Cell, Measured, Results, TwoSlots, bounds, load, save

COSTS = {"decode_s": 2.0, "convert_s": 0.5, "encode_s": 0.5, "write_s": 0.1}


def measured(*cpu_s: float, costs: dict[str, float] | None = None, objection: str = "") -> Measured:
    """All take 1 s more than they do without their start-up."""
    return Measured(
        cpu_s=list(cpu_s),
        net_s=[seconds - 1 for seconds in cpu_s],
        costs=costs or {},
        images=3,
        mean_bytes=2000,
        min_psnr_db=40,
        objection=objection,
    )


def cell(sampling: str = "1 fps", *, ours: float = 4.2) -> Cell:
    """OpenCV takes other frames."""
    return Cell(
        clip="h264",
        sampling=sampling,
        date="2026-01-02",
        commit="abc",
        exact=True,
        measured={
            OURS: measured(ours, 99.0, 0.1, costs={"probe_s": 0.032}),
            FLOOR: Measured(cpu_s=[9.0], floor_s=[3.0], costs=COSTS, images=3),
            "ffmpeg": measured(9.0),
            "ffmpeg-threads": measured(8.0),
            "opencv-read": measured(2.0, objection="image 2 is frame 3, not 2"),
            "pyav": measured(11.0),
        },
    )


def test_ratios_are_those_of_medians_with_and_without_start_up() -> None:
    one = cell()
    assert one.ratio("pyav", net=False) == pytest.approx(4.2 / 11)
    assert one.ratio("pyav", net=True) == pytest.approx(3.2 / 10)
    assert one.ratio(FLOOR, net=True) == pytest.approx(3.2 / 3)


def test_the_better_ffmpeg_counts_and_wrong_frames_do_not() -> None:
    one = cell()
    assert one.ffmpeg == "ffmpeg-threads"
    assert one.fastest == "ffmpeg-threads"
    assert one.others == ["ffmpeg-threads", "opencv-read", "pyav"]


def test_bounds_are_met_or_missed() -> None:
    results = Results(
        cells=[cell()], two_slots=TwoSlots(clip="h264", sampling="5 fps", one_s=[2.0], two_s=[2.0])
    )
    found = {bound.text: bound for bound in bounds(results)}
    ffmpeg = found["h264, 1 fps: ours / ffmpeg"]
    assert ffmpeg.value == pytest.approx(3.2 / 7)
    assert ffmpeg.gross == pytest.approx(4.2 / 8)
    assert ffmpeg.limit == 0.62
    assert ffmpeg.met
    assert not found["h264, 1 fps: ours / floor"].met
    assert found["h264, 1 fps: ours / the fastest other (ffmpeg-threads)"].met
    assert found["work of two slots by that of one"].met
    results.two_slots = TwoSlots(clip="h264", sampling="5 fps", one_s=[2.0], two_s=[2.2])
    assert not bounds(results)[-1].met


def test_a_cell_measured_again_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    results = Results(cells=[cell(), cell("5 fps")])
    results.put(cell(ours=5.0))
    assert [(one.sampling, one.measured[OURS].cpu_s[0]) for one in results.cells] == [
        ("1 fps", 5.0),
        ("5 fps", 4.2),
    ]
    save(tmp_path / "new" / "results.json", results)
    assert load(tmp_path / "new" / "results.json") == results
    assert load(tmp_path / "none.json") == Results()


def test_the_page_tells_ratios_objections_bounds_and_shares() -> None:
    results = Results(machine="a box", versions={"pyav": "18.1", "decord": ""}, cells=[cell(), cell("5 fps")])
    lines = page(results).splitlines()
    assert "| PyAV, all frames | 0.32 (0.38) | 0.32 (0.38) |" in lines
    assert "| OpenCV read() | 3.20 (2.10) † | 3.20 (2.10) † |" in lines
    assert "† OpenCV read(), 1 fps: image 2 is frame 3, not 2" in lines
    assert "| h264, 1 fps: ours / floor | 1.067 |  | at most 1.05 | **missed** |" in lines
    assert "| decoding | 62.5 | 62.5 |" in lines
    assert "| probing before | 1.0 | 1.0 |" in lines
    assert "| the rest: reading, planning, Python | 2.1 | 2.1 |" in lines
    assert "| PyAV, all frames | 18.1 |" in lines


def test_the_tables_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    show(Results(cells=[cell()]), Console(width=120))
    assert "0.32 (0.38)" in capsys.readouterr().out


def test_cells_are_chosen_by_name() -> None:
    assert chosen_cells("vp9:1 fps; h264") == [("vp9", "1 fps"), *(("h264", name) for name in SAMPLINGS)]
    assert len(chosen_cells(None)) == len(CLIPS) * len(SAMPLINGS)
    with pytest.raises(click.BadParameter, match="no cell 'h264:2 fps'"):
        chosen_cells("h264:2 fps")


def test_contestants_are_chosen_by_name_and_ours_is_always_there() -> None:
    field = contestants(torchcodec_python=None)
    assert "torchcodec" not in field
    assert list(chosen_field("pyav, floor", field)) == [OURS, FLOOR, "pyav"]
    with pytest.raises(click.BadParameter, match="no contestant 'gstreamer'"):
        chosen_field("gstreamer", field)


def test_who_cannot_do_a_task_is_not_asked() -> None:
    field = contestants(torchcodec_python=Path("python"))

    def able(sampling: str) -> set[str]:
        task = task_of(CLIPS["h264"], Path("clip"), sampling, Path("folder"))
        return {name for name, one in field.items() if one.can(task)}

    seeking = {"ffmpeg-seek", "opencv-seek"}
    assert able("5 fps") == able("1 fps, 256") == set(field) - seeking
    assert able("0.1 fps") == set(field)
    assert able("keyframes") == set(field) - seeking - {"opencv-read", "opencv-grab"}
    assert task_of(CLIPS["h264"], Path("clip"), "1 fps, 256", Path("folder")).size == (455, 256)
