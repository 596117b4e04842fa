"""One job at a time in an output, from the first look at it to the last change."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from framefleet.common.errors import UserError
from framefleet.common.host.shared_filesystem import LOCK_FILE, link_tree
from framefleet.launcher.cli import main as launch
from framefleet.launcher.output.output_lock import kept_local, lock_output, note_of_running_job, running_job
from framefleet.launcher.targets import local
from tests.helpers.jobs import REPOSITORY

FAKE_HOST = str(REPOSITORY / "tests" / "faults" / "fake_host.py")
HOLDER = """
import subprocess, sys
from pathlib import Path
from framefleet.launcher.output.output_lock import lock_output
with lock_output(Path(sys.argv[1]), "of-the-holder") as lock:
    agent = subprocess.Popen(["cat"], stdin=0, stdout=1, pass_fds=[lock.descriptor])
    print("held", flush=True)
    agent.wait()
"""


def test_a_lock_keeps_others_out_as_long_as_it_is_held(tmp_path: Path) -> None:
    output = tmp_path / "deep" / "out"
    with lock_output(output, "the-first"):
        with pytest.raises(UserError, match=r"job the-first is running in --output .*: wait for it"):
            lock_output(output).__enter__()
        assert running_job(output) == "the-first"
    assert running_job(output) is None
    with lock_output(output) as lock:
        assert running_job(output) == lock.job


def test_the_end_of_a_job_frees_the_lock_though_a_dying_process_has_it_open(tmp_path: Path) -> None:
    with lock_output(tmp_path) as lock:
        kept = os.dup(lock.descriptor)
    with lock_output(tmp_path):
        os.close(kept)


def test_an_agent_holds_the_lock_of_a_launcher_that_was_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as launcher:
        assert launcher.stdin is not None
        assert launcher.stdout is not None
        assert launcher.stdout.readline() == b"held\n"
        launcher.kill()
        launcher.wait()
        with pytest.raises(UserError, match="job of-the-holder is running"):
            lock_output(tmp_path).__enter__()
        launcher.stdin.close()
        with (tmp_path / LOCK_FILE).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # the agent ends
    with lock_output(tmp_path) as lock:
        assert lock.caveat == ""


@pytest.mark.parametrize("make", ["link", "fifo", "folder"])
def test_what_is_no_file_is_not_locked(tmp_path: Path, make: str) -> None:
    victim, path = tmp_path / "victim", tmp_path / "out" / LOCK_FILE
    victim.write_text("precious")
    path.parent.mkdir()
    if make == "link":
        path.symlink_to(victim)
    elif make == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(UserError, match="cannot be written to"):
        lock_output(path.parent).__enter__()
    assert victim.read_text() == "precious"


def test_a_lock_file_that_was_removed_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = fcntl.flock
    calls: list[int] = []

    def remove_once(descriptor: int, operation: int) -> None:
        if not calls:
            (tmp_path / LOCK_FILE).unlink()
        calls.append(descriptor)
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", remove_once)
    with lock_output(tmp_path, "one"), pytest.raises(UserError, match="job one is running"):
        lock_output(tmp_path).__enter__()


def test_a_file_system_without_locks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with lock_output(tmp_path) as lock:
        assert "gives no locks (No locks available)" in lock.caveat


@pytest.mark.parametrize(
    ("kind", "options", "expected"),
    [
        ("ext4", "rw", ""),
        ("nfs4", "rw,vers=4.2,local_lock=none", ""),
        ("nfs", "rw,vers=3,local_lock=all", "nfs"),
        ("nfs", "rw,nolock,local_lock=flock", "nfs"),
        ("lustre", "rw,flock", ""),
        ("lustre", "rw,localflock", "lustre"),
        ("fuse.sshfs", "rw,user_id=0", "fuse.sshfs"),
    ],
)
def test_locks_that_other_machines_do_not_see_are_known(kind: str, options: str, expected: str) -> None:
    mounts = (
        "22 1 0:20 / /other rw shared:1 - nfs a:/b rw,nolock\n"
        "short line\n"
        f"36 35 0:42 / /mnt/out rw,noatime master:1 - {kind} server:/path {options}\n"
    )
    assert kept_local(mounts, "0:42") == expected


# ---- the second of two launchers --------------------------------------------------------------------


@pytest.mark.parametrize("step", ["take_over", "merge"])
@pytest.mark.parametrize("second", ["--resume", "fresh"])
def test_a_second_launcher_is_refused_from_the_take_over_to_the_end_of_the_merge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, second: str
) -> None:
    """The first one stands in a step until the second one has ended."""
    (tmp_path / "videos").mkdir()
    monkeypatch.setattr(local.LocalCluster, "start", with_fake_hosts(local.LocalCluster.start))
    ended: list[subprocess.CompletedProcess[str]] = []
    folders = ["--input", str(tmp_path / "videos"), "--output", str(tmp_path / "out"), "--instances", "1"]
    real: Callable[..., Any] = getattr(local, step)

    def gate(*arguments: Any, **options: Any) -> Any:
        more = [] if second == "fresh" else ["--resume"]
        command = [sys.executable, str(REPOSITORY / "launch.py"), *folders, *more]
        ended.append(subprocess.run(command, capture_output=True, text=True, check=False))
        return real(*arguments, **options)

    monkeypatch.setattr(local, step, gate)
    monkeypatch.setattr(sys, "argv", ["launch.py", *folders, "--resume"])
    assert launch.main() == 0
    (refused,) = ended
    assert refused.returncode == 2, refused.stderr
    assert "is running in --output" in refused.stderr
    assert list((tmp_path / "out" / "frames").rglob("*.jpg"))


def with_fake_hosts(start: Callable[..., None]) -> Callable[..., None]:
    def start_fake(cluster: local.LocalCluster, command: object, lock: int) -> None:
        start(cluster, [sys.executable, FAKE_HOST], lock)

    return start_fake


def test_a_demo_clears_nothing_while_another_job_is_at_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("framefleet.launcher.cli.run._demo_set", lambda: tmp_path)
    monkeypatch.setattr(
        "framefleet.launcher.cli.run.DEFAULT_OUTPUT", str(tmp_path.parent / f"{tmp_path.name}-output")
    )
    output = tmp_path.parent / f"{tmp_path.name}-output"
    (output / "frames").mkdir(parents=True)
    (output / ".framefleet-demo").touch()
    monkeypatch.setattr(sys, "argv", ["launch.py", "--output", str(output)])
    with lock_output(output, "the-first"):
        assert launch.main() == 2
    assert "job the-first is running" in capsys.readouterr().err
    assert (output / "frames").is_dir()


def test_hosts_of_a_cluster_and_the_merge_of_their_outputs_keep_each_other_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "videos").mkdir()
    output = tmp_path / "output"
    assert call_manual(monkeypatch, "job", "--hosts", "1", "--fps", "5", "--output", str(output)) == 0
    with lock_output(output, "a-merge"):
        with pytest.raises(UserError, match="are being merged"):
            link_tree(tmp_path, "host-0")
        for step in ("job", "merge"):
            assert call_manual(monkeypatch, step, "--output", str(output)) == 2
            assert "job a-merge is running" in capsys.readouterr().err
    assert (output / "hosts" / "job" / "job.json").is_file()
    opened: list[int] = []
    real = os.open

    def remember(*arguments: Any, **options: Any) -> int:
        opened.append(real(*arguments, **options))
        return opened[-1]

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", remember)
        link_tree(tmp_path, "host-0")
    assert call_manual(monkeypatch, "merge", "--output", str(output)) == 2
    os.close(opened[0])  # as the end of the host's process does
    assert call_manual(monkeypatch, "merge", "--output", str(output)) == 1
    assert "is running" in capsys.readouterr().err


def call_manual(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["launch.py", "manual", *arguments])
    return launch.main()


def test_who_reads_an_output_is_told_of_the_job_in_it(tmp_path: Path) -> None:
    assert note_of_running_job(tmp_path) == ""
    with lock_output(tmp_path, "the-first"):
        assert "job the-first is running in" in note_of_running_job(tmp_path)


@pytest.mark.parametrize("name", ["frames", "shards", "manifest", "job", "job/logs", "job/damaged"])
def test_an_output_is_not_written_through_a_link_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / name).parent.mkdir(parents=True)
    (tmp_path / "out" / name).symlink_to(tmp_path / "elsewhere")
    arguments = ["--input", str(tmp_path / "videos"), "--output", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["launch.py", *arguments])
    assert launch.main() == 2
    assert f"has {name} as a link" in capsys.readouterr().err
