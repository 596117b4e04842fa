"""What the options on metrics make of a job."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any

from framefleet.common.errors import UserError
from framefleet.common.job.spec import MetricsOptions


def make_metrics(options: Mapping[str, Any]) -> MetricsOptions:
    """Check the options on metrics.

    Raises:
        UserError: they will not do, or a package is missing.
    """
    port, address = options["metrics_port"], options["metrics_address"]
    if port is not None and options["mode"] == "sharded":
        raise UserError("--metrics-port needs --mode coordinated: a sharded job has no one that knows it all")
    # the image of the hosts has the package
    if (
        port is not None
        and options["target"] != "compose"
        and importlib.util.find_spec("prometheus_client") is None
    ):
        raise UserError("--metrics-port needs prometheus-client: pip install 'framefleet[metrics]'")
    return MetricsOptions(port=port, address=address)
