"""Containers that start late, have a small disk, or are held; and what a test does to those of a running job.

``python -m tests.faults.faulty_containers GATE ...`` is ``launch.py ...`` with the slots of its containers
held.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from framefleet.launcher.targets.compose import FOLLOW, ComposeCluster, ComposeHost
from framefleet.launcher.targets.docker_engine import find_engine
from framefleet.launcher.targets.docker_image import ensure_image
from framefleet.launcher.targets.local import LocalCluster
from tests.faults.held_slots import VARIABLE
from tests.helpers.jobs import REPOSITORY, ContainerFaults, Job

GATE = "/gate"
GATE_MOUNTS = {GATE: True, "/framefleet/tests": False}  # and whether they are written to


def gate_mounts(gate: Path) -> list[tuple[Path, str]]:
    """What a container needs for its slots to be held: folders of this machine, and where they are there."""
    return list(zip((gate, REPOSITORY / "tests"), GATE_MOUNTS, strict=True))


class HeldCluster(ComposeCluster):
    """Containers whose slots are held, if there is a ``gate``."""

    gate: Path | None = None

    def _describe(self) -> dict[str, Any]:
        described = super()._describe()
        if self.gate is not None:
            for service in described["services"].values():
                service["entrypoint"] = ["python", "-m", "tests.faults.held_slots"]
                service["environment"] = {VARIABLE: GATE}
                service["volumes"] += [f"{source}:{target}" for source, target in gate_mounts(self.gate)]
        return described


def faulty_cluster(faults: ContainerFaults, gated_by: Path | None) -> Callable[..., LocalCluster]:
    """A compose cluster with such faults from its start."""

    class LateHost(ComposeHost):
        def start(self, command: Sequence[str], *, keep_open: Sequence[int] = ()) -> None:
            delay_s = faults.late.get(self.name, 0)
            self.script = f"sleep {delay_s}\n{FOLLOW}"
            if delay_s >= 0:
                super().start(command, keep_open=keep_open)

    class FaultyCluster(HeldCluster):
        host_type = LateHost
        gate = gated_by

        def prepare(self, resources: contextlib.ExitStack) -> None:
            super().prepare(resources)
            for host in self.hosts:
                if host.name in faults.disk:
                    options = f"size={faults.disk[host.name]},mode=0777"
                    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(host.layout.output)]
                    subprocess.run(command, check=True)

    return partial(FaultyCluster, engine=find_engine(), image=ensure_image())


def remove_disks(output: Path) -> None:
    """Remove the small disks of a job, and what could not be removed for them."""
    for roots in output.glob(".framefleet-*/"):
        for place in roots.glob("*/processing/output"):
            if place.is_mount():
                subprocess.run(["umount", str(place)], check=True)
        shutil.rmtree(roots)


class ContainerJob(Job):
    """A job whose hosts are containers."""

    def __init__(
        self,
        source: Path,
        output: Path,
        *,
        late: dict[str, float] | None = None,
        disk: dict[str, int] | None = None,
        cpus: float = 0.5,
        **options: Any,
    ) -> None:
        faults = ContainerFaults(cpus=cpus, late=late or {}, disk=disk or {})
        super().__init__(source, output, containers=faults, **options)

    @property
    def id(self) -> str:
        (roots,) = self.output.glob(".framefleet-*/")
        return roots.name.removeprefix(".framefleet-")

    def container(self, host: str) -> str:
        """The name of a host's container."""
        return f"framefleet-{self.id}-{host}"

    def network(self) -> str:
        """The name of the network between the hosts."""
        return f"framefleet-{self.id}_default"

    def first_process(self, host: str) -> int:
        """The number, on this machine, of a container's first process."""
        return int(docker("inspect", "--format", "{{.State.Pid}}", self.container(host)))

    def leftovers(self) -> list[int]:
        """Containers and networks of jobs in this output that are still there, as numbers."""
        found = docker("ps", "--all", "--quiet", "--filter", f"name={self._known_id}").split()
        found += docker("network", "ls", "--quiet", "--filter", f"name={self._known_id}").split()
        return [int(each, 16) for each in found]

    def until(self, what: Any) -> Any:
        found = super().until(what)
        self._known_id = self.id
        return found


def docker(*arguments: str) -> str:
    """Run a command of the engine's; what it printed."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr}"
    return done.stdout.strip()


def pause(container: str) -> None:
    """Pause a container; where the kernel cannot freeze all its processes at once, again."""
    for _ in range(10):
        done = subprocess.run(["docker", "pause", container], capture_output=True, text=True, timeout=120)
        if "unable to freeze" not in done.stderr:
            break
        time.sleep(0.5)
    assert done.returncode == 0, f"docker pause {container}: {done.stderr}"


def main() -> int:
    from framefleet.launcher.cli import main as launch

    HeldCluster.gate = Path(sys.argv.pop(1))
    with mock.patch("framefleet.launcher.targets.compose.ComposeCluster", HeldCluster):
        return launch.main()


if __name__ == "__main__":
    sys.exit(main())
