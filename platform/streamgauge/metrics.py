"""Every metric the platform reports: name, unit and attributes stand here and nowhere else.

OpenTelemetry instruments (https://opentelemetry.io/docs/specs/semconv/general/metrics/), exported for Prometheus.
"""

import logging

from opentelemetry import metrics
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from prometheus_client import start_http_server

log = logging.getLogger(__name__)
_meter = metrics.get_meter("streamgauge")
_LATENCY = [0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0]

EVENTS = _meter.create_counter(
    "streamgauge.worker.events", "{event}", "Events by verdict. Attributes: stream, verdict."
)
COMMIT_SECONDS = _meter.create_histogram(
    "streamgauge.worker.commit.duration",
    "s",
    "Time a transaction took, waiting for Postgres included. Attributes: stream.",
    explicit_bucket_boundaries_advisory=_LATENCY,
)
READABLE_SECONDS = _meter.create_histogram(
    "streamgauge.worker.readable.delay",
    "s",
    "Ingest time of a batch's first event to its commit. Attributes: stream.",
    explicit_bucket_boundaries_advisory=_LATENCY,
)
RESTARTS = _meter.create_counter(
    "streamgauge.worker.restarts", "{restart}", "Sessions begun anew after a failure. Attributes: stream, cause."
)
PUBLISH_FAILURES = _meter.create_counter(
    "streamgauge.publisher.failures", "{failure}", "Ticks that could not publish. Attributes: stream, target."
)
SENT = _meter.create_counter("streamgauge.producer.events", "{event}", "Delivery results. Attributes: stream, result.")


def serve_metrics(service: str, port: int) -> None:
    """Exports this process's metrics for Prometheus at http://127.0.0.1:port/metrics."""
    reader = PrometheusMetricReader()
    metrics.set_meter_provider(
        MeterProvider(metric_readers=[reader], resource=Resource.create({"service.name": service}))
    )
    try:
        start_http_server(port, addr="127.0.0.1")
    except OSError as e:
        log.warning("no metrics at port %d (%s): give this process a port by STREAMGAUGE_METRICS_PORT", port, e)
