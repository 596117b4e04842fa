"""What every host of a job runs, in a container as on a local cluster.

The primary host starts the coordinator as well, and ends with its verdict; the others end with 0 when
the job is over, even if their work was done by others: one non-zero exit would fail the whole job.
"""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
import uuid
from types import FrameType

import msgspec

from common.cluster import Cluster, read_cluster
from common.cores import usable_cores
from common.errors import UserError
from common.imaging import check_image_options
from common.layout import Layout
from common.spec import JobSpec, read_spec
from common.transport import HostLink, resolve
from worker.agent import Agent
from worker.supervisor import Supervisor

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130
COORDINATOR_EXIT_S = 30.0  # beyond the byes, which it bounds itself


class Host:
    """One run of this host: an agent, and on the primary (or alone, if sharded) a coordinator."""

    def __init__(self) -> None:
        self.stop_reason: str | None = None
        self.coordinator: Supervisor | None = None

    def on_signal(self, number: int, _frame: FrameType | None) -> None:
        self.stop_reason = f"stopped by {signal.Signals(number).name}"

    def should_stop(self) -> str | None:
        """Why this host should leave now, if it should."""
        if self.stop_reason is not None:
            if self.coordinator is not None:  # at once: a busy host may take seconds to leave, as may others
                self.coordinator.tell_to_stop()
            return self.stop_reason
        return self.coordinator.look() if self.coordinator is not None else None

    def run(self) -> int:
        """Take part in the job of this tree; return the exit code."""
        layout = Layout.from_environment()
        spec, cluster = read_spec(layout.job_spec), read_cluster(layout.resource_config)
        check_image_options(spec.image)
        layout.output.mkdir(parents=True, exist_ok=True)
        sockets = tempfile.mkdtemp(prefix="framefleet-")
        try:
            endpoint, bind = _endpoints(spec, cluster, sockets)
            if spec.mode == "sharded" or cluster.is_primary:
                command = [sys.executable, "-m", "coordinator", "--bind", bind]
                self.coordinator = Supervisor(command, layout.output / "job" / "journal.jsonl")
            if endpoint.startswith("tcp:"):
                endpoint = resolve(
                    endpoint,
                    budget_s=spec.scheduling.host_wait_s,
                    should_stop=lambda: self.should_stop() is not None,
                )
            return self._take_part(layout, spec, cluster, endpoint)
        finally:
            if self.coordinator is not None:
                self.coordinator.kill()
            shutil.rmtree(sockets, ignore_errors=True)

    def _take_part(self, layout: Layout, spec: JobSpec, cluster: Cluster, endpoint: str) -> int:
        with HostLink(endpoint, keys=spec.link_keys()) as link:
            agent = Agent(
                host=cluster.current,
                incarnation=uuid.uuid4().hex,
                layout=layout,
                spec=msgspec.structs.replace(spec, keys=None),  # slots have no need of them
                slots=spec.slots_per_host or usable_cores(),
                link=link,
                should_stop=self.should_stop,
            )
            end = agent.run()
        if self.coordinator is None:
            return 0 if end is not None else EXIT_INTERRUPTED
        patience_s = spec.scheduling.host_wait_s + COORDINATOR_EXIT_S
        code, died = self.coordinator.end(patience_s, is_stopping=lambda: self.stop_reason is not None)
        if died is not None:
            raise UserError(died)
        if code < 0:  # killed while it was to stop, or here for being late
            return EXIT_FAILED if self.stop_reason is None else EXIT_INTERRUPTED
        return code


def _endpoints(spec: JobSpec, cluster: Cluster, sockets: str) -> tuple[str, str]:
    """Where this host connects to, and where its coordinator, if it has one, listens."""
    if spec.mode == "sharded":
        alone = f"ipc://{sockets}/coordinator"
        return alone, alone
    if spec.endpoint is not None:
        return spec.endpoint, spec.endpoint
    return f"tcp://{cluster.primary}:{spec.port}", f"tcp://0.0.0.0:{spec.port}"


def run_host() -> int:
    """Run this host and turn what ends it into an exit code."""
    host = Host()
    signal.signal(signal.SIGTERM, host.on_signal)
    signal.signal(signal.SIGINT, host.on_signal)
    try:
        return host.run()
    except UserError as error:
        if host.stop_reason is not None:
            return EXIT_INTERRUPTED
        print(f"framefleet: {error}", file=sys.stderr, flush=True)
        return EXIT_FAILED
