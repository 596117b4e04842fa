"""The specification of a job, which all its hosts get, from what the user asks for."""

from __future__ import annotations

from typing import Any

from framefleet.common.job.spec import JobSpec
from framefleet.common.protocol.transport import make_keys
from framefleet.launcher.job import JobOptions
from framefleet.launcher.output.job_fingerprint import options_of


def make_spec(job: JobOptions, job_id: str, **of_target: Any) -> JobSpec:
    """A specification with new keys; ``of_target``: what the place where the job runs decides."""
    values: dict[str, Any] = {
        "sampling": job.sampling.options,
        "mode": job.mode,
        "image": job.image,
        "on_error": job.on_error,
        "slots_per_host": job.slots_per_instance,
        "metrics": job.metrics,
        "pack": job.pack,
        "log_level": job.log_level,
        "frame_options": options_of(job),
        "keys": make_keys(),
    }
    return JobSpec(job_id=job_id, **(values | of_target))
