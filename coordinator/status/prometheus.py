"""The metrics where Prometheus may scrape them; needs the extra ``metrics``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from framefleet.common.errors import UserError
from framefleet.common.status import STATUS_VERSION, Status
from framefleet.coordinator.status.metrics import HOST_METRICS, METRICS

if TYPE_CHECKING:
    import threading
    from wsgiref.simple_server import WSGIServer

    from prometheus_client.metrics_core import Metric as Family

REMEDY = "pip install 'framefleet[metrics]'"


class Exporter:
    """Answers scrapes with the latest status that it was given, from a thread of its own."""

    def __init__(self, address: str, port: int) -> None:
        """Listen at once; port 0 takes any that is free.

        Raises:
            UserError: the library is not installed, or the address cannot be bound.
        """
        try:
            from prometheus_client import CollectorRegistry, start_http_server
            from prometheus_client.registry import Collector
        except ModuleNotFoundError as error:
            raise UserError(f"metrics for Prometheus need the package {error.name!r}: {REMEDY}") from error

        exporter = self

        class Latest(Collector):
            def collect(self) -> Iterator[Family]:
                return exporter.families()

        self._status: Status | None = None
        registry = CollectorRegistry()
        registry.register(Latest())
        self._server: WSGIServer
        self._thread: threading.Thread
        try:
            self._server, self._thread = start_http_server(port, addr=address, registry=registry)
        except OSError as error:
            raise UserError(
                f"metrics cannot be served at {address}:{port} ({error.strerror or error}): "
                "choose another --metrics-port"
            ) from error

    @property
    def port(self) -> int:
        return self._server.server_port

    def update(self, status: Status) -> None:
        """Answer with this from now on."""
        self._status = status

    def families(self) -> Iterator[Family]:
        """The metrics of the latest status, none before the first."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        status = self._status
        if status is None:
            return
        info = {"job_id": status.job_id, "mode": status.mode, "status_version": str(STATUS_VERSION)}
        about = GaugeMetricFamily("framefleet_job_info", "The job; always 1.", labels=list(info))
        about.add_metric(list(info.values()), 1)
        yield about
        for metric in METRICS:
            value = metric.of(status)
            if value is not None:
                kind = CounterMetricFamily if metric.is_counter else GaugeMetricFamily
                yield kind(metric.name, metric.help, value=value)
        for of_host in HOST_METRICS:
            kind = CounterMetricFamily if of_host.is_counter else GaugeMetricFamily
            family = kind(of_host.name, of_host.help, labels=["host"])
            for host in status.hosts:
                family.add_metric([host.host], of_host.of(host))
            yield family

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
