"""Parts of a manifest that are damaged, or no parts: noticed, named and set aside, or read as they were."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from framefleet.common.errors import UserError
from framefleet.common.host.layout import Layout
from framefleet.common.job.spec import ImageOptions
from framefleet.common.output.manifest import FIELDS, read_part, write_part
from framefleet.common.output.part_file import MAX_BYTES, PartError, read_schema, read_table
from framefleet.coordinator.simulation.hosts import LIBRARIES
from framefleet.launcher.job import JobRequest
from framefleet.launcher.options.sampling import NAMES, make_sampling
from framefleet.launcher.output.completed_units import read_options
from framefleet.launcher.output.output_folder import prepare_output
from framefleet.launcher.output.resume import take_over
from framefleet.worker.publishing.publication import Extent
from framefleet.worker.publishing.publisher import Publisher
from tests.helpers.publishing_hosts import stage

COLUMNS = [name for name, _, _ in FIELDS]
OPTIONS = {"--fps": "5"}
FLIPS = int(os.environ.get("FRAMEFLEET_FLIPS", "60"))


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Of a finished job: two hosts with a part each, of a video each."""
    layout = Layout(tmp_path / "job")
    (tmp_path / "videos").mkdir()
    for unit, name in enumerate(("v", "w")):
        (tmp_path / "videos" / f"{name}.mp4").write_bytes(bytes(1000))
        publisher = Publisher(layout, f"algo-{unit + 1}", OPTIONS)
        publisher.made_with(LIBRARIES)
        rows = stage(layout, unit, 1, range(40))
        publisher.add(unit, 1, f"{name}.mp4", name, rows, 0, extent=Extent(shown=40, video_bytes=1000))
        publisher.flush()
    return layout.output


def part(output: Path) -> Path:
    return output / "manifest" / "algo-1-0.parquet"


def request_in(output: Path) -> JobRequest:
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
    )


def resume(output: Path) -> tuple[list[str], list[str]]:
    """The videos that are taken over, and what is said."""
    said: list[str] = []
    done = take_over(request_in(output), roots=[], note=said.append).videos
    assert all(video.is_whole and video.frames == 40 for video in done)
    return [video.name for video in done], said


def outcome(path: Path, rows: pa.Table) -> bool:
    """Whether damage is noticed; if not, all that the part says is as it was."""
    try:
        found, options = read_part(path, COLUMNS), read_options(path)
    except PartError as error:
        return str(path) in str(error)
    assert found.equals(rows)
    assert options == OPTIONS
    return False


def test_no_flipped_bit_changes_a_row(output: Path) -> None:
    path = part(output)
    rows, data = read_part(path, COLUMNS), path.read_bytes()
    seal = data.index(b"\0framefleet seal")
    chance = random.Random(17)
    bits = {chance.randrange(8 * len(data)) for _ in range(FLIPS)}
    bits |= {8 * at + 5 for at in range(seal, seal + 48)}
    bits |= set(range(8 * (len(data) - 8), 8 * len(data)))
    unnoticed = []
    for bit in sorted(bits):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        if not outcome(path, rows):
            unnoticed.append(bit // 8)
    # the seal's own mark: what it seals is as it was
    assert unnoticed
    assert all(seal <= at < seal + 16 for at in unnoticed)


def test_a_part_may_be_cut_anywhere(output: Path) -> None:
    path = part(output)
    rows, data = read_part(path, COLUMNS), path.read_bytes()
    for end in [*range(12), *range(12, len(data), 997), len(data) - 8, len(data) - 1]:
        path.write_bytes(data[:end])
        assert outcome(path, rows)
        path.write_bytes(data + data[:end])
        assert outcome(path, rows) == (end > 0)


def test_damage_in_a_part_without_a_seal_is_mostly_noticed_by_its_pages(output: Path) -> None:
    path = part(output)
    pq.write_table(read_table(path), path, write_page_checksum=True, compression="zstd")
    rows, data = read_part(path, COLUMNS), path.read_bytes()
    assert b"framefleet seal" not in data
    end = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    chance = random.Random(18)
    for _ in range(FLIPS):
        flipped = bytearray(data)
        flipped[chance.randrange(end)] ^= 1 << chance.randrange(8)
        path.write_bytes(flipped)
        try:
            assert read_part(path, COLUMNS).equals(rows)
        except PartError:
            continue


def test_a_sealed_part_is_a_parquet_file_as_any(output: Path) -> None:
    assert b"\0framefleet seal" in part(output).read_bytes()
    assert pq.read_table(part(output)).num_rows == 40
    assert ds.dataset(output / "manifest").to_table().num_rows == 80


def null(path: Path) -> None:
    table = read_table(path)
    values = [None, *table.column("time_base").to_pylist()[1:]]
    place, field = table.schema.get_field_index("time_base"), table.schema.field("time_base")
    write(path, table.set_column(place, field.with_nullable(True), pa.array(values).cast(field.type)))


def with_first(column: str, value: object) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        table = read_table(path)
        values = [value, *table.column(column).to_pylist()[1:]]
        place, field = table.schema.get_field_index(column), table.schema.field(column)
        write(path, table.set_column(place, field, pa.array(values).cast(field.type)))

    return change


def write(path: Path, table: pa.Table) -> None:
    write_part(path, table, temporary=path.with_suffix(".tmp"))


def instead(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        path.unlink()
        make(path)

    return change


DAMAGE: dict[str, Callable[[Path], object]] = {
    "cut": lambda path: os.truncate(path, path.stat().st_size - 20),
    "empty": lambda path: os.truncate(path, 0),
    "magic alone": lambda path: path.write_bytes(b"PAR1PAR1"),
    "text": lambda path: path.write_bytes(b"hello" * 50),
    "a sparse file": lambda path: os.truncate(path, MAX_BYTES + 1),
    "a FIFO": instead(os.mkfifo),
    "a folder": instead(Path.mkdir),
    "a link to a device": instead(lambda path: path.symlink_to("/dev/zero")),
    "a link to nothing": instead(lambda path: path.symlink_to("nothing")),
    "no time base": null,
    "a time base that is none": with_first("time_base", "x"),
    "a time base divided by zero": with_first("time_base", "1/0"),
    "a time base that fills the memory": with_first("time_base", "9e999999999"),
    "a path that leads out": with_first("file", "frames/../../v.jpg"),
    "a path with a NUL": with_first("file", "frames/v/\0.jpg"),
    "a shard that leads out": with_first("shard", "shards/../x.tar"),
    "no column of units": lambda path: write(path, read_table(path).drop_columns(["unit"])),
    "samples of text": lambda path: write(
        path, (t := read_table(path)).set_column(1, "sample", t.column("sample").cast(pa.string()))
    ),
    "two columns of one name": lambda path: write(
        path, (t := read_table(path)).append_column("unit", t.column("unit"))
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_part_is_set_aside_and_its_video_done_again(output: Path, damage: str) -> None:
    DAMAGE[damage](part(output))
    kept = part(output).stat(follow_symlinks=False).st_ino
    videos, said = resume(output)
    assert videos == ["w.mp4"]
    (sentence,) = said
    assert sentence.startswith("algo-1-0.parquet is damaged (")
    assert sentence.endswith("set aside as job/damaged/algo-1-0.parquet: its frames are made again")
    assert (output / "job/damaged/algo-1-0.parquet").stat(follow_symlinks=False).st_ino == kept
    assert ds.dataset(output / "manifest", format="parquet").to_table().num_rows == 40
    assert resume(output) == (["w.mp4"], [])


def test_what_is_set_aside_takes_the_place_of_nothing(output: Path) -> None:
    for _ in range(2):
        part(output).write_bytes(b"")
        resume(output)
    names = sorted(path.name for path in (output / "job/damaged").iterdir())
    assert names == ["algo-1-0-1.parquet", "algo-1-0.parquet"]


@pytest.mark.parametrize("column", ["unit_stop", "unit_frames", "video", "video_bytes", "sample"])
def test_a_unit_whose_rows_contradict_one_another_is_done_again(output: Path, column: str) -> None:
    second = read_table(part(output)).column(column)[1].as_py()
    with_first(column, "u.mp4" if column == "video" else second if column == "sample" else 7)(part(output))
    assert resume(output)[0] == ["w.mp4"]


def test_a_disk_that_does_not_give_a_part_damages_nothing(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "framefleet.common.output.part_file.Below.open", lambda *_: (_ for _ in ()).throw(OSError(5, "EIO"))
    )
    with pytest.raises(OSError, match="EIO"):
        read_schema(part(output))


def test_a_part_that_the_disk_does_not_give_is_a_clear_error(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: object, *arguments: object, **options: object) -> NoReturn:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    monkeypatch.setattr("framefleet.common.files.beneath.os.open", refuse)
    with pytest.raises(UserError, match=r"cannot be used: Input/output error \(.*manifest"):
        prepare_output(request_in(output), is_demo=False)
