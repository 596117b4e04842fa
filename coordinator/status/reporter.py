"""When and where a coordinator tells the state of its job: lines on standard output, and the exporter."""

from __future__ import annotations

import contextlib
import math
import time

from framefleet.common.errors import UserError
from framefleet.common.job.spec import MetricsOptions
from framefleet.common.log import LOG
from framefleet.common.status import encode_status
from framefleet.coordinator.core.core import Core
from framefleet.coordinator.status.metrics import emf_line
from framefleet.coordinator.status.prometheus import Exporter
from framefleet.coordinator.status.summaries import FrameRate, status

STATUS_SHARE = 0.02  # of the time, at most, goes into telling how far thousands of hosts are
SCRAPE_S = 5.0  # what is scraped is at most so old; Prometheus asks every 15 s or 60 s


class Telling:
    """Tells the state of ``core`` as the coordinator at ``host`` sees it."""

    def __init__(self, core: Core, *, host: str = "", exporter: Exporter | None = None) -> None:
        self._core = core
        self._host = host
        self._exporter = exporter
        self._encode = emf_line if core.spec.metrics.lines == "emf" else encode_status
        self._rate = FrameRate()
        self._line_at = -math.inf
        self._export_at = -math.inf if exporter is not None else math.inf
        self._wake_s = 0.0

    def woke(self, took_s: float) -> None:
        """The loop was busy for so long, and waits again now."""
        self._wake_s = max(self._wake_s, took_s)

    def tell(self, now: float, *, last: bool = False) -> None:
        """Tell what is due; the ``last`` time, everything."""
        is_line_due = last or now >= self._line_at
        if not is_line_due and now < self._export_at:
            return
        state = status(self._core, now, self._rate, host=self._host, wake_s=self._wake_s)
        if self._exporter is not None:
            self._exporter.update(state)
        if is_line_due:
            self._wake_s = 0.0
            with contextlib.suppress(OSError):
                print(self._encode(state).decode(), flush=True)
        rest_s = (time.monotonic() - now) / STATUS_SHARE
        if is_line_due:
            self._line_at = now + max(self._core.spec.status_interval_s, rest_s)
        if self._exporter is not None:
            self._export_at = now + max(SCRAPE_S, rest_s)


def open_exporter(options: MetricsOptions) -> Exporter | None:
    """The exporter that is asked for. A job does not fail for the want of it: then a line says why there is
    none."""
    if options.port is None:
        return None
    try:
        return Exporter(options.address, options.port)
    except UserError as error:
        LOG.warning("%s", error)
        return None
