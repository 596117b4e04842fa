"""The compose target: every host is a container with its own name, tree, CPU time and memory.

The trees are the local target's, mounted where SageMaker mounts them. Compose makes the network and the
containers. Each one is then started and followed by a small shell of its own, which stands for it as a
process group stands for a local host: it prints what the host prints, passes SIGTERM on, and ends when the
host does.
What became of the host is the engine's to tell, as that shell may be ended by other things too.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from framefleet.common.errors import UserError
from framefleet.common.job.completed import NOTHING_DONE, Done
from framefleet.common.job.spec import MetricsOptions
from framefleet.launcher.console.progress import View
from framefleet.launcher.job import ContainerOptions, JobRequest
from framefleet.launcher.output.output_lock import running_job
from framefleet.launcher.targets.docker_engine import Engine, find_engine, run, run_engine
from framefleet.launcher.targets.docker_image import ensure_image
from framefleet.launcher.targets.local import Interrupts, LocalCluster
from framefleet.launcher.targets.local_host import LocalHost

COMPOSE_FILE = "compose.json"
PROJECT_PREFIX = "framefleet-"
JOB_LABEL, FOLDER_LABEL = "framefleet.job", "framefleet.folder"

CONFIG, JOB, VIDEOS, OUTPUT = (
    "/opt/ml/config",
    "/opt/ml/processing/input/job",
    "/opt/ml/processing/input/videos",
    "/opt/ml/processing/output",
)
MAX_PROCESSES = 4096  # and threads, of a container; a host has some three for each slot
LEAST_CPUS = 0.01  # the engine's own bound
MEMORY_SHARE = 0.8  # of the machine's, for all hosts
LEAST_MEMORY_BYTES = 512 * 2**20
KILLED = 128 + signal.SIGKILL  # what the engine says of a container that was
ENGINE_TIMEOUT_S = 30.0  # for an answer about a container; a busy engine takes seconds
# Not `docker start --attach`, which passes every signal on, also those meant for this process alone.
FOLLOW = """\
trap 'docker kill --signal TERM "$0" >/dev/null 2>&1' TERM
docker start "$0" >/dev/null || exit
docker logs --follow "$0" &
while kill -0 $! 2>/dev/null; do wait $!; done
"""
LOOK_S = 20.0  # between looks at what the engine says of the containers
GRACE_S = 10.0  # as of `docker stop`: a quarter of a CPU takes its time to put things in order


def container_limits(options: ContainerOptions, instances: int, engine: Engine) -> ContainerOptions:
    """What each of ``instances`` hosts may use, if the user has not said so: its share of the machine.

    Raises:
        UserError: it is more than the machine has.
    """
    share_bytes = int(engine.memory_bytes * MEMORY_SHARE) // instances
    cpus = options.cpus or max(LEAST_CPUS, engine.cpus / instances)
    if cpus > engine.cpus:
        raise UserError(f"--cpus {cpus:g} is more than the {engine.cpus} CPUs of the container engine")
    return ContainerOptions(
        cpus=round(cpus, 2), memory_bytes=options.memory_bytes or max(LEAST_MEMORY_BYTES, share_bytes)
    )


def compose_file(
    hosts: Sequence[ComposeHost],
    *,
    videos: Path,
    image: str,
    user: str,
    limits: ContainerOptions,
    labels: dict[str, str],
    published: str = "",
) -> dict[str, Any]:
    """The compose file of a job, for compose 1.27 and later; ``hosts`` have been prepared.

    ``published``: where this machine serves a port of the first host's, as compose writes it.
    """

    def mount(source: Path, target: str, *, read_only: bool = True) -> dict[str, Any]:
        return {"type": "bind", "source": _literal(str(source)), "target": target, "read_only": read_only}

    labels = {name: _literal(value) for name, value in labels.items()}
    services: dict[str, dict[str, Any]] = {
        host.name: {
            "image": image,
            "container_name": host.container,
            "hostname": host.name,
            "init": True,  # the first process of a container ignores SIGTERM until it has a handler
            "user": user,
            "cap_drop": ["ALL"],
            # root is the launcher's user then, and may read what others own, as it may without a container
            "cap_add": ["DAC_OVERRIDE"] if user.startswith("0:") else [],
            "security_opt": ["no-new-privileges:true"],
            "pids_limit": MAX_PROCESSES,
            "cpus": limits.cpus,
            "mem_limit": limits.memory_bytes,
            "labels": labels,
            "logging": {"driver": "json-file"},  # others cannot be read
            "volumes": [
                mount(host.layout.resource_config.parent, CONFIG),
                mount(host.layout.job_spec.parent, JOB),
                mount(videos, VIDEOS),
                mount(host.layout.output, OUTPUT, read_only=False),
            ],
        }
        for host in hosts
    }
    if published:
        services[min(services)] |= {"ports": [published]}
    return {"services": services, "networks": {"default": {"labels": labels}}}


def free_address(name: str, port: int) -> str:
    """The address that a name stands for, where nobody listens at ``port``.

    Raises:
        OSError: somebody does, or it is no address of this machine.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
    return str(address[0])


def _literal(text: str) -> str:
    """Compose puts variables in for ``$``."""
    return text.replace("$", "$$")


class _State(msgspec.Struct):
    """What ``docker inspect`` tells of a container's state."""

    status: str = msgspec.field(name="Status")
    running: bool = msgspec.field(name="Running")  # paused ones too
    exit_code: int = msgspec.field(name="ExitCode")
    out_of_memory: bool = msgspec.field(name="OOMKilled")


class ComposeHost(LocalHost):
    """A host that is a container; its ``_process`` is the shell that follows it."""

    script = FOLLOW

    def __init__(self, *, name: str, root: Path, container: str) -> None:
        super().__init__(name=name, root=root)
        self.container = container
        self._keep_open: Sequence[int] = ()
        self._was_left = False
        self._out_of_memory = False

    def start(self, command: Sequence[str], *, keep_open: Sequence[int] = ()) -> None:
        """Start the container; the image knows the command."""
        self._keep_open = keep_open
        super().start(["sh", "-c", self.script, self.container], keep_open=keep_open)

    def leave(self) -> None:
        """End the shell, of which a command hangs; ``poll`` sees to what follows."""
        self._was_left = True
        super().kill()

    def kill(self) -> None:
        """End the container at once, even if it is paused, and the shell that follows it."""
        if self.running:
            kill_containers([self])
            super().kill()

    def ending(self) -> str:
        if self._out_of_memory:
            return "was out of memory (--memory allows more)"
        return "was killed by SIGKILL" if self.returncode == KILLED else super().ending()

    def _end(self, agent: subprocess.Popen[bytes]) -> int | None:
        code = agent.wait()
        state = self._state()
        if self._was_left and state is not None and state.status == "created":
            self._was_left = False
            if self._reader is not None:
                self._reader.close()
            self.start([], keep_open=self._keep_open)
            return None
        if state is not None and state.running:  # the shell was ended, and the host was not
            kill_containers([self])
            state = self._state()
        if state is None or state.status == "created":
            return code or 1
        self._out_of_memory = state.out_of_memory and state.exit_code == KILLED
        return state.exit_code

    def _state(self) -> _State | None:
        told = run(
            ["docker", "inspect", "--format", "{{json .State}}", self.container], timeout_s=ENGINE_TIMEOUT_S
        )
        with contextlib.suppress(msgspec.DecodeError):
            return msgspec.json.decode(told.stdout, type=_State)
        return None


def kill_containers(hosts: Sequence[ComposeHost]) -> None:
    """End the containers at once, paused ones too; those that have ended are no trouble."""
    if hosts:
        run(["docker", "kill", *(host.container for host in hosts)], timeout_s=ENGINE_TIMEOUT_S)


def container_clusters(
    request: JobRequest, say: Callable[[str], None] = lambda text: None
) -> Callable[..., LocalCluster]:
    """What makes the containers of this job; the engine answers, and the image is there.

    Raises:
        UserError: there is no engine or no image, or the hosts cannot have what they are to have.
    """
    engine = find_engine()
    container_limits(request.containers, request.instances, engine)
    image = ensure_image(say)
    remove_leftovers(request.output)
    return partial(ComposeCluster, engine=engine, image=image)


class ComposeCluster(LocalCluster):
    """The containers of one job, their network, and the compose file that describes both."""

    host_type = ComposeHost

    def __init__(
        self,
        request: JobRequest,
        roots: Path,
        view: View,
        interrupts: Interrupts,
        done: Done = NOTHING_DONE,
        *,
        engine: Engine,
        image: str,
    ) -> None:
        self._project = PROJECT_PREFIX + roots.name.rpartition("framefleet-")[2]
        self._containers: list[ComposeHost] = []
        super().__init__(request, roots, view, interrupts, done)
        self._engine, self._image = engine, image
        self._file = roots / COMPOSE_FILE
        self._is_made = False
        self._look_at = float("inf")
        self._astray: set[str] = set()

    def _make_host(self, name: str, root: Path) -> ComposeHost:
        self._containers.append(self.host_type(name=name, root=root, container=f"{self._project}-{name}"))
        return self._containers[-1]

    def _endpoint(self, resources: contextlib.ExitStack) -> None:
        """The primary's name is its address."""

    def _metrics(self) -> MetricsOptions:
        """In the container, at all of its addresses: what is published comes from outside."""
        return msgspec.structs.replace(self._request.metrics, address="0.0.0.0")

    def _grace_s(self) -> float:
        return GRACE_S

    def prepare(self, resources: contextlib.ExitStack) -> None:
        super().prepare(resources)
        self._file.write_bytes(msgspec.json.format(msgspec.json.encode(self._describe()), indent=2))
        self._is_made = True
        self._compose("up", "--no-start", doing="make the containers")

    def _describe(self) -> dict[str, Any]:
        return compose_file(
            self._containers,
            videos=self._request.input,
            image=self._image,
            user=self._engine.user,
            limits=container_limits(self._request.containers, len(self._containers), self._engine),
            labels={JOB_LABEL: self._spec.job_id, FOLDER_LABEL: str(self._roots)},
            published=self._published(),
        )

    def _published(self) -> str:
        """Where the metrics are to be served; nowhere if the port is taken: the job is as good without."""
        port, address = self._request.metrics.port, self._request.metrics.address
        if port is None:
            return ""
        try:
            address = free_address(address, port)
        except OSError as error:
            self._view.note(
                f"metrics cannot be served at {address}:{port} ({error.strerror or error}): "
                "choose another --metrics-port"
            )
            return ""
        return f"[{address}]:{port}:{port}" if ":" in address else f"{address}:{port}:{port}"

    def start(self, command: Sequence[str], lock: int) -> None:
        self._look_at = time.monotonic() + LOOK_S
        super().start(command, lock)

    def _poll(self) -> None:
        super()._poll()
        if time.monotonic() >= self._look_at:
            self._put_right()
            self._look_at = time.monotonic() + LOOK_S

    def _put_right(self) -> None:
        """Leave shells that hang: their container has not begun, or is over, at two looks in a row."""
        which = ["--filter", f"label={JOB_LABEL}={self._spec.job_id}"]
        columns = ["--format", "{{.Names}} {{.State}}"]
        told = run(["docker", "ps", "--all", *which, *columns], timeout_s=ENGINE_TIMEOUT_S)
        states = dict(line.split(" ", 1) for line in told.stdout.splitlines())
        idle = ("created", "exited", "dead")
        astray = {
            host.name for host in self._containers if host.running and states.get(host.container) in idle
        }
        for host in self._containers:
            if host.name in astray & self._astray:
                host.leave()
        self._astray = astray

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


def remove_leftovers(output: Path) -> None:
    """Remove containers and networks of jobs whose launcher was killed before it could.

    ``output``: that of this launcher, who has it locked, so that no other is at work there.
    """
    columns = f'{{{{.ID}}}}\t{{{{.Label "{FOLDER_LABEL}"}}}}'
    for kind, listing in (("container", ["ps", "--all"]), ("network", ["network", "ls"])):
        told = run(["docker", *listing, "--filter", f"label={FOLDER_LABEL}", "--format", columns])
        for line in told.stdout.splitlines():
            name, _, folder = line.partition("\t")
            roots = Path(folder)
            if roots.parent == output or running_job(roots.parent) is None:
                # one that runs, and whose folder is not here, may belong to a launcher elsewhere
                force = ["--force"] if kind == "container" and roots.is_dir() else []
                run(["docker", kind, "rm", *force, name])
