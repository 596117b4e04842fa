"""What the user asks for is what hosts get, whatever the target adds."""

from __future__ import annotations

from framefleet.common.job.spec import ImageOptions, MetricsOptions, SamplingOptions
from framefleet.common.output.shard_fields import PackOptions
from framefleet.launcher.job import JobOptions
from framefleet.launcher.options.sampling import SamplingRequest
from framefleet.launcher.output.job_spec import make_spec

JOB = JobOptions(
    instances=3,
    slots_per_instance=7,
    sampling=SamplingRequest(SamplingOptions(fps="2")),
    mode="sharded",
    image=ImageOptions(format="png"),
    on_error="fail",
    metrics=MetricsOptions(port=9000),
    pack=PackOptions(format="parquet"),
    log_level="debug",
)


def test_every_option_reaches_the_hosts() -> None:
    spec = make_spec(JOB, "job-1", run="job-1")
    assert (spec.job_id, spec.run, spec.slots_per_host, spec.mode) == ("job-1", "job-1", 7, "sharded")
    assert (spec.sampling, spec.image, spec.pack) == (JOB.sampling.options, JOB.image, JOB.pack)
    assert (spec.on_error, spec.metrics, spec.log_level) == ("fail", MetricsOptions(port=9000), "debug")
    assert spec.frame_options == {"--fps": "2", "--format": "png", "--pack": "parquet"}


def test_the_target_decides_what_is_its_own_and_each_job_has_its_keys() -> None:
    spec = make_spec(JOB, "job-1", metrics=MetricsOptions(lines="emf"))
    assert spec.metrics == MetricsOptions(lines="emf")
    assert spec.link_keys() != make_spec(JOB, "job-1").link_keys()
