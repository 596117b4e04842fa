"""What the user asks of a target and what a target answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from framefleet.common.job.spec import (
    ImageOptions,
    LogLevel,
    MetricsOptions,
    Mode,
    OnError,
    SchedulingOptions,
)
from framefleet.common.output.shard_fields import PackOptions
from framefleet.common.status import Failure, Summary
from framefleet.launcher.options.sampling import SamplingRequest

# all hosts of one machine start within seconds
LOCAL_SCHEDULING = SchedulingOptions(host_wait_s=60.0)
NO_METRICS = MetricsOptions()

MAX_FAILURES_READ = 10_000  # lines of failures.jsonl that a launcher shows and holds

EXIT_DONE = 0
EXIT_LOST = 1  # frames were lost, or something failed under --on-error fail
EXIT_USAGE = 2
EXIT_UNCERTAIN = 3  # whether the job was submitted is not known
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerOptions:
    """What each host may use where hosts are containers; None is its share of the machine."""

    cpus: float | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """What the user asks of a job, wherever it runs.

    Attributes:
        slots_per_instance: None where each host decides, by its CPUs.
        resume: go on with what a previous run has left in the output.
        check_contents: and read every image there, instead of comparing its size.
    """

    instances: int
    slots_per_instance: int | None
    sampling: SamplingRequest
    mode: Mode
    image: ImageOptions
    on_error: OnError
    metrics: MetricsOptions = NO_METRICS
    resume: bool = False
    check_contents: bool = False
    pack: PackOptions | None = None
    log_level: LogLevel = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest(JobOptions):
    """A job on this machine that has been checked: ``input`` and ``output`` are absolute, ``output`` holds no
    frames, or (``resume``) those that a previous run of the job has made."""

    input: Path
    output: Path
    scheduling: SchedulingOptions = LOCAL_SCHEDULING
    containers: ContainerOptions = ContainerOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """What there is after a job.

    Attributes:
        summary: the coordinator's own account; None if it died before it could write one.
        failures: the lines of ``failures.jsonl``, the first ``MAX_FAILURES_READ`` of them.
        interrupted: a signal ended the job.
        trouble: sentences on what went wrong outside single videos: hosts that died, files missing.
        lost: frames that were promised (by a manifest row, by a dead host's share) are not there.
        log_tail: last lines of the log of the host whose death ended the job.
        frames_merged: images that lie in the output now.
        no_report: a sentence on why there is no ``job/report.html``; empty where there is one.
    """

    summary: Summary | None
    failures: list[Failure]
    interrupted: bool
    trouble: list[str]
    lost: bool
    log_tail: list[str]
    frames_merged: int
    no_report: str = ""

    def exit_code(self, on_error: OnError) -> int:
        """The launcher's exit code for this result."""
        if self.interrupted:
            return EXIT_INTERRUPTED
        if self.summary is None or self.lost or self.summary.frames_lost:
            return EXIT_LOST
        if self.summary.outcome != "completed":
            return EXIT_LOST
        if on_error == "fail" and self.summary.failures:
            return EXIT_LOST
        return EXIT_DONE
