"""What the options on metrics make of a job."""

from __future__ import annotations

import importlib.util

from framefleet.common.errors import UserError
from framefleet.common.job.spec import MetricsOptions, Mode


def make_metrics(port: int | None, address: str, *, mode: Mode, target: str) -> MetricsOptions:
    """Check the options on metrics.

    Raises:
        UserError: they will not do, or a package is missing.
    """
    if port is not None and target == "sagemaker":
        raise UserError(
            "--metrics-port is for hosts that can be reached: leave it out; a job on SageMaker tells "
            "CloudWatch its metrics (docs/metrics.md)"
        )
    if port is not None and mode == "sharded":
        raise UserError("--metrics-port needs --mode coordinated: a sharded job has no one that knows it all")
    # the image of the hosts has the package
    if port is not None and target != "compose" and importlib.util.find_spec("prometheus_client") is None:
        raise UserError("--metrics-port needs prometheus-client: pip install 'framefleet[metrics]'")
    return MetricsOptions(port=port, address=address)
