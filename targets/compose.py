"""The compose target: every host is a container with its own name, tree, CPU time and memory.

The trees are the local target's, mounted where SageMaker mounts them. Compose makes the network and the
containers; each one is then started, followed and ended through a ``docker start --attach`` of its own, which
stands for it as a process group stands for a local host: it prints what the host prints, passes SIGTERM on,
and ends with its exit code.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from common.done import DoneVideo
from common.errors import UserError
from targets.engine import Engine, build_image, find_engine, run_engine
from targets.hosts import LocalHost
from targets.job import ContainerOptions, JobRequest
from targets.local import Interrupts, LocalCluster
from targets.progress import View

COMPOSE_FILE = "compose.json"
PROJECT_PREFIX = "framefleet-"
LABEL = "framefleet.job"

CONFIG, JOB, VIDEOS, OUTPUT = (
    "/opt/ml/config",
    "/opt/ml/processing/input/job",
    "/opt/ml/processing/input/videos",
    "/opt/ml/processing/output",
)
LEAST_CPUS = 0.01  # the engine's own bound
MEMORY_SHARE = 0.8  # of the machine's, for all hosts
LEAST_MEMORY_BYTES = 512 * 2**20
KILLED = 128 + signal.SIGKILL  # what the engine says of a container that was
SIGNAL_TIMEOUT_S = 20.0
GRACE_S = 10.0  # as of `docker stop`: a quarter of a CPU takes its time to put things in order


def container_limits(options: ContainerOptions, instances: int, engine: Engine) -> ContainerOptions:
    """What each of ``instances`` hosts may use, if the user has not said so: its share of the machine."""
    share_bytes = int(engine.memory_bytes * MEMORY_SHARE) // instances
    return ContainerOptions(
        cpus=options.cpus or max(LEAST_CPUS, round(engine.cpus / instances, 2)),
        memory_bytes=options.memory_bytes or max(LEAST_MEMORY_BYTES, share_bytes),
    )


def compose_file(
    hosts: Sequence[ComposeHost],
    *,
    videos: Path,
    image: str,
    user: str,
    limits: ContainerOptions,
    job_id: str,
) -> dict[str, Any]:
    """The compose file of a job, for compose 1.27 and later; ``hosts`` have been prepared."""

    def mount(source: Path, target: str, *, read_only: bool = True) -> dict[str, Any]:
        return {"type": "bind", "source": _literal(str(source)), "target": target, "read_only": read_only}

    services = {
        host.name: {
            "image": image,
            "container_name": host.container,
            "hostname": host.name,
            "user": user,
            "cpus": limits.cpus,
            "mem_limit": limits.memory_bytes,
            "labels": {LABEL: job_id},
            "volumes": [
                mount(host.layout.resource_config.parent, CONFIG),
                mount(host.layout.job_spec.parent, JOB),
                mount(videos, VIDEOS),
                mount(host.layout.output, OUTPUT, read_only=False),
            ],
        }
        for host in hosts
    }
    return {"services": services, "networks": {"default": {"labels": {LABEL: job_id}}}}


def _literal(text: str) -> str:
    """Compose puts variables in for ``$``."""
    return text.replace("$", "$$")


class ComposeHost(LocalHost):
    """A host that is a container; its ``_process`` is the command attached to it."""

    def __init__(self, *, name: str, root: Path, container: str) -> None:
        super().__init__(name=name, root=root)
        self.container = container

    def start(self, command: Sequence[str], *, keep_open: Sequence[int] = ()) -> None:
        """Start the container; the image knows the command."""
        super().start(["docker", "start", "--attach", self.container], keep_open=keep_open)

    def kill(self) -> None:
        if self.running:
            kill_containers([self])
            super().kill()

    def ending(self) -> str:
        return "was killed by SIGKILL" if self.returncode == KILLED else super().ending()


def kill_containers(hosts: Sequence[ComposeHost]) -> None:
    """End the containers at once, paused ones too; those that have ended are no trouble."""
    if hosts:
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(
                ["docker", "kill", *(host.container for host in hosts)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
                start_new_session=True,
                timeout=SIGNAL_TIMEOUT_S,
            )


class ComposeCluster(LocalCluster):
    """The containers of one job, their network, and the compose file that describes both."""

    host_type = ComposeHost

    def __init__(
        self,
        request: JobRequest,
        roots: Path,
        view: View,
        interrupts: Interrupts,
        done: Sequence[DoneVideo] = (),
    ) -> None:
        self._project = PROJECT_PREFIX + roots.name.rpartition("framefleet-")[2]
        self._containers: list[ComposeHost] = []
        super().__init__(request, roots, view, interrupts, done)
        self._file = roots / COMPOSE_FILE
        self._is_made = False
        self._engine = find_engine()

    def _make_host(self, name: str, root: Path) -> ComposeHost:
        self._containers.append(self.host_type(name=name, root=root, container=f"{self._project}-{name}"))
        return self._containers[-1]

    def _endpoint(self, resources: contextlib.ExitStack) -> None:
        """The primary's name is its address."""

    def _grace_s(self) -> float:
        return GRACE_S

    def prepare(self, resources: contextlib.ExitStack) -> None:
        super().prepare(resources)
        image = build_image()
        described = compose_file(
            self._containers,
            videos=self._request.input,
            image=image,
            user=self._engine.user,
            limits=container_limits(self._request.containers, len(self._containers), self._engine),
            job_id=self._spec.job_id,
        )
        self._file.write_bytes(msgspec.json.format(msgspec.json.encode(described), indent=2))
        self._is_made = True
        self._compose("up", "--no-start", doing="make the containers")

    def close(self) -> None:
        kill_containers([host for host in self._containers if host.running])
        super().close()
        if self._is_made:
            try:
                self._compose("down", "--timeout", "0", doing="remove the containers")
            except UserError as error:
                self.trouble.append(str(error))

    def _compose(self, *arguments: str, doing: str) -> None:
        command = [*self._engine.compose, "--file", str(self._file), "--project-name", self._project]
        run_engine([*command, *arguments], doing=doing)
