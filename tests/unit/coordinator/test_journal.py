"""What is written to a journal can be read, whatever became of its last line."""

from __future__ import annotations

from pathlib import Path

import pytest

from framefleet.common.errors import UserError
from framefleet.coordinator import journal as journal_module
from framefleet.coordinator.journal import (
    BLOCK_BYTES,
    SYNC_S,
    Journal,
    cut_torn_line,
    elapsed_since,
    read_clock,
    read_journal,
)

ENTRIES = [{"event": "start", "name": 'Ünï\n{\n{"event":'}, {"event": "end", "text": "x" * BLOCK_BYTES}]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "job" / "journal.jsonl"
    with Journal(path, elapsed_s=1000.0) as journal:
        for entry in ENTRIES:
            journal.append(dict(entry))
    return path


def without_time(path: Path) -> list[dict[str, object]]:
    return [{name: value for name, value in entry.items() if name != "t_s"} for entry in read_journal(path)]


def test_entries_come_back_in_order_with_the_jobs_time(path: Path) -> None:
    assert without_time(path) == ENTRIES
    assert all(1000.0 <= entry["t_s"] < 1060.0 for entry in read_journal(path))


def test_what_the_system_takes_in_pieces_is_written_to_its_end(path: Path) -> None:
    with Journal(path) as journal:
        file = journal._file

        class Short:
            def write(self, data: memoryview) -> int:
                return file.write(data[:7])

            def __getattr__(self, name: str) -> object:
                return getattr(file, name)

        setattr(journal, "_file", Short())  # noqa: B010 - it is another kind of file
        journal.append({"event": "end", "text": "y" * 100}, {"event": "more"})
    assert without_time(path) == [*ENTRIES, {"event": "end", "text": "y" * 100}, {"event": "more"}]


def test_a_sync_brings_the_file_to_the_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr("framefleet.coordinator.journal.os.fsync", synced.append)
    with Journal(path) as journal:
        journal.sync(0.0)
        assert synced[-1:] == [journal._file.fileno()]


def test_what_is_written_is_on_the_disk_a_second_later(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Journal(path) as journal:
        synced: list[int] = []
        monkeypatch.setattr("framefleet.coordinator.journal.os.fsync", synced.append)
        journal.append({"event": "early"})
        assert synced == []
        journal._synced_at -= 2 * SYNC_S
        journal.append({"event": "late"})
        assert synced == [journal._file.fileno()]


@pytest.mark.parametrize("block", range(1, 24))
def test_a_whole_line_is_kept_wherever_the_pieces_end_that_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(journal_module, "BLOCK_BYTES", block)
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'{"a":1}\n{"b":2}\n{"torn')
    cut_torn_line(path)
    assert path.read_bytes() == b'{"a":1}\n{"b":2}\n'


def test_no_file_is_no_entries(tmp_path: Path) -> None:
    assert list(read_journal(tmp_path / "none")) == []
    cut_torn_line(tmp_path / "none")


@pytest.mark.parametrize("tail", [b'{"event":"lea', b"x" * (3 * BLOCK_BYTES), b'{"event":"whole"}'])
def test_a_torn_last_line_is_cut_off(path: Path, tail: bytes) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole + tail)
    assert without_time(path) == ENTRIES
    cut_torn_line(path)
    assert path.read_bytes() == whole
    with Journal(path) as journal:
        journal.append({"event": "more"})
    assert without_time(path) == [*ENTRIES, {"event": "more"}]


def test_nothing_but_a_torn_line_is_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'{"event"')
    cut_torn_line(path)
    assert path.read_bytes() == b""


@pytest.mark.parametrize("damage", [b"", b"\0\0\0", b"[1]", b"\xff", b'{"event":'])
def test_any_other_damage_is_told_with_its_line(path: Path, damage: bytes) -> None:
    path.write_bytes(path.read_bytes() + damage + b'\n{"event":"more"}\n')
    with pytest.raises(UserError, match="line 3 of the journal"):
        list(read_journal(path))


def test_the_time_of_a_job_goes_on_by_the_machines_own_clock(path: Path) -> None:
    name, now = read_clock()
    assert elapsed_since({"clock": [name, now - 5000.0]}, path) == pytest.approx(5000.0, abs=60.0)


@pytest.mark.parametrize("clock", [["another machine", -1e9], ["", -1e9], None])
def test_elsewhere_it_goes_on_where_the_journal_ends(path: Path, clock: list[object] | None) -> None:
    last = list(read_journal(path))[-1]["t_s"]
    assert elapsed_since({"at": "1970-01-01", **({"clock": clock} if clock else {})}, path) == last


def test_it_never_goes_back(path: Path) -> None:
    name, now = read_clock()
    last = list(read_journal(path))[-1]["t_s"]
    assert elapsed_since({"clock": [name, now + 5000.0]}, path) == last


def test_a_machine_that_does_not_tell_its_name(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "BOOT_ID", path / "none")
    name, now = read_clock()
    assert name == ""
    assert elapsed_since({"clock": [name, now - 1e9]}, path) == list(read_journal(path))[-1]["t_s"]
