"""After a kill or a power cut files are believed by their contents; what ended well is on the disk."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from framefleet.common.errors import UserError
from framefleet.common.host.layout import Layout
from framefleet.common.job.completed import NOTHING_DONE, Done
from framefleet.common.job.spec import JobSpec, write_spec
from framefleet.common.output.shard_fields import PackOptions
from framefleet.launcher.job import JobRequest
from framefleet.launcher.output.clean_end import MARK, begin_changes, end_changes
from framefleet.launcher.output.job_fingerprint import options_of
from framefleet.launcher.output.output_lock import lock_output
from framefleet.launcher.output.resume import check_options, take_over
from framefleet.launcher.targets import local
from tests.unit.launcher.output.test_take_over import PACKS, files, make_output, request_of
from tests.unit.launcher.targets.test_local import RecordingView, fake
from tests.unit.launcher.targets.test_local import make_request as make_request

MakeRequest = Callable[..., JobRequest]


def no_sync(folder: Path) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO), str(folder))


def test_the_mark_stays_until_all_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not begin_changes(tmp_path)
    assert begin_changes(tmp_path), "whoever left it did not come to its end"
    synced: list[bool] = []
    monkeypatch.setattr(
        "framefleet.launcher.output.clean_end.sync_filesystem",
        lambda folder: synced.append((folder / MARK).exists()),
    )
    end_changes(tmp_path)
    assert synced == [True], "synced before the mark goes"
    assert not begin_changes(tmp_path)
    monkeypatch.setattr("framefleet.launcher.output.clean_end.sync_filesystem", no_sync)
    with pytest.raises(UserError, match=r"has not taken all .* --resume"):
        end_changes(tmp_path)
    assert begin_changes(tmp_path)


def test_a_mark_that_is_a_link_makes_no_file_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "output").mkdir()
    (tmp_path / "output" / MARK).symlink_to(tmp_path / "elsewhere")
    assert begin_changes(tmp_path / "output")
    end_changes(tmp_path / "output")
    assert not begin_changes(tmp_path / "output")
    assert not (tmp_path / "elsewhere").exists()


def test_a_job_ends_well_when_its_output_is_on_the_disk(
    make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = make_request()
    synced: list[set[str]] = []

    def sync(folder: Path) -> None:
        synced.append({path.relative_to(folder).parts[0] for path in folder.rglob("*")})

    monkeypatch.setattr("framefleet.launcher.output.clean_end.sync_filesystem", sync)
    with lock_output(request.output) as lock:
        local.run_local(request, view=RecordingView(), lock=lock, command=fake())
    assert len(synced) == 1
    assert {"frames", "manifest", "job", MARK} <= synced[0], "all is merged by then"
    assert not (request.output / MARK).exists()


def test_a_disk_that_does_not_take_the_output_is_no_success(
    make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = make_request()
    monkeypatch.setattr("framefleet.launcher.output.clean_end.sync_filesystem", no_sync)
    with lock_output(request.output) as lock, pytest.raises(UserError, match="has not taken all"):
        local.run_local(request, view=RecordingView(), lock=lock, command=fake())
    assert (request.output / MARK).exists()


@pytest.mark.parametrize(("marked", "asked"), [(False, False), (True, False), (False, True)])
def test_contents_are_looked_at_after_a_crash_and_when_asked(
    make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch, marked: bool, asked: bool
) -> None:
    request = replace(make_request(), resume=True, check_contents=asked)
    checked: list[bool] = []

    def take_nothing(_: JobRequest, *, check: bool, **__: object) -> Done:
        checked.append(check)
        return NOTHING_DONE

    monkeypatch.setattr(local, "take_over", take_nothing)
    if marked:
        begin_changes(request.output)
    with lock_output(request.output) as lock:
        local.run_local(request, view=RecordingView(), lock=lock, command=fake())
    assert checked == [marked or asked]


@pytest.mark.parametrize(
    ("pack", "check"),
    # of a Parquet shard the sizes of its images are read, which tells of the hole without a look at contents
    [
        *((pack, False) for pack in PACKS if pack is None or pack.format == "tar"),
        *((pack, True) for pack in PACKS),
    ],
)
def test_a_file_of_its_size_without_its_bytes_is_made_again(
    tmp_path: Path, pack: PackOptions | None, check: bool
) -> None:
    output = make_output(tmp_path, pack)
    whole = take_over(request_of(output, pack), roots=[], check=check)
    assert sum(video.frames for video in whole.videos) == 80
    victim = output / max(name for name in files(output) if "/v/" in name or name.startswith("shards/"))
    victim.write_bytes(_with_a_hole(victim.read_bytes()))
    done = take_over(request_of(output, pack), roots=[], check=check)
    if not check:
        assert sum(video.frames for video in done.videos) == 80, "sizes tell nothing of it"
        return
    assert sum(video.frames for video in done.videos) < 80
    assert not victim.exists()
    assert take_over(request_of(output, pack), roots=[], check=True) == done, "what is kept is whole"


def _with_a_hole(data: bytes) -> bytes:
    """Zeros in place of a third of it, as after a power cut."""
    third = len(data) // 3
    return data[:third] + bytes(third) + data[2 * third :] if third else bytes(len(data))


@pytest.mark.parametrize("text", [b"", b"{", bytes(300)])
def test_a_job_whose_specification_is_damaged_is_set_aside(tmp_path: Path, text: bytes) -> None:
    output = make_output(tmp_path, None)
    before = files(output)
    root = output / ".framefleet-lost"
    for host in ("algo-1", "algo-2"):
        layout = Layout(root / host)
        write_spec(layout.job_spec, JobSpec(job_id="lost"))
        layout.job_spec.write_bytes(text)
        (layout.output / "frames").mkdir(parents=True)
    request = request_of(output, None)
    check_options(replace(request, output=tmp_path / "none"), [root])
    said: list[str] = []
    done = take_over(request, roots=[root], check=True, note=said.append)
    assert sum(video.frames for video in done.videos) == 80
    assert files(output) == before
    assert not root.exists()
    assert (output / "job" / "damaged" / "framefleet-lost" / "algo-1").is_dir()
    (note,) = said
    assert note.startswith(f"{root.name} is left of a job whose specification is damaged: kept as ")
    assert "job/damaged/framefleet-lost" in note


def test_another_host_has_the_same_specification(tmp_path: Path) -> None:
    root = tmp_path / ".framefleet-lost"
    write_spec(Layout(root / "algo-1").job_spec, JobSpec(job_id="lost"))
    Layout(root / "algo-1").job_spec.write_bytes(b"")
    request = request_of(tmp_path / "a" / "b" / "none", None)
    mine = options_of(request)
    for fps in ("5", "7"):
        spec = JobSpec(job_id="lost", frame_options=mine | {"--fps": fps})
        write_spec(Layout(root / "algo-2").job_spec, spec)
        with pytest.raises(UserError, match="--fps 7") if fps == "7" else contextlib.nullcontext():
            check_options(request, [root])
