from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from framefleet.common.errors import UserError
from framefleet.common.job.spec import SamplingOptions
from framefleet.launcher.output.merge import merge
from tests.helpers.merged_hosts import Hosts, Row


@pytest.fixture
def hosts(tmp_path: Path) -> Hosts:
    return Hosts(tmp_path)


def test_frames_of_committed_attempts_are_moved(hosts: Hosts) -> None:
    hosts.add("a", [("frames/v/0.jpg", 0, 1)])
    hosts.add("b", [("frames/v/1.jpg", 1, 1), ("frames/w/0.jpg", 2, 1)])
    hosts.commit("a", (0, 1, "a", 1), (1, 1, "b", 1), (2, 1, "b", 1))
    merged = hosts.merge()
    assert (merged.frames, merged.dropped_rows, merged.rowless, merged.missing) == (3, 0, 0, [])
    assert set(hosts.frames()) == {"frames/v/0.jpg", "frames/v/1.jpg", "frames/w/0.jpg"}
    assert hosts.rows() == {("frames/v/0.jpg", "a"), ("frames/v/1.jpg", "b"), ("frames/w/0.jpg", "b")}
    assert not (hosts.folder / "a" / "frames" / "v" / "0.jpg").exists()


def test_rows_and_files_of_other_attempts_are_left_out(hosts: Hosts) -> None:
    hosts.add("a", [("frames/v/0.jpg", 0, 2), ("frames/v/1.jpg", 1, 1)])
    hosts.add("b", [("frames/v/0.jpg", 0, 1), ("frames/v/2.jpg", 2, 1)], contents={"frames/v/0.jpg": "older"})
    hosts.commit("a", (0, 2, "a", 1), (1, 1, "a", 1))
    merged = hosts.merge()
    assert merged.dropped_rows == 2
    assert hosts.frames() == {"frames/v/0.jpg": "frames/v/0.jpg", "frames/v/1.jpg": "frames/v/1.jpg"}
    assert hosts.rows() == {("frames/v/0.jpg", "a"), ("frames/v/1.jpg", "a")}


def test_what_was_taken_back_is_left_out(hosts: Hosts) -> None:
    hosts.add("a", [("frames/v/0.jpg", 0, 1), ("frames/w/0.jpg", 1, 1)])
    hosts.add("b", [("frames/v/0.jpg", 2, 1)], contents={"frames/v/0.jpg": "anew"})
    voided = json.dumps({"event": "voided", "video": "v.mp4", "attempts": [[0, 1, "a"]]})
    again = {"event": "committed", "unit": 2, "attempt": 1, "host": "b", "frames": 1, "video": "v.mp4"}
    kept = {
        "event": "committed",
        "unit": 1,
        "attempt": 1,
        "host": "a",
        "frames": 1,
        "video": "w.mp4",
        "start": 0,
    }
    tail = "\n".join([json.dumps(kept), voided, json.dumps(again), ""])
    hosts.commit("a", (0, 1, "a", 1), video="v.mp4", tail=tail)
    assert hosts.merge().dropped_rows == 1
    assert hosts.frames() == {"frames/v/0.jpg": "anew", "frames/w/0.jpg": "frames/w/0.jpg"}


def test_part_with_dropped_rows_keeps_its_schema(hosts: Hosts) -> None:
    hosts.add("a", [("frames/v/0.jpg", 0, 1), ("frames/v/1.jpg", 1, 1)])
    before = pq.read_schema(hosts.folder / "a" / "manifest" / "a-0.parquet")
    hosts.commit("a", (1, 1, "a", 1))
    hosts.merge()
    after = pq.read_schema(hosts.output / "manifest" / "a-0.parquet")
    assert after.equals(before, check_metadata=True)
    assert hosts.rows() == {("frames/v/1.jpg", "a")}


def test_part_with_dropped_rows_keeps_row_groups_that_prune(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("framefleet.common.output.manifest.ROWS_PER_GROUP", 2)
    hosts.add("a", [(f"frames/v/{number}.jpg", min(number, 1), 1) for number in range(6)])
    hosts.commit("a", (1, 1, "a", 5))
    hosts.merge()
    found = pq.ParquetFile(hosts.output / "manifest" / "a-0.parquet").metadata
    assert [found.row_group(group).num_rows for group in range(found.num_row_groups)] == [2, 2, 1]
    assert found.row_group(0).column(0).compression == "ZSTD"


def test_a_merge_that_was_cut_short_and_is_done_again_repeats_no_row(hosts: Hosts) -> None:
    hosts.add("a", [("frames/v/0.jpg", 0, 1), ("frames/v/1.jpg", 1, 1)])
    hosts.commit("a", (1, 1, "a", 1))
    hosts.merge()
    hosts.merge()
    parts = list((hosts.output / "manifest").iterdir())
    assert [pq.read_table(part)["file"].to_pylist() for part in parts] == [["frames/v/1.jpg"]]


def test_frame_without_a_row_is_left_out(hosts: Hosts) -> None:
    root = hosts.add("a", [("frames/v/0.jpg", 0, 1)])
    (root / "frames/v/stray.jpg").write_text("half")
    hosts.commit("a", (0, 1, "a", 1))
    hosts.merge()
    assert set(hosts.frames()) == {"frames/v/0.jpg"}


def test_of_two_different_files_of_one_name_neither_counts_and_the_rest_is_merged(hosts: Hosts) -> None:
    rows: list[Row] = [("frames/v/0.jpg", 0, 1), ("frames/v/2.jpg", 0, 1)]
    hosts.add("a", rows, contents={"frames/v/0.jpg": "one", "frames/v/2.jpg": "2"})
    hosts.add("b", [("frames/v/0.jpg", 1, 1)], contents={"frames/v/0.jpg": "two"})
    hosts.add("c", [("frames/v/0.jpg", 2, 1)], contents={"frames/v/0.jpg": "three"})
    hosts.commit("a", (0, 1, "a", 2), (1, 1, "b", 1), (2, 1, "c", 1))
    merged = hosts.merge()
    assert (merged.frames, merged.rowless) == (1, 3)
    assert "frames/v/0.jpg" in merged.damaged[0]
    assert hosts.frames() == {"frames/v/2.jpg": "2"}
    assert hosts.rows() == {("frames/v/2.jpg", "a")}


def test_two_equal_files_of_one_name_are_one(hosts: Hosts) -> None:
    hosts.add("a", [("frames/v/0.jpg", 0, 1)], contents={"frames/v/0.jpg": "same"})
    hosts.add("b", [("frames/v/0.jpg", 1, 1)], contents={"frames/v/0.jpg": "same"})
    hosts.commit("a", (0, 1, "a", 1), (1, 1, "b", 1))
    merged = hosts.merge()
    assert hosts.frames() == {"frames/v/0.jpg": "same"}
    assert (merged.frames, merged.rowless) == (1, 0)
    assert hosts.rows() == {("frames/v/0.jpg", "a")}


def test_the_primary_alone_tells_of_the_job(hosts: Hosts) -> None:
    for name, text in (("b", "of another"), ("a", "of the primary")):
        root = hosts.add(name, [])
        (root / "job").mkdir()
        (root / "job" / "summary.json").write_text(text)
    hosts.merge()
    assert (hosts.output / "job" / "summary.json").read_text() == "of the primary"


def test_row_without_its_file_is_told_and_dropped(hosts: Hosts) -> None:
    hosts.add("a", [("frames/v/0.jpg", 0, 1), ("frames/v/1.jpg", 0, 1)], contents={"frames/v/1.jpg": "here"})
    hosts.commit("a", (0, 1, "a", 2))
    merged = hosts.merge()
    assert (merged.missing, merged.frames) == (["frames/v/0.jpg"], 1)
    assert hosts.rows() == {("frames/v/1.jpg", "a")}


def test_committed_frames_without_rows_are_counted(hosts: Hosts) -> None:
    root = hosts.add("a", [("frames/v/0.jpg", 0, 1)])
    (root / "manifest" / "a-1.parquet").write_bytes(b"PAR1 cut sho")
    hosts.commit("a", (0, 1, "a", 1), (1, 1, "a", 5))
    merged = hosts.merge()
    assert merged.rowless == 5
    (told,) = merged.damaged
    assert told.startswith("a-1.parquet is damaged (")
    assert told.endswith("set aside as job/damaged/a-1.parquet")
    assert (hosts.output / "job/damaged/a-1.parquet").read_bytes() == b"PAR1 cut sho"


def test_torn_journal_line_commits_nothing(hosts: Hosts) -> None:
    hosts.add("a", [("frames/v/0.jpg", 0, 1), ("frames/v/1.jpg", 1, 1)])
    hosts.commit("a", (0, 1, "a", 1), tail='{"event":"committed","unit":1,"attempt":1,"ho')
    hosts.merge()
    assert set(hosts.frames()) == {"frames/v/0.jpg"}


def test_no_journal_commits_nothing(hosts: Hosts) -> None:
    hosts.add("a", [("frames/v/0.jpg", 0, 1)])
    merged = hosts.merge()
    assert (merged.frames, merged.dropped_rows) == (0, 1)
    assert not list(hosts.output.iterdir())


@pytest.mark.parametrize("file", ["frames/../../x.jpg", "/etc/x.jpg", "job/x.jpg", "frames", "frames//x.jpg"])
def test_a_part_with_a_path_that_leaves_frames_is_set_aside_and_the_rest_merged(
    hosts: Hosts, file: str
) -> None:
    hosts.add("a", [("frames/v/0.jpg", 0, 1)])
    hosts.add("b", [(file, 1, 1)], contents={})
    hosts.commit("a", (0, 1, "a", 1), (1, 1, "b", 1))
    merged = hosts.merge()
    assert (merged.frames, merged.rowless) == (1, 1)
    assert repr(file) in merged.damaged[0]
    assert "b-0.parquet" in merged.damaged[0]
    assert hosts.rows() == {("frames/v/0.jpg", "a")}
    assert (hosts.output / "job" / "damaged" / "b-0.parquet").is_file()


def test_a_host_does_not_speak_for_another(hosts: Hosts) -> None:
    """It has made rows for an attempt of the other, with files of its own."""
    hosts.add("b", [("frames/v/0.jpg", 0, 1)], contents={"frames/v/0.jpg": "forged"}, by="c")
    hosts.add("c", [("frames/v/0.jpg", 0, 1)], contents={"frames/v/0.jpg": "honest"})
    hosts.add("a", [("frames/w/0.jpg", 1, 1)])
    hosts.commit("a", (0, 1, "c", 1), (1, 1, "a", 1))
    merged = hosts.merge()
    assert hosts.frames() == {"frames/v/0.jpg": "honest", "frames/w/0.jpg": "frames/w/0.jpg"}
    assert hosts.rows() == {("frames/v/0.jpg", "c"), ("frames/w/0.jpg", "a")}
    assert (merged.rowless, len(merged.damaged)) == (0, 1)
    assert "in the name of host 'c'" in merged.damaged[0]


def test_a_sharded_host_commits_for_itself_alone(hosts: Hosts) -> None:
    for name in ("a", "b"):
        hosts.add(name, [(f"frames/{name}/0.jpg", 0, 1)])
    hosts.commit("a", (0, 1, "a", 1))
    hosts.commit("b", (0, 1, "a", 9), (0, 1, "b", 1))
    merged = hosts.merge(mode="sharded")
    assert (merged.rowless, merged.frames, merged.damaged) == (0, 2, [])


@pytest.mark.parametrize(
    ("fps", "row", "told"),
    [
        ("5", "frames/w/3.jpg", {"video": "v.mp4", "start": 0, "stop": None}),
        ("5", "frames/v/3.jpg", {"video": "v.mp4", "start": 4, "stop": None}),
        ("5", "frames/v/3.jpg", {"video": "v.mp4", "start": 0, "stop": 3}),
        ("native", "frames/v/3.jpg", {"video": "v.mp4", "start": 0, "stop": None, "first_sample": 2}),
        ("native", "frames/v/3.jpg", {"video": "v.mp4", "start": 0, "stop": None, "first_sample": 4}),
    ],
)
def test_rows_that_are_none_of_their_unit_are_set_aside(
    hosts: Hosts, fps: str, row: str, told: dict[str, object]
) -> None:
    hosts.add("a", [(row, 0, 1)])
    hosts.commit("a", (0, 1, "a", 1), **told)  # type: ignore[arg-type]
    merged = hosts.merge(fps=fps)
    assert (merged.frames, merged.rowless) == (0, 1)
    assert "is none of unit 0" in merged.damaged[0]


@pytest.mark.parametrize("fps", ["5", "native"])
def test_rows_of_their_unit_count(hosts: Hosts, fps: str) -> None:
    hosts.add("a", [("frames/v/3.jpg", 0, 1), ("frames/v/4.jpg", 0, 1)])
    hosts.commit(
        "a", (0, 1, "a", 2), video="v.mp4", start=3, stop=5, first_sample=3 if fps == "native" else 0
    )
    assert hosts.merge(fps=fps).frames == 2


@pytest.mark.parametrize(
    "rows",
    [
        [("frames/v/0.jpg", 0, 1), ("frames/v/1.jpg", 0, 1)],  # more than it has committed
        [("frames/v/0.jpg", 1, 1), ("frames/v/0.jpg", 1, 1)],  # one sample twice
    ],
)
def test_rows_beyond_what_was_committed_do_not_hide_what_others_lack(hosts: Hosts, rows: list[Row]) -> None:
    hosts.add("a", [])
    hosts.add("b", rows)
    hosts.commit("a", (0, 1, "b", 1), (1, 1, "b", 2), (2, 1, "c", 1))
    merged = hosts.merge()
    assert (merged.frames, merged.rowless, len(merged.damaged)) == (0, 4, 1)


def test_who_names_the_file_of_another_videos_frame_loses_it(hosts: Hosts) -> None:
    hosts.add("b", [("frames/v/0.jpg", 0, 1)], contents={"frames/v/0.jpg": "forged"})
    part = hosts.folder / "b" / "manifest" / "b-0.parquet"
    table = pq.read_table(part)
    pq.write_table(table.set_column(0, "video", pa.array(["w.mp4"])), part)
    hosts.add("c", [("frames/v/0.jpg", 1, 1)], contents={"frames/v/0.jpg": "honest"})
    hosts.add("a", [])
    hosts.commit("a", (0, 1, "b", 1), (1, 1, "c", 1))
    merged = hosts.merge()
    assert hosts.frames() == {"frames/v/0.jpg": "honest"}
    assert hosts.rows() == {("frames/v/0.jpg", "c")}
    assert (merged.rowless, len(merged.damaged)) == (1, 1)


@pytest.mark.parametrize("place", ["frames/evil", "frames/evil/id.jpg", "manifest", "job", ""])
def test_nothing_is_taken_through_a_hosts_links(hosts: Hosts, place: str) -> None:
    """The files of a user are where they were, and what others have made is merged."""
    hosts.add("a", [("frames/v/0.jpg", 0, 1)])
    root = hosts.add("b", [("frames/evil/id.jpg", 1, 1)])
    (root / "job").mkdir()
    home = hosts.folder / "home"
    (root / place).rename(home)
    (root / place).symlink_to(home)
    before = sorted(home.rglob("*")) if home.is_dir() else [home.read_bytes()]
    hosts.commit("a", (0, 1, "a", 1), (1, 1, "b", 1))
    merged = hosts.merge()
    if place == "job":
        assert merged.frames == 2
        return
    assert (sorted(home.rglob("*")) if home.is_dir() else [home.read_bytes()]) == before
    assert hosts.frames() == {"frames/v/0.jpg": "frames/v/0.jpg"}
    assert hosts.rows() == {("frames/v/0.jpg", "a")}
    assert merged.missing or merged.rowless


@pytest.mark.parametrize("place", ["frames/v/0.jpg", "manifest/b-1.parquet", "job/journal.jsonl"])
def test_pipes_of_a_host_are_not_waited_for(hosts: Hosts, place: str) -> None:
    hosts.add("a", [("frames/w/0.jpg", 1, 1)])
    root = hosts.add("b", [("frames/v/0.jpg", 0, 1)])
    (root / place).parent.mkdir(exist_ok=True)
    (root / place).unlink(missing_ok=True)
    os.mkfifo(root / place)
    hosts.commit("a", (0, 1, "b", 1), (1, 1, "a", 1))
    merged = hosts.merge()
    assert ("frames/w/0.jpg", "a") in hosts.rows()
    assert merged.missing == (["frames/v/0.jpg"] if place.startswith("frames") else [])


def test_frames_cross_a_disk_by_copy(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts.add("a", [("frames/v/0.jpg", 0, 1)])
    hosts.commit("a", (0, 1, "a", 1))
    rename = os.rename

    def refuse_other_disk(source: str, target: str, **descriptors: int) -> None:
        if not source.endswith(".part"):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        rename(source, target, **descriptors)

    monkeypatch.setattr(os, "rename", refuse_other_disk)
    hosts.merge()
    assert hosts.frames() == {"frames/v/0.jpg": "frames/v/0.jpg"}
    assert not (hosts.folder / "a/frames/v/0.jpg").exists()


def test_refusing_disk_is_a_clear_error(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts.add("a", [("frames/v/0.jpg", 0, 1)])
    hosts.commit("a", (0, 1, "a", 1))

    def full(source: str, target: str, **descriptors: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", target)

    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(UserError, match=r"cannot merge .*No space left on device .*0\.jpg"):
        hosts.merge()


def test_sharded_job_files_lie_by_host_and_failures_are_joined(hosts: Hosts) -> None:
    for name in ("a", "b"):
        root = hosts.add(name, [(f"frames/{name}/0.jpg", 0, 1)])
        hosts.commit(name, (0, 1, name, 1))
        (root / "job" / "failures.jsonl").write_text(f'{{"video":"{name}"}}\n')
    hosts.merge(mode="sharded")
    assert set(hosts.frames()) == {"frames/a/0.jpg", "frames/b/0.jpg"}
    job = hosts.output / "job"
    assert (job / "failures.jsonl").read_text() == '{"video":"a"}\n{"video":"b"}\n'
    assert sorted(path.relative_to(job).as_posix() for path in job.rglob("*.jsonl")) == [
        "a/journal.jsonl",
        "b/journal.jsonl",
        "failures.jsonl",
    ]


def test_progress_reaches_the_caller(hosts: Hosts) -> None:
    hosts.add("a", [(f"frames/v/{sample}.jpg", 0, 1) for sample in range(600)])
    hosts.commit("a", (0, 1, "a", 600))
    seen: list[tuple[int, int]] = []
    merge(
        hosts.hosts,
        hosts.output,
        mode="coordinated",
        primary="a",
        sampling=SamplingOptions(fps="5"),
        on_progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(256, 600), (512, 600)]


def test_parts_of_an_earlier_run_keep_their_names(hosts: Hosts) -> None:
    hosts.add("a", [("frames/v/0.jpg", 0, 1)])
    hosts.commit("a", (0, 1, "a", 1))
    hosts.merge()
    (hosts.folder / "a").rename(hosts.folder / "before")
    hosts.hosts.clear()
    hosts.add("a", [("frames/v/1.jpg", 0, 1)])
    hosts.commit("a", (0, 1, "a", 1))
    hosts.merge()
    assert {path.name for path in (hosts.output / "manifest").iterdir()} == {"a-0.parquet", "a-1.parquet"}
    assert hosts.rows() == {("frames/v/0.jpg", "a"), ("frames/v/1.jpg", "a")}
    assert set(hosts.frames()) == {"frames/v/0.jpg", "frames/v/1.jpg"}


def test_a_merge_that_was_cut_short_goes_on(hosts: Hosts) -> None:
    root = hosts.add("a", [("frames/v/0.jpg", 0, 1), ("frames/v/1.jpg", 0, 1)])
    hosts.commit("a", (0, 1, "a", 2))
    (hosts.output / "frames" / "v").mkdir(parents=True)
    (root / "frames/v/0.jpg").rename(hosts.output / "frames/v/0.jpg")
    assert hosts.merge().missing == []
    assert hosts.rows() == {("frames/v/0.jpg", "a"), ("frames/v/1.jpg", "a")}
    assert set(hosts.frames()) == {"frames/v/0.jpg", "frames/v/1.jpg"}
