"""The local target: a cluster of process groups on this machine.

Every host has the tree that SageMaker mounts under ``/opt/ml`` in a folder of its own and runs the
command that the container runs. Afterwards the hosts' outputs are merged by name, as S3 would.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType

from framefleet.common.errors import UserError
from framefleet.common.job.completed import DONE_FILE, NOTHING_DONE, Done, encode_done
from framefleet.common.job.spec import JobSpec, MetricsOptions
from framefleet.common.status import Status
from framefleet.launcher.console.progress import View
from framefleet.launcher.job import MAX_FAILURES_READ, JobRequest, JobResult
from framefleet.launcher.output.clean_end import begin_changes, end_changes
from framefleet.launcher.output.combine_summaries import combine_statuses
from framefleet.launcher.output.host_folders import ROOTS_PREFIX, abandoned, remove_empty_roots
from framefleet.launcher.output.job_spec import make_spec
from framefleet.launcher.output.merge import HostOutput, merge
from framefleet.launcher.output.output_lock import OutputLock
from framefleet.launcher.output.resume import take_over
from framefleet.launcher.packing_advice import suggest_packing
from framefleet.launcher.read_account import read_failures, read_summary
from framefleet.launcher.report.make_report import try_report
from framefleet.launcher.targets.local_host import WORKER_COMMAND, LocalHost

STATUS_INTERVAL_S = 0.5
KILL_AFTER_S = 4.0  # from Ctrl-C: all is to be over within 5 s
LEAVE_GRACE_S = 3.0  # beyond the time that the coordinator itself waits for a host's Bye
POLL_S = 0.05


class Interrupts:
    """Counts SIGINT, SIGTERM and SIGHUP while a job runs, instead of raising in the middle of a step.

    A signal that is ignored (``nohup``, a background job of a shell) stays so.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.count = 0
        self._previous: dict[signal.Signals, signal._HANDLER] = {}

    def __enter__(self) -> Interrupts:
        for number in self.SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.count += 1


def run_local(
    request: JobRequest,
    *,
    view: View,
    lock: OutputLock,
    command: Sequence[str] = WORKER_COMMAND,
    on_merge: Callable[[int, int], None] = lambda done, total: None,
    cluster_type: Callable[..., LocalCluster] | None = None,
) -> JobResult:
    """Run a job to its end on ``request.instances`` process groups and merge what they made.

    When this returns or raises, no process of the job is left. ``lock`` is that of the output, and names the
    job. ``cluster_type`` is for other kinds of hosts than process groups (``launcher/targets/compose.py``).

    Raises:
        UserError: a process cannot be started, the outputs cannot be merged (the hosts' outputs are then kept
            and the text says where), or the disk does not take what was written.
    """
    if lock.caveat:
        view.note(lock.caveat)
    done = NOTHING_DONE
    crashed = begin_changes(request.output)
    remove_empty_roots(request.output)
    if request.resume:
        left = abandoned(request.output)
        check = request.check_contents or crashed or bool(left)
        done = take_over(request, roots=left, check=check, on_progress=on_merge, note=view.note)
    roots = request.output / f"{ROOTS_PREFIX}{lock.job}"
    with Interrupts() as interrupts:
        with contextlib.ExitStack() as resources:
            cluster = (cluster_type or LocalCluster)(request, roots, view, interrupts, done)
            resources.callback(cluster.close)
            cluster.prepare(resources)
            cluster.start(command, lock.descriptor)
            cluster.watch()
        view.close()
        result = _collect(request, cluster, roots, interrupted=interrupts.count > 0, on_merge=on_merge)
        end_changes(request.output)
        return result


class LocalCluster:
    """The hosts of one job, from their start to the end of the last one."""

    def __init__(
        self,
        request: JobRequest,
        roots: Path,
        view: View,
        interrupts: Interrupts,
        done: Done = NOTHING_DONE,
    ) -> None:
        self._request = request
        self.done = done
        self._view = view
        self._interrupts = interrupts
        self._roots = roots
        self.hosts = [
            self._make_host(f"algo-{number}", roots / f"algo-{number}")
            for number in range(1, request.instances + 1)
        ]
        self.primary = min(self.hosts, key=lambda host: host.name)
        self.trouble: list[str] = []
        self._spec = JobSpec(job_id="")
        self._may_suggest = request.pack is None

    def _make_host(self, name: str, root: Path) -> LocalHost:
        return LocalHost(name=name, root=root)

    def _endpoint(self, resources: contextlib.ExitStack) -> str | None:
        """Where hosts find the coordinator, if not at the primary's name."""
        if self._request.mode != "coordinated":
            return None
        return f"tcp://127.0.0.1:{resources.enter_context(_reserved_port())}"

    def _metrics(self) -> MetricsOptions:
        """Where the coordinator serves its metrics."""
        return self._request.metrics

    def _grace_s(self) -> float:
        """How long hosts may take to leave."""
        return KILL_AFTER_S

    def prepare(self, resources: contextlib.ExitStack) -> None:
        """Make every host's tree, and reserve the coordinator's port for the life of ``resources``."""
        request = self._request
        endpoint = self._endpoint(resources)
        self._spec = make_spec(
            request,
            self._roots.name.removeprefix(ROOTS_PREFIX),
            endpoint=endpoint,
            status_interval_s=STATUS_INTERVAL_S,
            scheduling=request.scheduling,
            metrics=self._metrics(),
        )
        names = sorted(host.name for host in self.hosts)
        files = dict(request.sampling.files)
        if self.done.videos:
            files[DONE_FILE] = encode_done(self.done)
        try:
            for host in self.hosts:
                host.prepare(hosts=names, videos=request.input, spec=self._spec, files=files)
        except OSError as error:
            raise UserError(f"cannot write to {request.output}: {error.strerror}") from error

    def start(self, command: Sequence[str], lock: int) -> None:
        """``lock``: a descriptor that agents keep open: the output is locked while one of them lives."""
        for host in self.hosts:
            if self._interrupts.count:
                return
            try:
                host.start(command, keep_open=[lock])
            except OSError as error:
                raise UserError(
                    f"cannot start {host.name} of {len(self.hosts)} hosts: {error.strerror}; "
                    "fewer --instances may do"
                ) from error

    def watch(self) -> None:
        """Follow the job until every host has ended, of itself or because it was told to."""
        leave_by: float | None = None
        while any(host.running for host in self.hosts):
            if self._interrupts.count:
                self._stop("interrupted: stopping, and keeping what is whole", patience=1)
                return
            self._poll()
            self._dismiss_primary()
            if self._request.mode == "coordinated" and not self.primary.running:
                if not _has_summary(self.primary):
                    self._stop("the coordinator is gone: stopping the other hosts", patience=0)
                    return
                if leave_by is None:
                    leave_by = time.monotonic() + self._spec.scheduling.bye_wait_s + LEAVE_GRACE_S
                    self._kill_lost()
                elif time.monotonic() >= leave_by:
                    self._stop("", patience=0)
                    return
            time.sleep(POLL_S)

    def close(self) -> None:
        """Kill and reap whatever still runs."""
        for host in self.hosts:
            host.kill()
        for host in self.hosts:
            host.close()

    def _dismiss_primary(self) -> None:
        """Do not let the primary wait for hosts that have died, or that it has given up: their exit codes do
        not decide on the job here, as they do on a platform."""
        lost = self._lost()
        others = (host for host in self.hosts if host is not self.primary)
        if self.primary.told_to_stop or not self.primary.running:
            return
        if any(host.running and host.name not in lost for host in others):
            return
        if (lost or any(host.returncode for host in self.hosts)) and _has_summary(self.primary):
            self.primary.told_to_stop = True
            self.primary.terminate()

    def _kill_lost(self) -> None:
        """End the hosts that the coordinator gave up: they are stopped or hang, and will not leave."""
        lost = self._lost()
        for host in self.hosts:
            if host.running and host.name in lost:
                host.told_to_stop = True
                host.kill()

    def _lost(self) -> set[str]:
        """The hosts that the coordinator does not hear."""
        reported = self.primary.status.hosts if self.primary.status is not None else []
        return {host.host for host in reported if host.state == "lost"}

    def _stop(self, note: str, *, patience: int) -> None:
        """End the hosts in good order; more than ``patience`` signals from the user, and at once."""
        if note:
            self._view.note(note)
        kill_at = time.monotonic() + self._grace_s()
        for host in self.hosts:
            if host.running:
                host.told_to_stop = True
                host.terminate()
        while any(host.running for host in self.hosts):
            if time.monotonic() >= kill_at or self._interrupts.count > patience:
                return
            self._poll()
            time.sleep(POLL_S)

    def _poll(self) -> None:
        fresh = False
        for host in self.hosts:
            was_running = host.running
            fresh = host.poll() or fresh
            if was_running and not host.running and host.returncode and not host.told_to_stop:
                self._tell_death(host)
        if fresh:
            statuses = [host.status for host in self.hosts if host.status is not None]
            status = _status_of(statuses)
            self._view.update(status)
            if self._may_suggest and (hint := suggest_packing(status)) is not None:
                self._may_suggest = False
                self._view.note(hint)

    def _tell_death(self, host: LocalHost) -> None:
        sharded = self._request.mode == "sharded"
        if _has_summary(host if sharded else self.primary):
            return  # the job, or this host's share, was over: its own account tells how
        if sharded:
            effect = "its share of the videos is not done"
        elif host is self.primary:
            effect = "it was the coordinator's host"
        else:
            effect = "its work goes to the others"
        told = host.exit_message()
        why = f" ({told})" if told else ""
        self.trouble.append(f"{host.name} {host.ending()}{why}: {effect}")
        self._view.note(self.trouble[-1])


def _has_summary(host: LocalHost) -> bool:
    return read_summary(host.layout.output / "job" / "summary.json") is not None


def _status_of(statuses: list[Status]) -> Status:
    return statuses[0] if len(statuses) == 1 else combine_statuses(statuses)


def _collect(
    request: JobRequest,
    cluster: LocalCluster,
    roots: Path,
    *,
    interrupted: bool,
    on_merge: Callable[[int, int], None],
) -> JobResult:
    outputs = [HostOutput(host.name, host.layout.output) for host in cluster.hosts]
    try:
        _remove_old_account(request.output / "job")
        merged = merge(
            outputs,
            request.output,
            mode=request.mode,
            primary=cluster.primary.name,
            sampling=request.sampling.options,
            pack=request.pack,
            on_progress=on_merge,
        )
    except UserError as error:
        raise UserError(f"{error}. The hosts' outputs are kept in {roots}") from error
    trouble = list(cluster.trouble)
    trouble += [f"{text}: --resume makes the frames that it lists again" for text in merged.damaged]
    if merged.rowless:
        trouble.append(f"{merged.rowless} frames were committed and are not in the manifest")
    if merged.missing:
        trouble.append(
            f"{len(merged.missing)} files of the manifest are missing, the first: {merged.missing[0]}"
        )
    summary = read_summary(request.output / "job" / "summary.json")
    log_tail: list[str] = []
    if summary is None and not interrupted:
        blamed = [host for host in cluster.hosts if host.returncode and not host.told_to_stop]
        log_tail = (blamed or [cluster.primary])[0].log_tail()
    if trouble or summary is None or summary.outcome == "failed":
        for host in cluster.hosts:
            with contextlib.suppress(OSError):  # a full disk, most likely: the logs are the least of it
                host.save_log(request.output / "job" / "logs" / f"{host.name}.log")
    shutil.rmtree(roots, ignore_errors=True)
    return JobResult(
        summary=summary,
        failures=read_failures(request.output / "job" / "failures.jsonl", most=MAX_FAILURES_READ),
        interrupted=interrupted,
        trouble=trouble,
        lost=bool(merged.rowless or merged.missing),
        log_tail=log_tail,
        frames_merged=merged.frames + sum(video.frames for video in cluster.done.videos),
        no_report=try_report(request.output),
    )


def _remove_old_account(folder: Path) -> None:
    """Remove what an earlier job that gave no frames told of itself."""
    try:
        for pattern in ("*.json", "*.jsonl", "logs/algo-*.log"):
            for path in folder.glob(pattern):
                path.unlink()
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}") from error


@contextlib.contextmanager
def _reserved_port() -> Iterator[int]:
    """A port of 127.0.0.1 that nobody else is given until the job is over.

    The socket is bound and does not listen. libzmq binds with SO_REUSEADDR too, so the coordinator
    may take the port beside it, and again after a restart; the system's own choice avoids it.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        port: int = holder.getsockname()[1]
        yield port
