from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from common.errors import UserError
from targets.merge import HostOutput, Merged, merge

Row = tuple[str, int, int]  # file, unit, attempt


class Hosts:
    """Builds hosts' output folders and merges them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output = folder / "merged"
        self.output.mkdir()
        self.hosts: list[HostOutput] = []

    def add(self, host: str, rows: list[Row], *, contents: dict[str, str] | None = None) -> Path:
        """A host with one manifest part; every file of a row exists unless ``contents`` says otherwise."""
        root = self.folder / host
        (root / "manifest").mkdir(parents=True)
        for file, content in ({row[0]: row[0] for row in rows} if contents is None else contents).items():
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).write_text(content)
        schema = pa.schema(
            [
                ("file", pa.string()),
                ("shard", pa.string()),
                ("unit", pa.int64()),
                ("attempt", pa.int32()),
                ("host", pa.string()),
            ],
            metadata={"made-by": "test"},
        )
        files, units, attempts = ([row[index] for row in rows] for index in range(3))
        table = pa.table([files, [None] * len(rows), units, attempts, [host] * len(rows)], schema=schema)
        pq.write_table(table, root / "manifest" / f"{host}-0.parquet")
        self.hosts.append(HostOutput(host, root))
        return root

    def commit(self, host: str, *attempts: tuple[int, int, str, int], tail: str = "") -> None:
        """Give ``host`` a journal: unit, attempt, host and frames of what was committed."""
        job = self.folder / host / "job"
        job.mkdir()
        entries = [
            {"t_s": 0.5, "event": "committed", "unit": unit, "attempt": attempt, "host": by, "frames": frames}
            for unit, attempt, by, frames in attempts
        ]
        lines = [
            {"event": "start", "job": "committed"},
            *entries,
            {"event": "failed", "unit": 0, "attempt": 1},
        ]
        (job / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + tail)

    def merge(self, *, mode: str = "coordinated") -> Merged:
        assert mode in ("coordinated", "sharded")
        return merge(self.hosts, self.output, mode=mode, primary="a")  # type: ignore[arg-type]

    def frames(self) -> dict[str, str]:
        return {
            path.relative_to(self.output).as_posix(): path.read_text()
            for path in (self.output / "frames").rglob("*")
            if path.is_file()
        }

    def rows(self) -> set[tuple[str, str]]:
        table = pq.read_table(self.output / "manifest")
        return set(zip(table["file"].to_pylist(), table["host"].to_pylist(), strict=True))


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
    monkeypatch.setattr("common.manifest.ROWS_PER_GROUP", 2)
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


def test_two_different_files_of_one_name_are_an_error_that_moves_nothing(hosts: Hosts) -> None:
    hosts.add("a", [("frames/v/0.jpg", 0, 1)], contents={"frames/v/0.jpg": "one"})
    hosts.add("b", [("frames/v/0.jpg", 1, 1)], contents={"frames/v/0.jpg": "two"})
    hosts.commit("a", (0, 1, "a", 1), (1, 1, "b", 1))
    with pytest.raises(UserError) as error:
        hosts.merge()
    assert str(hosts.folder / "a/frames/v/0.jpg") in str(error.value)
    assert str(hosts.folder / "b/frames/v/0.jpg") in str(error.value)
    assert not (hosts.output / "frames").exists()


def test_two_equal_files_of_one_name_are_one(hosts: Hosts) -> None:
    hosts.add("a", [("frames/v/0.jpg", 0, 1)], contents={"frames/v/0.jpg": "same"})
    hosts.add("b", [("frames/v/0.jpg", 1, 1)], contents={"frames/v/0.jpg": "same"})
    hosts.commit("a", (0, 1, "a", 1), (1, 1, "b", 1))
    merged = hosts.merge()
    assert hosts.frames() == {"frames/v/0.jpg": "same"}
    assert merged.frames == 1


def test_conflict_between_other_files(hosts: Hosts) -> None:
    for name, text in (("a", "one"), ("b", "two")):
        root = hosts.add(name, [])
        (root / "job").mkdir()
        (root / "job" / "report.html").write_text(text)
    with pytest.raises(UserError, match=r"job/report\.html"):
        hosts.merge()


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
def test_row_that_leaves_frames_is_refused(hosts: Hosts, file: str) -> None:
    hosts.add("a", [(file, 0, 1)], contents={})
    hosts.commit("a", (0, 1, "a", 1))
    with pytest.raises(UserError, match="not a path below frames/"):
        hosts.merge()


def test_frames_cross_a_disk_by_copy(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts.add("a", [("frames/v/0.jpg", 0, 1)])
    hosts.commit("a", (0, 1, "a", 1))
    replace = os.replace

    def refuse_other_disk(source: str, target: str) -> None:
        if str(hosts.folder / "a") in source:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse_other_disk)
    hosts.merge()
    assert hosts.frames() == {"frames/v/0.jpg": "frames/v/0.jpg"}
    assert not (hosts.folder / "a/frames/v/0.jpg").exists()


def test_refusing_disk_is_a_clear_error(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts.add("a", [("frames/v/0.jpg", 0, 1)])
    hosts.commit("a", (0, 1, "a", 1))

    def full(source: str, target: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", target)

    monkeypatch.setattr(os, "replace", full)
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
