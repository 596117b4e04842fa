from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import zmq

from framefleet.common.errors import UserError
from framefleet.common.job.spec import ImageOptions, Mode, SamplingOptions
from framefleet.common.output.shard_fields import PackOptions
from framefleet.common.status import Status
from framefleet.launcher.job import EXIT_DONE, EXIT_INTERRUPTED, EXIT_LOST, JobRequest, JobResult
from framefleet.launcher.options.sampling import SamplingRequest
from framefleet.launcher.output.output_lock import lock_output
from framefleet.launcher.targets import local
from tests.helpers.jobs import REPOSITORY

FAKE_HOST = str(REPOSITORY / "tests" / "faults" / "fake_host.py")
MakeRequest = Callable[..., JobRequest]


def run_local(request: JobRequest, **options: Any) -> JobResult:
    with lock_output(request.output) as lock:
        return local.run_local(request, lock=lock, **options)


class RecordingView:
    """Keeps what it is told, and presses Ctrl-C so many times from the first status on."""

    def __init__(self, *, interrupts: int = 0) -> None:
        self.statuses: list[Status] = []
        self.notes: list[str] = []
        self._interrupts = interrupts

    def update(self, status: Status) -> None:
        self.statuses.append(status)
        while self._interrupts:
            self._interrupts -= 1
            os.kill(os.getpid(), signal.SIGINT)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def close(self) -> None:
        pass


@pytest.fixture
def make_request(tmp_path: Path) -> MakeRequest:
    (tmp_path / "videos").mkdir()
    (tmp_path / "output").mkdir()

    def make(instances: int = 2, *, mode: Mode = "coordinated") -> JobRequest:
        return JobRequest(
            input=tmp_path / "videos",
            output=tmp_path / "output",
            instances=instances,
            slots_per_instance=1,
            sampling=SamplingRequest(SamplingOptions(fps="5")),
            mode=mode,
            image=ImageOptions(),
            on_error="report",
        )

    return make


def fake(*behaviours: str) -> list[str]:
    return [sys.executable, FAKE_HOST, *behaviours]


def tree(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def frames(*units: int) -> set[str]:
    return {f"frames/video-{unit}/{sample:08}.jpg" for unit in units for sample in range(2)}


def is_gone(pid: int) -> bool:
    """No such process, or one that only waits to be reaped by whoever inherited it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True


def record_pids(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The processes that hanging hosts and their children had, read when the launcher collects."""
    pids: list[int] = []
    remove = shutil.rmtree

    def read_then_remove(folder: Path, *, ignore_errors: bool) -> None:
        for path in folder.glob("*/pids"):
            pids.extend(map(int, path.read_text().split()))
        remove(folder, ignore_errors=ignore_errors)

    monkeypatch.setattr(shutil, "rmtree", read_then_remove)
    return pids


def wait_until_gone(pids: list[int]) -> None:
    """Ends by the test's timeout if a process stays."""
    while not all(is_gone(pid) for pid in pids):
        os.sched_yield()


def test_hosts_outputs_are_merged_and_their_roots_removed(make_request: MakeRequest) -> None:
    request, view = make_request(11), RecordingView()
    result = run_local(request, view=view, command=fake())
    assert result.exit_code("report") == EXIT_DONE
    assert result.exit_code("fail") == EXIT_LOST
    assert tree(request.output) == frames(*range(11)) | {
        *(f"manifest/algo-{number}-0.parquet" for number in range(1, 12)),
        ".framefleet-lock",
        "job/journal.jsonl",
        "job/summary.json",
        "job/report.html",
        "job/trace.json",
        "job/failures.jsonl",
    }
    assert not list(request.output.glob(".framefleet-*/"))
    assert [failure.reason for failure in result.failures] == ["not a video"]
    assert result.frames_merged == 22
    assert not result.trouble
    assert len(view.statuses[-1].hosts) == 11


@pytest.mark.parametrize("pack", [None, PackOptions()])
def test_packing_is_suggested_once_and_not_to_who_packs(
    make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch, pack: PackOptions | None
) -> None:
    monkeypatch.setattr(local, "suggest_packing", lambda status: f"{status.frames} frames: pack them")
    cluster = local.LocalCluster(
        replace(make_request(), pack=pack), Path("roots"), view := RecordingView(), local.Interrupts()
    )
    status = Status(
        elapsed_s=1.0, frames=7, videos=1, videos_done=0, videos_failed=0, units_done=1,
        frames_per_s=1.0, fraction=0.5, left_s=None, hosts=[],
    )  # fmt: skip
    for host in cluster.hosts:
        monkeypatch.setattr(host, "poll", lambda: True)
    cluster.primary.status = status
    cluster._poll()
    cluster._poll()
    assert view.statuses == [status, status]
    assert view.notes == ([] if pack else ["7 frames: pack them"])


def test_sharded_hosts_are_combined(make_request: MakeRequest) -> None:
    request, view = make_request(3, mode="sharded"), RecordingView()
    result = run_local(request, view=view, command=fake())
    assert result.summary is not None
    assert (result.summary.frames, result.summary.speed, len(result.summary.hosts)) == (6, 3.0, 3)
    assert result.exit_code("report") == EXIT_DONE
    assert sorted(failure.video for failure in result.failures) == [f"bad-algo-{n}.mp4" for n in (1, 2, 3)]
    assert {f"job/algo-{n}/{name}" for n in (1, 2, 3) for name in ("journal.jsonl", "summary.json")} < tree(
        request.output
    )
    assert view.statuses[-1].frames == 6


def test_empty_folders_of_launchers_killed_early_are_removed_and_others_are_not(
    make_request: MakeRequest,
) -> None:
    request = make_request()
    (request.output / ".framefleet-20261201-141058-6d269b").mkdir()
    kept = request.output / ".framefleet-20261201-141058-6d269c"
    (kept / "of somebody").mkdir(parents=True)
    run_local(request, view=RecordingView(), command=fake())
    assert list(request.output.glob(".framefleet-*/")) == [kept]


def test_killed_host_does_not_end_the_job(make_request: MakeRequest) -> None:
    request, view = make_request(3), RecordingView()
    result = run_local(request, view=view, command=fake("die@algo-2"))
    assert result.exit_code("report") == EXIT_DONE
    assert tree(request.output) >= frames(0, 2)
    assert view.notes == ["algo-2 was killed by SIGKILL: its work goes to the others"]
    assert result.trouble == view.notes
    logs = {path.name: path.read_text() for path in (request.output / "job" / "logs").iterdir()}
    assert logs == {"algo-2.log": "the disk is on fire\n"}


def test_killed_sharded_host_fails_the_job(make_request: MakeRequest) -> None:
    request = make_request(2, mode="sharded")
    result = run_local(request, view=RecordingView(), command=fake("die@algo-2"))
    assert result.exit_code("report") == EXIT_LOST
    assert tree(request.output) >= frames(0)
    assert result.trouble == ["algo-2 was killed by SIGKILL: its share of the videos is not done"]


def test_coordinator_gone_stops_the_others_and_shows_its_last_words(
    make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "KILL_AFTER_S", 0.3)
    pids = record_pids(monkeypatch)
    request = make_request(2)
    result = run_local(
        request, view=RecordingView(), command=fake("no-summary@algo-1", "leave-hanging@algo-2")
    )
    assert result.exit_code("report") == EXIT_LOST
    assert result.summary is None
    assert result.log_tail[-2:] == ["cannot go on: \x1b[31mno reason", "none at all"]
    assert result.trouble == ["algo-1 ended with exit code 3: it was the coordinator's host"]
    assert frames(0) <= tree(request.output)
    wait_until_gone(pids)


def test_host_that_does_not_leave_is_killed(
    make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "LEAVE_GRACE_S", -10.0)
    monkeypatch.setattr(local, "KILL_AFTER_S", 0.3)
    pids = record_pids(monkeypatch)
    result = run_local(make_request(2), view=RecordingView(), command=fake("leave-hanging@algo-2"))
    assert result.exit_code("report") == EXIT_DONE
    assert len(pids) == 2
    wait_until_gone(pids)


def test_host_that_the_coordinator_gave_up_is_not_waited_for(
    make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "LEAVE_GRACE_S", 3600.0)
    pids = record_pids(monkeypatch)
    command = fake("lost", "leave-hanging@algo-2")
    result = run_local(make_request(2), view=RecordingView(), command=command)
    assert result.exit_code("report") == EXIT_DONE
    assert len(pids) == 2
    wait_until_gone(pids)


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ("lose-a-frame", "1 files of the manifest are missing"),
        ("lose-the-rows", "2 frames were committed and"),
    ],
)
def test_frames_that_are_missing_after_the_merge_are_a_failure(
    make_request: MakeRequest, behaviour: str, words: str
) -> None:
    result = run_local(make_request(2), view=RecordingView(), command=fake(f"{behaviour}@algo-2"))
    assert result.lost
    assert result.exit_code("report") == EXIT_LOST
    assert any(words in trouble for trouble in result.trouble)


@pytest.mark.parametrize("interrupts", [1, 2])
def test_interrupt_ends_every_process(
    make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch, interrupts: int
) -> None:
    monkeypatch.setattr(local, "KILL_AFTER_S", 0.3 if interrupts == 1 else 600.0)
    pids = record_pids(monkeypatch)
    before = signal.getsignal(signal.SIGINT)
    result = run_local(make_request(2), view=RecordingView(interrupts=interrupts), command=fake("hang"))
    assert result.exit_code("report") == EXIT_INTERRUPTED
    assert pids
    wait_until_gone(pids)
    assert signal.getsignal(signal.SIGINT) is before


def test_stopped_host_is_ended_too(make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "KILL_AFTER_S", 0.3)
    pids = record_pids(monkeypatch)
    request = make_request(1)

    class StoppingView(RecordingView):
        def update(self, status: Status) -> None:
            (path,) = request.output.glob(".framefleet-*/*/pids")
            os.kill(int(path.read_text().split()[0]), signal.SIGSTOP)
            super().update(status)

    run_local(request, view=StoppingView(interrupts=1), command=fake("hang"))
    assert len(pids) == 2
    wait_until_gone(pids)


def test_no_process_survives_an_error_of_the_launcher(make_request: MakeRequest) -> None:
    request = make_request(2)

    class BrokenView(RecordingView):
        def update(self, status: Status) -> None:
            raise RuntimeError("the terminal is gone")

    with pytest.raises(RuntimeError, match="the terminal is gone"):
        run_local(request, view=BrokenView(), command=fake("hang"))
    pids = [
        int(pid) for path in request.output.glob(".framefleet-*/*/pids") for pid in path.read_text().split()
    ]
    assert pids
    wait_until_gone(pids)


def test_command_that_cannot_start_is_one_clear_error(make_request: MakeRequest) -> None:
    with pytest.raises(UserError, match="cannot start algo-1 of 2 hosts: No such file"):
        run_local(make_request(2), view=RecordingView(), command=["/no/such/python"])


def test_account_of_an_earlier_job_is_not_taken_for_this_one(make_request: MakeRequest) -> None:
    request = make_request(1)
    run_local(request, view=RecordingView(), command=fake())
    result = run_local(request, view=RecordingView(), command=fake("no-summary"))
    assert result.summary is None
    assert result.failures == []
    assert not (request.output / "job" / "summary.json").exists()


def test_conflict_keeps_the_hosts_outputs(make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise UserError("two hosts made different files")

    monkeypatch.setattr(local, "merge", refuse)
    request = make_request(1)
    with pytest.raises(UserError, match="outputs are kept in") as error:
        run_local(request, view=RecordingView(), command=fake())
    (roots,) = request.output.glob(".framefleet-*/")
    assert str(roots) in str(error.value)
    assert tree(roots) >= {f"algo-1/processing/output/{file}" for file in frames(0)}


def test_libzmq_can_take_the_reserved_port_and_others_cannot() -> None:
    with local._reserved_port() as port:
        for _ in range(2):  # a coordinator, and the one that is started after it
            with (
                zmq.Context() as context,
                context.socket(zmq.ROUTER) as router,
                context.socket(zmq.DEALER) as dealer,
            ):
                router.bind(f"tcp://127.0.0.1:{port}")
                dealer.connect(f"tcp://127.0.0.1:{port}")
                dealer.send(b"here")
                assert router.recv_multipart()[1] == b"here"
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))


def test_manifest_and_summary_read_back(make_request: MakeRequest) -> None:
    request = make_request(2)
    run_local(request, view=RecordingView(), command=fake())
    rows = pq.read_table(request.output / "manifest").to_pylist()
    assert {row["file"] for row in rows} == frames(0, 1)
    assert json.loads((request.output / "job" / "summary.json").read_bytes())["outcome"] == "completed"
