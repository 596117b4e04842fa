"""What every host of a job runs, in a container as on a local cluster.

The primary host starts the coordinator as well, and ends with its verdict; the others end with 0 when
the job is over, even if their work was done by others: one non-zero exit would fail the whole job.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import uuid
from pathlib import Path
from types import FrameType

import msgspec

from framefleet.common.errors import UserError
from framefleet.common.files.durable import write_exit_message
from framefleet.common.files.temporary import use_short_folder
from framefleet.common.host.cluster import Cluster
from framefleet.common.host.cores import usable_cores
from framefleet.common.host.detect_cluster import detect_cluster
from framefleet.common.host.layout import ROOT_VARIABLE, Layout
from framefleet.common.host.shared_filesystem import SHARED_VARIABLE, is_merged, link_tree, output_of
from framefleet.common.job.image_options import check_image_options
from framefleet.common.job.spec import JobSpec, read_spec
from framefleet.common.log import LOG, set_level
from framefleet.common.protocol.messages import End
from framefleet.common.protocol.resolve_host import resolve, tcp_endpoint
from framefleet.common.protocol.transport import HostLink
from framefleet.worker.agent import Agent
from framefleet.worker.coordinator_process import CoordinatorProcess
from framefleet.worker.job_outcome import Account

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130
COORDINATOR_EXIT_S = 30.0  # beyond the byes, which it bounds itself


class Host:
    """One run of this host: an agent, and on the primary (or alone, if sharded) a coordinator."""

    def __init__(self) -> None:
        self.stop_reason: str | None = None
        self.coordinator: CoordinatorProcess | None = None
        self.account: Account | None = None  # where it can be read

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
        use_short_folder()
        layout = Layout.from_environment()
        platform, cluster = detect_cluster(layout, os.environ)
        if SHARED_VARIABLE in os.environ:
            shared = Path(os.environ[SHARED_VARIABLE])
            if is_merged(shared):
                LOG.info("the job is over, and its outputs are merged")
                return 0
            layout = Layout(link_tree(shared, cluster.current))
            os.environ[ROOT_VARIABLE] = str(layout.root)  # for the coordinator
        spec = read_spec(layout.job_spec)
        set_level(spec.log_level)
        LOG.info("host %s, one of %d, as %s tells", cluster.current, cluster.size, platform)
        layout = layout.of_run(spec.run, cluster.current if spec.is_dealt_out else "")
        if SHARED_VARIABLE in os.environ and spec.mode != "sharded" and not cluster.is_primary:
            folder = output_of(shared, cluster.primary) / "job" / spec.run
            self.account = Account(folder, spec.job_id)
        layout = layout.of_host(cluster.current)
        if self._is_over():
            return 0
        check_image_options(spec.image)
        layout.output.mkdir(parents=True, exist_ok=True)
        try:
            sockets = tempfile.mkdtemp(prefix="framefleet-")
        except OSError as error:
            raise UserError(f"no temporary folder can be made: {error}: set TMPDIR to another") from error
        try:
            endpoint, bind = _endpoints(spec, cluster, sockets)
            if spec.mode == "sharded" or cluster.is_primary:
                command = [sys.executable, "-m", "framefleet.coordinator", "--bind", bind]
                self.coordinator = CoordinatorProcess(command, layout.job / "journal.jsonl")
            if endpoint.startswith("tcp:"):
                try:
                    endpoint = resolve(
                        endpoint,
                        budget_s=spec.scheduling.host_wait_s,
                        should_stop=lambda: self.should_stop() is not None or self._end() is not None,
                    )
                except UserError:  # a primary that has ended may have no name any more
                    if self._is_over():
                        return 0
                    raise
            return self._take_part(layout, spec, cluster, endpoint)
        finally:
            if self.coordinator is not None:
                self.coordinator.kill()
            shutil.rmtree(sockets, ignore_errors=True)

    def _end(self) -> End | None:
        return self.account.end() if self.account is not None else None

    def _is_over(self) -> bool:
        """Whether the job has ended without this host, which then has nothing to do."""
        end = self._end()
        if end is not None:
            LOG.info("the job is over (%s)", end.failed or "completed")
        return end is not None

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
                account=self.account,
            )
            end = agent.run()
        if self.coordinator is None:
            return 0 if end is not None else EXIT_INTERRUPTED
        scheduling = spec.scheduling
        patience_s = max(scheduling.host_wait_s, scheduling.silence_s) + COORDINATOR_EXIT_S
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
    # "*": all addresses of both kinds; of IPv4 alone where the system has no IPv6
    return tcp_endpoint(cluster.address, spec.port), f"tcp://*:{spec.port}"


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
        LOG.error("%s", error)
        message = Layout.from_environment().exit_message
        if not message.exists():  # else the coordinator has said more
            write_exit_message(message, f"framefleet: {error}")
        return EXIT_FAILED
