"""What --resume removes: rows that prove nothing, and of files only those that nothing names any more."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from framefleet.common.errors import UserError
from framefleet.common.host.layout import Layout
from framefleet.common.job.completed import DoneVideo
from framefleet.common.job.spec import ImageOptions
from framefleet.common.output.part_file import read_table
from framefleet.common.output.shard_fields import PackOptions
from framefleet.coordinator.simulation.hosts import LIBRARIES
from framefleet.launcher.job import JobRequest
from framefleet.launcher.options.sampling import NAMES, make_sampling
from framefleet.launcher.output.resume import take_over
from framefleet.worker.publishing.publication import Extent
from framefleet.worker.publishing.publisher import Publisher
from tests.helpers.jobs import rows
from tests.helpers.publishing_hosts import stage

PACKS = (None, PackOptions(format="tar"), PackOptions(format="parquet"))
HALVES = (
    (range(20), Extent(stop=20, shown=20, video_bytes=1000)),
    (range(20, 40), Extent(start=20, shown=20, video_bytes=1000)),
)


def make_output(folder: Path, pack: PackOptions | None) -> Path:
    """Of a finished job: one host, two videos of two units each, in one part."""
    layout = Layout(folder / "job")
    (folder / "videos").mkdir()
    publisher = Publisher(layout, "algo-1", {"--fps": "5"}, pack=pack)
    publisher.made_with(LIBRARIES)
    for number, name in enumerate(("v", "w")):
        (folder / "videos" / f"{name}.mp4").write_bytes(bytes(1000))
        for half, (samples, extent) in enumerate(HALVES):
            staged = stage(layout, 2 * number + half, 1, samples, bundled=pack is not None)
            publisher.add(2 * number + half, 1, f"{name}.mp4", name, staged, 0, extent=extent)
    publisher.flush()
    publisher.close()
    return layout.output


def request_of(output: Path, pack: PackOptions | None) -> JobRequest:
    return JobRequest(
        input=output.parents[2] / "videos",
        output=output,
        instances=1,
        slots_per_instance=1,
        sampling=make_sampling(dict.fromkeys(NAMES) | {"fps": "5"}),
        mode="coordinated",
        image=ImageOptions(),
        on_error="report",
        resume=True,
        pack=pack,
    )


def resume(output: Path, pack: PackOptions | None = None) -> tuple[list[DoneVideo], list[str]]:
    said: list[str] = []
    return list(take_over(request_of(output, pack), roots=[], note=said.append).videos), said


def files(output: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(output)): path.read_bytes()
        for top in ("frames", "shards")
        for path in (output / top).rglob("*")
        if path.is_file()
    }


def keys(output: Path) -> list[tuple[object, object]]:
    return sorted((str(row["video"]), row["sample"]) for row in rows(output))


@pytest.mark.parametrize("pack", PACKS)
@pytest.mark.parametrize("copy", ["algo-1-0 (copy).parquet", "algo-2-0.parquet"])
@pytest.mark.parametrize("is_listed", [True, False])
def test_repeated_rows_go_and_the_files_stay(
    tmp_path: Path, pack: PackOptions | None, copy: str, is_listed: bool
) -> None:
    output = make_output(tmp_path, pack)
    before, every = files(output), keys(output)
    (part,) = (output / "manifest").iterdir()
    shutil.copy(part, part.with_name(copy))
    if not is_listed:
        (tmp_path / "videos" / "w.mp4").unlink()
    done, said = resume(output, pack)
    assert sum(video.frames for video in done) == (80 if is_listed else 40)
    assert said == []
    assert files(output) == before
    assert keys(output) == every
    assert len(every) == 80


@pytest.mark.parametrize("pack", PACKS)
def test_the_other_rows_of_a_part_with_repeated_ones_keep_their_images(
    tmp_path: Path, pack: PackOptions | None
) -> None:
    """The part loses a unit, and another part's rows name the same files and shards."""
    output = make_output(tmp_path, pack)
    before, every = files(output), keys(output)
    (part,) = (output / "manifest").iterdir()
    table = read_table(part)
    units = table.column("unit").to_pylist()
    pq.write_table(table.filter(pa.array([unit == 0 for unit in units])), part.with_name("algo-0-0.parquet"))
    done, _ = resume(output, pack)
    assert sum(video.frames for video in done) == 80
    assert keys(output) == every
    assert before.items() <= files(output).items(), "the rows that were kept name them"
    done, _ = resume(output, pack)
    assert sum(video.frames for video in done) == 80
    assert keys(output) == every


@pytest.mark.parametrize("pack", PACKS)
@pytest.mark.parametrize("number", [0, 3])
def test_a_unit_whose_rows_name_two_videos_is_made_again_though_one_is_not_in_the_input(
    tmp_path: Path, pack: PackOptions | None, number: int
) -> None:
    """Else all its rows would stay, as those of a video that is gone do, beside the ones made again."""
    output = make_output(tmp_path, pack)
    (part,) = (output / "manifest").iterdir()
    table = read_table(part)
    videos = table.column("video").to_pylist()
    videos[number] = "gone.mp4"
    place, field = table.schema.get_field_index("video"), table.schema.field("video")
    pq.write_table(table.set_column(place, field, pa.array(videos).cast(field.type)), part)
    done, _ = resume(output, pack)
    assert [(video.name, video.frames) for video in done] == [("v.mp4", 20), ("w.mp4", 40)]
    assert {video for video, _ in keys(output)} == {"v.mp4", "w.mp4"}
    assert len(keys(output)) == 60


def test_a_unit_that_lacks_a_row_is_made_again(tmp_path: Path) -> None:
    output = make_output(tmp_path, None)
    (part,) = (output / "manifest").iterdir()
    pq.write_table(read_table(part).slice(1), part)
    done, _ = resume(output)
    assert [(video.name, video.frames) for video in done] == [("v.mp4", 20), ("w.mp4", 40)]
    assert len(keys(output)) == 60


def test_what_lies_in_the_place_of_a_frame_and_is_no_file_is_named(tmp_path: Path) -> None:
    output = make_output(tmp_path, None)
    frame = output / "frames" / "v" / "00000003.jpg"
    frame.unlink()
    frame.mkdir()
    (frame / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match=r"frames/v/00000003\.jpg"):
        resume(output)
    assert (frame / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("format_", ["", "tar"])
def test_what_nothing_names_any_more_goes(tmp_path: Path, format_: str) -> None:
    pack = PackOptions(format="tar") if format_ else None
    output = make_output(tmp_path, pack)
    (tmp_path / "videos" / "v.mp4").write_bytes(bytes(999))  # another video
    done, _ = resume(output, pack)
    assert [video.name for video in done] == ["w.mp4"]
    assert {video for video, _ in keys(output)} == {"w.mp4"}
    assert not [file for file in files(output) if "/v/" in file]
    assert sum(row["shard"] in files(output) or row["file"] in files(output) for row in rows(output)) == 40


def test_in_order_a_repeated_unit_does_not_end_what_counts(tmp_path: Path) -> None:
    from framefleet.common.job.completed import DoneRange
    from framefleet.common.job.selection import Selection
    from framefleet.common.job.spec import SamplingOptions
    from framefleet.launcher.output.completed_units import prove_video
    from tests.unit.launcher.output.test_resume import VIDEO, unit

    units = [unit(0, 500, 12, sample=0), unit(500, None, 3, sample=12)]
    units += [unit(0, 500, 12, sample=0), unit(500, None, 3, sample=12)]
    units[0].is_whole = False  # the copy is better
    done, rest = prove_video(units, VIDEO, Selection(SamplingOptions(fps="native")))
    assert done is not None
    assert done.ranges == [DoneRange(0, 500, 12, 0), DoneRange(500, None, 3, 0)]
    assert len(rest) == 2
    assert any(each is units[0] for each in rest)


# ---- paths ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["file", "shard"])
@pytest.mark.parametrize("kind", ["relative", "absolute"])
def test_a_row_that_names_a_file_outside_takes_its_part_out(tmp_path: Path, column: str, kind: str) -> None:
    output = make_output(tmp_path, None if column == "file" else PACKS[1])
    victim = tmp_path / "job" / "processing" / "victim.txt"
    victim.write_bytes(b"0")
    name = "../victim.txt" if kind == "relative" else str(victim)
    (part,) = (output / "manifest").iterdir()
    table = read_table(part)
    place = table.schema.get_field_index(column)
    values = table.column(column).to_pylist()
    field = table.schema.field(column)
    table = table.set_column(place, field, pa.array([name, *values[1:]], pa.string()).cast(field.type))
    pq.write_table(table, part)
    done, said = resume(output, None if column == "file" else PACKS[1])
    assert done == []
    assert len(said) == 1
    assert "algo-1-0.parquet" in said[0]
    assert name in said[0]
    assert victim.read_bytes() == b"0"
    assert (output / "job" / "damaged" / "algo-1-0.parquet").is_file()


def test_what_lies_behind_a_link_is_neither_taken_over_nor_removed(tmp_path: Path) -> None:
    output = make_output(tmp_path, None)
    (output / "frames" / "v").rename(tmp_path / "elsewhere")
    (output / "frames" / "v").symlink_to(tmp_path / "elsewhere")
    frame = output / "frames" / "w" / "00000003.jpg"
    frame.rename(tmp_path / "3.jpg")
    frame.symlink_to(tmp_path / "3.jpg")
    done, _ = resume(output)
    assert [(video.name, video.frames) for video in done] == [("w.mp4", 20)]
    assert {video for video, _ in keys(output)} == {"w.mp4"}
    assert len(list((tmp_path / "elsewhere").iterdir())) == 40
    assert (tmp_path / "3.jpg").read_bytes() == b"3"


def test_files_of_the_user_are_not_removed_though_a_useless_row_names_them(tmp_path: Path) -> None:
    output = make_output(tmp_path, None)
    (output / "frames" / "v" / "00000000.jpg").rename(output / "frames" / "v" / "holiday.jpg")
    (part,) = (output / "manifest").iterdir()
    table = read_table(part)
    names = ["frames/v/holiday.jpg", *table.column("file").to_pylist()[1:]]
    place = table.schema.get_field_index("file")
    pq.write_table(table.set_column(place, table.schema.field("file"), pa.array(names, pa.string())), part)
    (tmp_path / "videos" / "v.mp4").write_bytes(bytes(999))
    resume(output)
    assert list((output / "frames" / "v").iterdir()) == [output / "frames" / "v" / "holiday.jpg"]
