"""SageMaker Processing's side of the container contract, played with the engine's own commands.

Every host is a container of the real image, run as it is: its exec-form entry point as the first process,
the platform's tree of mounts under ``/opt/ml``, and host names that have nothing to do with the machine's.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from framefleet.common.job.spec import JobSpec, SamplingOptions, SchedulingOptions, write_spec
from framefleet.common.protocol.transport import make_keys
from framefleet.launcher.output.merge import HostOutput, merge
from framefleet.launcher.targets.docker_image import ensure_image
from tests.faults.faulty_containers import GATE, gate_mounts
from tests.faults.held_slots import VARIABLE, Gate

ML = "/opt/ml"
# what the engine itself tells of a container whose mounts lie below /opt/ml
MOUNT_POINTS = {
    "C /opt", "A /opt/ml", "A /opt/ml/config", "A /opt/ml/output", "A /opt/ml/processing",
    "A /opt/ml/processing/input", "A /opt/ml/processing/input/job", "A /opt/ml/processing/input/videos",
    "A /opt/ml/processing/output",
}  # fmt: skip
TOUCHED = {"C /tmp"}  # a folder that sockets came into and left again
SCHEDULING = SchedulingOptions(
    unit_span_s=0.5, cut="anywhere", heartbeat_s=0.5, lease_s=5.0, host_wait_s=120.0
)


@dataclass(frozen=True, slots=True)
class Ended:
    """What the platform sees of a host that has ended."""

    code: int
    message: bytes | None
    elsewhere: set[str]  # changes of files that are on none of the mounts
    log: str


SAMPLING = SamplingOptions(fps="native")


class PlatformJob:
    """The hosts of one job, each with a folder of its own below ``folder``."""

    def __init__(
        self,
        folder: Path,
        videos: Path,
        names: Sequence[str],
        *,
        interface: str | None,
        image: str | None = None,
        entrypoint: Sequence[str] = (),
        more_inputs: dict[str, Path] | None = None,
        held_after: int | None = None,
    ) -> None:
        """``held_after``: a slot is held when it has completed so many units, until ``gate`` is opened."""
        self.folder = folder
        self.names = list(names)
        self._id = uuid.uuid4().hex[:12]
        self._videos = videos
        self._interface = interface
        self._image = image or ensure_image()
        self._entrypoint = list(entrypoint)
        self._more_inputs = more_inputs or {}
        self._gate_options: list[str] = []
        if held_after is not None:
            self.gate = Gate(folder, held_after)
            self._entrypoint = ["python", "-m", "tests.faults.held_slots"]
            mounts = gate_mounts(self.gate.folder)
            self._gate_options = ["--env", f"{VARIABLE}={GATE}"]
            self._gate_options += [f"--volume={source}:{target}" for source, target in mounts]
        spec = JobSpec(
            job_id=self._id,
            sampling=SAMPLING,
            slots_per_host=1,
            scheduling=SCHEDULING,
            keys=make_keys(),
        )
        write_spec(folder / "job" / "job.json", spec)

    def __enter__(self) -> PlatformJob:
        engine("network", "create", "--internal", self._id)  # hosts reach each other and nothing else
        return self

    def __exit__(self, *_: object) -> None:
        for name in self.names:
            with contextlib.suppress(subprocess.CalledProcessError):
                engine("rm", "--force", "--volumes", self.container(name))
        engine("network", "rm", self._id)

    def container(self, name: str) -> str:
        return f"{self._id}-{self.names.index(name)}"

    def config(self, name: str) -> dict[str, Any]:
        """What ``resourceconfig.json`` holds on a host."""
        config: dict[str, Any] = {"current_host": name, "hosts": self.names}
        if self._interface is not None:
            config["network_interface_name"] = self._interface
        return config

    def start(self, name: str, *, config: dict[str, Any] | None = None) -> None:
        """Prepare a host's folders and start it."""
        root = self.folder / name
        for below in ("config", "output", "processing-output"):
            (root / below).mkdir(parents=True)
        (root / "config" / "resourceconfig.json").write_text(json.dumps(config or self.config(name)))
        (root / "config" / "processingjobconfig.json").write_text(json.dumps({"ProcessingJobName": self._id}))
        mounts = [
            (root / "config", f"{ML}/config", "ro"),
            (self.folder / "job", f"{ML}/processing/input/job", "ro"),
            (self._videos, f"{ML}/processing/input/videos", "ro"),
            (root / "processing-output", f"{ML}/processing/output", "rw"),
            (root / "output", f"{ML}/output", "rw"),
            *((source, target, "ro") for target, source in self._more_inputs.items()),
        ]
        first, rest = self._entrypoint[:1], self._entrypoint[1:]
        engine(
            "run", "--detach", "--name", self.container(name), "--network", self._id,
            "--network-alias", name, "--cpus", "0.5", "--user", f"{os.getuid()}:{os.getgid()}",
            *(part for source, target, mode in mounts for part in ("--volume", f"{source}:{target}:{mode}")),
            *self._gate_options, *(("--entrypoint", first[0]) if first else ()), self._image, *rest,
        )  # fmt: skip

    def ended(self, name: str) -> Ended:
        """Wait for a host to end."""
        container = self.container(name)
        code = int(engine("wait", container))
        message = self.folder / name / "output" / "message"
        changed = set(engine("diff", container).splitlines())
        return Ended(
            code=code,
            message=message.read_bytes() if message.exists() else None,
            elsewhere=changed - MOUNT_POINTS - TOUCHED,
            log=engine("logs", container),
        )

    def committed(self) -> Iterator[dict[str, Any]]:
        """The coordinator's entries on units that are done."""
        with contextlib.suppress(FileNotFoundError):
            path = self.folder / min(self.names) / "processing-output" / "job" / "journal.jsonl"
            for line in path.read_text().splitlines(keepends=True):
                if line.endswith("\n") and '"committed"' in line:
                    yield json.loads(line)

    def until(self, what: Callable[[], Any]) -> None:
        """Wait for a state of the running hosts; fail if one of them ends before."""
        while not what():
            states = engine(
                "ps", "--all", "--filter", f"name={self._id}", "--format", "{{.Names}} {{.Status}}"
            )
            assert "Exited" not in states, [engine("logs", line.split()[0]) for line in states.splitlines()]

    def upload(self, output: Path) -> None:
        """Make one output of those of the hosts, as S3 does."""
        hosts = [HostOutput(name, self.folder / name / "processing-output") for name in self.names]
        merged = merge(hosts, output, mode="coordinated", primary=min(self.names), sampling=SAMPLING)
        assert merged.missing == []
        assert merged.damaged == []


def engine(*arguments: str) -> str:
    """Run a command of the engine's; what it printed."""
    done = subprocess.run(
        ["docker", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if arguments[0] == "logs" else subprocess.PIPE,
        text=True,
        check=True,
        timeout=300,
    )
    return done.stdout.strip()
