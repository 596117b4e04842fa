"""Real jobs on a local cluster, for tests: start them, look into them, compare what they leave.

A job runs in a process of its own: ``tests/helpers/local_job.py``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from framefleet.common.job.spec import ImageFormat, Mode, OnError, SchedulingOptions
from framefleet.common.media import DROPPED
from framefleet.common.output.shard_fields import PackOptions
from framefleet.common.status import Failure, Summary
from framefleet.launcher.report.accounting import account
from framefleet.launcher.report.read_job import read_job
from framefleet.launcher.report.timeline import Kind
from tests.faults.held_slots import Gate
from tests.helpers.packed_outputs import check_packed

REPOSITORY = Path(__file__).resolve().parents[2]
NOT_COPIED = ("output", "demo", "build", "dist")  # at the top: what jobs and builds leave there
PATIENCE_S = 600.0
AGENTS = (
    ["-m", "framefleet.worker"],
    ["-m", "tests.faults.held_slots"],
    ["-m", "tests.faults.lying_hosts"],
    ["-m", "tests.faults.refusing_disk"],
)  # what an agent's command line has behind the interpreter


def copy_project(folder: Path) -> None:
    """Copy the checkout to ``folder``, links as links, without environments and what is made in it."""

    def ignored(place: str, names: list[str]) -> set[str]:
        at_top = Path(place) == REPOSITORY
        return {
            name
            for name in names
            if name == "__pycache__" or (at_top and (name.startswith(".") or name in NOT_COPIED))
        }

    shutil.copytree(REPOSITORY, folder, symlinks=True, ignore=ignored)


class ContainerFaults(msgspec.Struct, frozen=True, kw_only=True):
    """Containers of ``cpus`` each. A host may start ``late`` by some seconds, or never (-1), and have a
    ``disk`` of few bytes."""

    cpus: float = 0.5
    late: dict[str, float] = {}
    disk: dict[str, int] = {}


class JobOptions(msgspec.Struct, frozen=True, kw_only=True):
    """A job for ``run_local``."""

    input: str
    output: str
    instances: int = 3
    slots: int | None = 1
    fps: str = "5"
    sampling: dict[str, Any] = {}  # options as the command line names them; instead of fps
    mode: Mode = "coordinated"
    format: ImageFormat = "jpg"
    image: dict[str, Any] = {}  # other fields of ImageOptions
    on_error: OnError = "report"
    resume: bool = False
    check: bool = False  # with resume: contents are compared
    pack: PackOptions | None = None
    containers: ContainerFaults | None = None  # hosts are containers, if it is given
    copies: dict[str, str] = {}  # hosts whose input is another folder than that of the rest
    lies: dict[
        str, dict[str, int | str]
    ] = {}  # hosts that tell wrong what videos are: see faults/lying_hosts.py
    refusing: dict[str, tuple[int, int]] = {}  # hosts that may not read behind a byte: errno, and the byte
    gate: str | None = None  # the folder of the gate that holds slots, if one does
    elsewhere: bool = False  # hosts are not of this machine: the launcher does not know their libraries
    others: list[str] = []  # hosts that say that they have other libraries
    scheduling: SchedulingOptions = SchedulingOptions(
        unit_span_s=0.5, cut="anywhere", heartbeat_s=0.5, lease_s=60.0, host_wait_s=60.0
    )  # a host that a busy machine gives no turn for seconds is not lost


class Job:
    """A running or finished job in a process of its own."""

    gate: Gate

    def __init__(
        self,
        source: Path,
        output: Path,
        *,
        held_after: int | None = None,
        environment: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        """``held_after``: a slot is held when it has completed so many units, until ``gate`` is opened.
        ``environment``: variables that the job's processes have besides."""
        if held_after is not None:
            self.gate = Gate(output.parent, held_after)
            options["gate"] = str(self.gate.folder)
        made = JobOptions(input=str(source), output=str(output), **options)
        command = [sys.executable, "-m", "tests.helpers.local_job", msgspec.json.encode(made).decode()]
        self.start(output, command, environment)

    def start(
        self, output: Path, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> None:
        """Start the job's process."""
        self.output = output
        self.text = ""
        self.process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env={**os.environ, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="backslashreplace",
            start_new_session=True,
        )
        running_jobs.append(self)

    def wait(self) -> int:
        """Let it end; the exit code. What it printed is in ``text``."""
        try:
            self.text, _ = self.process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGINT)
            self.text, _ = self.process.communicate(timeout=10)
            raise AssertionError(f"the job did not end:\n{self.text}") from None
        return self.process.returncode

    def journal(self) -> list[dict[str, Any]]:
        """The coordinator's journal as far as it is written, while the job runs."""
        entries = []
        for path in self.output.glob(".framefleet-*/algo-1/processing/output/job/journal.jsonl"):
            for line in path.read_bytes().splitlines():
                try:
                    entries.append(json.loads(line))
                except ValueError:
                    break
        return entries

    def until(self, what: Callable[[], Any]) -> Any:
        """Wait for a state of the running job; fail if it ends before."""
        deadline = time.monotonic() + PATIENCE_S
        while not (found := what()):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.text = self.process.communicate(timeout=10)[0]
                raise AssertionError(f"it ended, or {PATIENCE_S:.0f} s passed, before that:\n{self.text}")
            time.sleep(0.01)
        return found

    def until_held(self, *hosts: str) -> None:
        """Wait until each of these hosts has a slot that is held in the middle of a unit."""
        self.until(lambda: self.is_held(*hosts))

    def is_held(self, *hosts: str) -> bool:
        """Whether each of these hosts has a slot that is held."""
        return all(self.gate.holds(host) for host in hosts)

    def until_told(self, event: str, *, of: str | None = None, times: int = 1) -> None:
        """Wait until the journal has an event so often; ``of`` a host."""
        self.until(
            lambda: sum(e["event"] == event and of in (None, e.get("host")) for e in self.journal()) >= times
        )

    def until_back(self, host: str) -> None:
        """Wait until a host that was given up has been taken in again."""

        def is_back() -> bool:
            events = [e["event"] for e in self.journal() if e.get("host") == host]
            return "host_lost" in events and "host_up" in events[events.index("host_lost") :]

        self.until(is_back)

    def pids(self, host: str, *, slots: bool) -> list[int]:
        """Processes of a host: its slots, or its agent."""
        found = []
        root = f"/{host}\0"
        for folder in Path("/proc").iterdir():
            if not folder.name.isdecimal():
                continue
            try:
                environment = (folder / "environ").read_bytes().decode(errors="replace")
                command = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError, ValueError):
                continue
            if str(self.output) not in environment or root not in environment + "\0":
                continue
            found.append((int(folder.name), parent, command))
        alike = {pid: parent for pid, parent, command in found if command[1:3] in AGENTS}
        # between fork and exec, a child of the agent looks like the agent
        agents = [pid for pid, parent in alike.items() if parent not in alike]
        if not slots:
            return agents
        servers = [
            pid for pid, parent, command in found if parent in agents and "forkserver" in " ".join(command)
        ]
        return [pid for pid, parent, _ in found if parent in servers]

    def coordinators(self) -> list[int]:
        """The coordinator's process, while there is one."""
        found = []
        for folder in Path("/proc").iterdir():
            try:
                if (
                    folder.name.isdecimal()
                    and b"-m\0framefleet.coordinator\0" in (folder / "cmdline").read_bytes()
                ):
                    environment = (folder / "environ").read_bytes().decode(errors="replace")
                    found += [int(folder.name)] * (f"{self.output}/" in environment)
            except OSError:
                continue
        return found

    def kill_group(self, host: str, number: signal.Signals) -> None:
        """Signal a whole host: its agent and all that it has started."""
        (agent,) = self.pids(host, slots=False)
        os.killpg(agent, number)

    def leftovers(self) -> list[int]:
        """Processes of this job that still run."""
        return [pid for number in range(1, 13) for pid in self.pids(f"algo-{number}", slots=False)]


running_jobs: list[Job] = []  # which a test has started; tests/conftest.py ends what it has left


def end_jobs() -> None:
    """End the jobs that a test has left."""
    while running_jobs:
        job = running_jobs.pop()
        if job.process.poll() is None:
            job.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                job.process.communicate(timeout=60)
            job.process.kill()
        job.process.communicate()


def run_job(source: Path, output: Path, **options: Any) -> Job:
    """Run a job that must succeed, whatever its input holds."""
    job = Job(source, output, **options)
    assert job.wait() == 0, job.text
    check_output(output)
    check_report(output)
    return job


def tree(output: Path) -> dict[str, str]:
    """Every image, by its name under ``frames/`` or in its shard, and its SHA-256."""
    if (output / "shards").is_dir():
        return check_packed(output)
    frames = output / "frames"
    return {
        str(path.relative_to(frames)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(frames.rglob("*"))
        if path.is_file()
    }


def rows(output: Path) -> Iterator[dict[str, Any]]:
    """The manifest's rows."""
    for part in sorted((output / "manifest").rglob("*.parquet")):
        yield from pq.read_table(part).to_pylist()


def rewrite(output: Path, column: str, value: Callable[[dict[str, object]], object]) -> None:
    """Change a column of the whole manifest: ``value`` of each row."""
    for part in (output / "manifest").glob("*.parquet"):
        table = pq.read_table(part)
        place = table.schema.get_field_index(column)
        values = pa.array([value(row) for row in table.to_pylist()], table.schema.field(column).type)
        pq.write_table(table.set_column(place, table.schema.field(column), values), part)


def check_output(output: Path) -> None:
    """A row exists if and only if its file does, with this size and hash; nothing of the hosts is left."""
    assert list(output.glob(".framefleet-*/")) == []
    if (output / "shards").is_dir():
        check_packed(output)
        return
    by_file = {f"frames/{name}": digest for name, digest in tree(output).items()}
    every = list(rows(output))
    assert len({(row["video"], row["sample"]) for row in every}) == len(every), "a sample has two rows"
    assert all((row["file"] is None) == (row["status"] in DROPPED) for row in every)
    found = [row for row in every if row["file"] is not None]
    assert len({row["file"] for row in found}) == len(found), "a file has two rows"
    assert {row["file"]: row["sha256"] for row in found} == by_file


def check_report(output: Path) -> None:
    """The report of a completed job is there, and its account of frames, units and time is right."""
    assert {"report.html", "trace.json"} <= {path.name for path in (output / "job").iterdir()}
    timeline, done = read_job(output), summary(output)
    assert timeline.outcome == done.outcome
    assert timeline.frames == done.frames - done.taken_over
    assert sum(attempt.kind is Kind.DONE for attempt in timeline.attempts()) == done.units
    spent = account(timeline.lanes, timeline.makespan_us)
    assert spent.total == len(timeline.lanes) * timeline.makespan_us
    if done.units:
        assert spent.decoding > 0
        assert spent.useful <= 1.001e6 * done.work_s + 1e3 * done.units


def summary(output: Path) -> Summary:
    return msgspec.json.decode((output / "job" / "summary.json").read_bytes(), type=Summary)


def failures(output: Path) -> dict[str, Failure]:
    """Failures by video; more than one for a video is an error here."""
    lines = (output / "job" / "failures.jsonl").read_bytes().splitlines()
    found = [msgspec.json.decode(line, type=Failure) for line in lines]
    assert len({failure.video for failure in found}) == len(found)
    return {failure.video: failure for failure in found}


def verify(*arguments: str | Path) -> tuple[int, str]:
    """Exit code and words of ``launch.py verify``."""
    done = subprocess.run(
        [sys.executable, "launch.py", "verify", *map(str, arguments)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stdout + done.stderr
