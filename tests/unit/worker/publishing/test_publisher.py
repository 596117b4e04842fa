"""Publishing: files and rows appear together, and go together, whatever happens in between."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from framefleet.common.host.layout import OPTIONS_KEY, Layout
from framefleet.common.output.manifest import schema
from framefleet.coordinator.simulation.hosts import LIBRARIES
from framefleet.launcher.output.completed_units import read_libraries
from framefleet.worker.publishing import publisher as publish
from framefleet.worker.publishing.publication import Extent
from framefleet.worker.publishing.publisher import Publisher
from tests.helpers.publishing_hosts import kill_while_publishing, manifest, stage


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def files(layout: Layout) -> set[str]:
    frames = layout.output / "frames"
    return {str(path.relative_to(layout.output)) for path in frames.rglob("*") if path.is_file()}


def check_whole(layout: Layout, *, strays: bool = False) -> None:
    """Every row has its file with its hash; and no file is without a row, unless ``strays``."""
    rows = [row for row in manifest(layout) if row["status"] == "ok"]
    assert len({row["file"] for row in rows}) == len(rows)
    for row in rows:
        data = (layout.output / row["file"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (row["bytes"], row["sha256"])
    if not strays:
        assert files(layout) == {row["file"] for row in rows}


def test_nothing_is_in_the_output_before_the_flush(layout: Layout) -> None:
    publisher = Publisher(layout, "algo-1")
    publisher.add(3, 2, "a/v.mp4", "a/v", stage(layout, 3, 2, range(3)), 0)
    assert files(layout) == set()
    assert publisher.flush() == [(3, 2)]
    assert files(layout) == {f"frames/a/v/{sample:08d}.jpg" for sample in range(3)}
    check_whole(layout)
    assert not (layout.staging / "3-2").exists()
    assert publisher.flush() == []
    row = manifest(layout)[1]
    assert (row["video"], row["sample"], row["unit"], row["attempt"], row["host"]) == (
        "a/v.mp4",
        1,
        3,
        2,
        "algo-1",
    )


def test_staged_files_that_no_row_names_are_dropped(layout: Layout) -> None:
    publisher = Publisher(layout, "algo-1")
    publisher.add(3, 2, "v.mp4", "v", stage(layout, 3, 2, range(5))[:2], 40)
    publisher.flush()
    assert files(layout) == {"frames/v/00000040.jpg", "frames/v/00000041.jpg"}
    check_whole(layout)
    assert not (layout.staging / "3-2").exists()


def test_the_schema_is_stable_and_described(layout: Layout) -> None:
    publisher = Publisher(layout, "algo-1")
    publisher.add(0, 1, "v.mp4", "v", stage(layout, 0, 1, range(1)), 0)
    publisher.flush()
    (part,) = (layout.output / "manifest").iterdir()
    assert part.name == "algo-1-0.parquet"
    written = pq.read_schema(part)
    assert written.equals(schema())
    assert all(field.metadata[b"description"] for field in written)


def test_rows_tell_what_their_unit_covers_and_by_which_options(layout: Layout) -> None:
    publisher = Publisher(layout, "algo-1", {"--fps": "5"})
    publisher.made_with(LIBRARIES)
    extent = Extent(start=10, stop=20, shown=31, video_bytes=1234)
    publisher.add(0, 1, "v.mp4", "v", stage(layout, 0, 1, range(10, 13)), 0, extent=extent)
    publisher.add(1, 1, "v.mp4", "v", stage(layout, 1, 1, range(20, 21)), 0, extent=Extent(start=20))
    publisher.flush()
    publisher.discard(1, 1)
    publisher.add(2, 1, "v.mp4", "v", stage(layout, 2, 1, range(20, 21)), 0, extent=Extent(start=20))
    publisher.flush()
    (part,) = (layout.output / "manifest").iterdir()
    assert json.loads(pq.read_schema(part).metadata[OPTIONS_KEY.encode()]) == {"--fps": "5"}
    assert read_libraries(part) == LIBRARIES
    names = ("unit_start", "unit_stop", "unit_frames", "unit_shown", "video_bytes")
    told = [tuple(row[name] for name in names) for row in manifest(layout)]
    assert told == [(10, 20, 3, 31, 1234)] * 3 + [(20, None, 1, 0, 0)]


def test_native_frames_are_numbered_at_the_commit(layout: Layout) -> None:
    publisher = Publisher(layout, "algo-1")
    publisher.add(0, 1, "v.mp4", "v", stage(layout, 0, 1, range(2)), 40)
    publisher.flush()
    assert files(layout) == {"frames/v/00000040.jpg", "frames/v/00000041.jpg"}
    assert [row["sample"] for row in manifest(layout)] == [40, 41]


def test_a_part_grows_until_it_is_full(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "ROWS_PER_PART", 20)
    publisher = Publisher(layout, "algo-1")
    for unit in range(5):
        publisher.add(unit, 1, "v.mp4", "v", stage(layout, unit, 1, range(unit * 8, unit * 8 + 8)), 0)
        publisher.flush()
    sizes = [pq.read_metadata(layout.output / "manifest" / f"algo-1-{n}.parquet").num_rows for n in range(2)]
    assert sizes == [24, 16]
    check_whole(layout)


@pytest.mark.parametrize("rows_per_part", [50_000, 5])
def test_discard_undoes_an_attempt_wherever_it_is(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, rows_per_part: int
) -> None:
    monkeypatch.setattr(publish, "ROWS_PER_PART", rows_per_part)
    publisher = Publisher(layout, "algo-1")
    stage(layout, 9, 1, range(3))
    publisher.discard(9, 1)
    assert not (layout.staging / "9-1").exists()
    publisher.add(0, 1, "v.mp4", "v", stage(layout, 0, 1, range(4)), 0)
    publisher.add(1, 1, "v.mp4", "v", stage(layout, 1, 1, range(4, 8)), 0)
    publisher.add(2, 1, "v.mp4", "v", stage(layout, 2, 1, range(8, 12)), 0)
    publisher.discard(1, 1)
    assert publisher.flush() == [(0, 1), (2, 1)]
    publisher.discard(0, 1)
    assert files(layout) == {f"frames/v/{sample:08d}.jpg" for sample in range(8, 12)}
    check_whole(layout)


def test_a_file_that_another_attempt_has_too_stays(layout: Layout) -> None:
    publisher = Publisher(layout, "algo-1")
    publisher.add(0, 1, "v.mp4", "v", stage(layout, 0, 1, range(4)), 0)
    publisher.flush()
    publisher.add(0, 2, "v.mp4", "v", stage(layout, 0, 2, range(4)), 0)
    publisher.flush()
    publisher.discard(0, 1)
    assert {row["attempt"] for row in manifest(layout)} == {2}
    check_whole(layout)


def test_a_flush_that_fails_can_be_repeated_or_undone(layout: Layout) -> None:
    publisher = Publisher(layout, "algo-1")
    publisher.add(0, 1, "v.mp4", "v", stage(layout, 0, 1, range(4)), 0)
    publisher.add(1, 1, "w.mp4", "w", stage(layout, 1, 1, range(4)), 0)
    (layout.output / "frames").mkdir(parents=True)
    (layout.output / "frames" / "w").write_bytes(b"in the way")
    with pytest.raises(OSError, match="exists"):
        publisher.flush()
    assert manifest(layout) == []
    (layout.output / "frames" / "w").unlink()
    publisher.discard(1, 1)
    assert publisher.flush() == [(0, 1)]
    check_whole(layout)


@pytest.mark.parametrize("rows_per_part", [50_000, 4])
def test_a_file_of_another_attempt_stays_whichever_part_has_its_row(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, rows_per_part: int
) -> None:
    monkeypatch.setattr(publish, "ROWS_PER_PART", rows_per_part)
    before = Publisher(layout, "algo-1")
    before.add(0, 1, "v.mp4", "v", stage(layout, 0, 1, range(4)), 0)
    before.flush()
    publisher = Publisher(layout, "algo-1")
    publisher.add(1, 1, "v.mp4", "v", stage(layout, 1, 1, range(2, 6)), 0)
    publisher.flush()
    publisher.discard(1, 1)
    assert [(row["unit"], row["sample"]) for row in manifest(layout)] == [(0, n) for n in range(4)]
    check_whole(layout)


def test_rows_that_cannot_be_written_stay_queued(layout: Layout) -> None:
    publisher = Publisher(layout, "algo-1")
    publisher.add(0, 1, "v.mp4", "v", stage(layout, 0, 1, range(4)), 0)
    publisher.add(1, 1, "v.mp4", "v", stage(layout, 1, 1, range(4, 8)), 0)
    (layout.output / "manifest").write_bytes(b"in the way")
    for _ in range(2):
        with pytest.raises(OSError, match="exists"):
            publisher.flush()
    publisher.discard(1, 1)
    assert files(layout) == {f"frames/v/{sample:08d}.jpg" for sample in range(4)}
    (layout.output / "manifest").unlink()
    assert publisher.flush() == [(0, 1)]
    check_whole(layout)


def test_a_discard_that_the_disk_refuses_is_done_later(layout: Layout) -> None:
    publisher = Publisher(layout, "algo-1")
    publisher.add(0, 1, "v.mp4", "v", stage(layout, 0, 1, range(4)), 0)
    publisher.add(1, 1, "v.mp4", "v", stage(layout, 1, 1, range(4, 8)), 0)
    publisher.flush()
    layout.staging.rmdir()
    layout.staging.write_bytes(b"in the way")
    publisher.discard(0, 1)
    assert len(manifest(layout)) == 8
    check_whole(layout)
    layout.staging.unlink()
    publisher.flush()
    assert files(layout) == {f"frames/v/{sample:08d}.jpg" for sample in range(4, 8)}
    check_whole(layout)


def test_the_last_discard_leaves_no_part(layout: Layout) -> None:
    publisher = Publisher(layout, "algo-1")
    publisher.add(0, 1, "v.mp4", "v", stage(layout, 0, 1, range(4)), 0)
    publisher.flush()
    publisher.discard(0, 1)
    assert files(layout) == set()
    assert list((layout.output / "manifest").iterdir()) == []
    publisher.add(0, 2, "v.mp4", "v", stage(layout, 0, 2, range(4)), 0)
    assert publisher.flush() == [(0, 2)]
    check_whole(layout)


def test_what_was_dropped_has_a_row_and_no_file(layout: Layout) -> None:
    publisher = Publisher(layout, "algo-1")
    for unit, dropped in ((1, {10, 13, 19}), (2, range(20, 30)), (3, ())):
        rows = stage(layout, unit, 1, range(unit * 10, unit * 10 + 10), dropped=dropped)
        publisher.add(unit, 1, "v.mp4", "v", rows, 0)
    publisher.flush()
    check_whole(layout)
    told = {row["sample"]: row for row in manifest(layout)}
    assert sorted(told) == list(range(10, 40))
    assert {sample for sample, row in told.items() if row["file"] is None} == {10, 13, 19, *range(20, 30)}
    assert (told[13]["status"], told[13]["bytes"], told[13]["sha256"]) == ("duplicate", 0, None)
    assert {row["unit_frames"] for row in told.values()} == {10}
    for unit, left in ((2, 20), (1, 10), (3, 0)):
        publisher.discard(unit, 1)
        check_whole(layout)
        assert len(manifest(layout)) == left


def test_a_unit_without_frames_is_durable_at_once(layout: Layout) -> None:
    publisher = Publisher(layout, "algo-1")
    publisher.add(0, 1, "v.mp4", "v", [], 0)
    assert publisher.flush() == [(0, 1)]
    publisher.discard(0, 1)
    assert not list(layout.output.rglob("*.parquet"))


def test_rows_are_sorted_by_video_and_sample(layout: Layout) -> None:
    publisher = Publisher(layout, "algo-1")
    for unit, video, samples in ((0, "b", range(4, 6)), (1, "a", range(3)), (2, "b", range(2))):
        publisher.add(unit, 1, video, video, stage(layout, unit, 1, samples), 0)
        publisher.flush()
    order = [(row["video"], row["sample"]) for row in manifest(layout)]
    assert order == [("a", 0), ("a", 1), ("a", 2), ("b", 0), ("b", 1), ("b", 4), ("b", 5)]


@pytest.mark.parametrize("host", ["../evil", "a/b", "host with \u00fcmlaut", "x" * 255, "."])
def test_any_host_name_makes_a_part_in_the_manifest_folder(layout: Layout, host: str) -> None:
    for unit in range(2):
        publisher = Publisher(layout, host)
        publisher.add(unit, 1, f"{unit}.mp4", f"{unit}", stage(layout, unit, 1, range(1)), 0)
        publisher.flush()
    parts = list(layout.output.rglob("*.parquet"))
    assert len(parts) == 2
    assert {part.parent for part in parts} == {layout.output / "manifest"}
    assert {row["host"] for row in manifest(layout)} == {host}


def test_a_new_incarnation_clears_staging_and_keeps_parts(layout: Layout) -> None:
    first = Publisher(layout, "algo-1")
    first.add(0, 1, "v.mp4", "v", stage(layout, 0, 1, range(4)), 0)
    first.flush()
    stage(layout, 1, 1, range(4))
    second = Publisher(layout, "algo-1")
    assert not layout.staging.exists()
    second.add(2, 1, "w.mp4", "w", stage(layout, 2, 1, range(4)), 0)
    second.flush()
    assert len(list((layout.output / "manifest").iterdir())) == 2
    check_whole(layout)


@pytest.mark.parametrize("seed", range(4))
def test_a_killed_process_leaves_whole_parts(layout: Layout, seed: int) -> None:
    chance = random.Random(seed)
    for round_number in range(3):
        kill_while_publishing(layout, 10_000 * round_number + 1, chance)
        check_whole(layout, strays=True)
    assert manifest(layout)


def test_hosts_that_share_an_output_leave_each_others_staging_alone(layout: Layout) -> None:
    """As in the SDK's local mode, where one folder is the output of all containers."""
    one, other = layout.of_host("algo-1"), layout.of_host("algo-2")
    first = Publisher(one, "algo-1")
    rows = stage(one, 0, 1, range(4))
    second = Publisher(other, "algo-2")
    second.add(1, 1, "w.mp4", "w", stage(other, 1, 1, range(4)), 0)
    second.flush()
    other.remove_staging()
    first.add(0, 1, "v.mp4", "v", rows, 0)
    first.flush()
    one.remove_staging()
    assert {row["file"] for row in manifest(layout)} == {
        f"frames/{video}/{sample:08}.jpg" for video in "vw" for sample in range(4)
    }
    assert not layout.staging.exists()


def test_a_host_that_comes_back_removes_nothing_that_another_has_done_again(layout: Layout) -> None:
    one, other = layout.of_host("algo-1"), layout.of_host("algo-2")
    late, second = Publisher(one, "algo-1"), Publisher(other, "algo-2")
    late.add(0, 1, "v.mp4", "v", stage(one, 0, 1, range(4)), 0)
    late.flush()
    second.add(0, 2, "v.mp4", "v", stage(other, 0, 2, range(4)), 0)
    second.flush()
    late.discard(0, 1)
    assert {(row["host"], row["attempt"]) for row in manifest(layout)} == {("algo-2", 2)}
    check_whole(layout)
    other.remove_staging()
    late.add(1, 1, "v.mp4", "v", stage(one, 1, 1, range(2, 4)), 0)
    late.flush()
    late.discard(1, 1)
    check_whole(layout)
