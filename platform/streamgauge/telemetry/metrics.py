"""Every metric the platform reports: name, unit and attributes stand here and nowhere else.

OpenTelemetry instruments (https://opentelemetry.io/docs/specs/semconv/general/metrics/), exported for Prometheus.
Rules and dashboards in platform/observability may use these names only, and a test keeps them to it.
"""

import logging
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt
from opentelemetry import metrics
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from prometheus_client import start_http_server

log = logging.getLogger(__name__)
_meter = metrics.get_meter("streamgauge")
_LATENCY = [0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0]


class EventDelays:
    """A histogram of events that takes many at once, which OpenTelemetry's can't.

    It is a counter with the attribute `le`, cumulative as Prometheus has it: histogram_quantile() reads it.
    """

    def __init__(self, name: str, description: str) -> None:
        self._counter = _meter.create_counter(name, "{event}", description)

    def add(self, seconds: npt.ArrayLike, stream: str, *, events: int = 1) -> None:
        """`events` of each delay. None at all makes the series begin: rate() misses what they begin with."""
        bounds = np.searchsorted(_LATENCY, np.asarray(seconds, np.float64))
        totals = events * np.cumsum(np.bincount(bounds, minlength=len(_LATENCY) + 1))
        for bound, total in zip([*_LATENCY, "+Inf"], totals.tolist(), strict=True):
            self._counter.add(total, {"stream": stream, "le": str(bound)})


# The worker
EVENTS = _meter.create_counter(
    "streamgauge.worker.events", "{event}", "Events by verdict. Attributes: stream, verdict."
)
ARRIVALS = _meter.create_counter(
    "streamgauge.worker.arrivals",
    "{record}",
    "Records that came late, from a clock that is ahead, or to another partition than their key's."
    " Attributes: stream, kind.",
)
COMMIT_SECONDS = _meter.create_histogram(
    "streamgauge.worker.commit.duration",
    "s",
    "Time a transaction took, waiting for Postgres included. Attributes: stream.",
    explicit_bucket_boundaries_advisory=_LATENCY,
)
READABLE = EventDelays(
    "streamgauge.worker.readable",
    "Events by the time from their batch's first append to its commit. Attributes: stream, le.",
)
RESTARTS = _meter.create_counter(
    "streamgauge.worker.restarts", "{restart}", "Sessions begun anew after a failure. Attributes: stream, cause."
)
SET_ASIDE = _meter.create_counter(
    "streamgauge.worker.set.aside", "{record}", "Records set aside because they ended sessions. Attributes: stream."
)
PUBLISH_FAILURES = _meter.create_counter(
    "streamgauge.publisher.failures", "{failure}", "Ticks that could not publish. Attributes: stream, target."
)

# Every process
THREAD_FAILURES = _meter.create_counter(
    "streamgauge.thread.failures", "{failure}", "Errors that ended a thread. Attributes: thread, error.type."
)

# The API
API_SECONDS = _meter.create_histogram(
    "streamgauge.api.request.duration",
    "s",
    "Time from a request to the end of its answer. Attributes: http.route, http.response.status_code.",
    explicit_bucket_boundaries_advisory=_LATENCY,
)
LIVE_CLIENTS = _meter.create_up_down_counter(
    "streamgauge.api.live.clients", "{client}", "Clients connected to live streams. Attributes: stream."
)
LIVE_DROPPED = _meter.create_counter(
    "streamgauge.api.live.dropped", "{client}", "Live clients dropped because they didn't read. Attributes: stream."
)

# The producer
SENT = _meter.create_counter("streamgauge.producer.events", "{event}", "Delivery results. Attributes: stream, result.")
ACKNOWLEDGED = EventDelays(
    "streamgauge.producer.acknowledged",
    "Events by the time from the producer's queue to the broker's acknowledgement. Attributes: stream, le.",
)

Read = Callable[[], Iterable[Observation]]
_observed: dict[str, Read] = {}


def _callback(name: str) -> Sequence[Callable[[CallbackOptions], Iterable[Observation]]]:
    return [lambda _: _observed[name]() if name in _observed else ()]


def _gauge(name: str, unit: str, description: str) -> str:
    _meter.create_observable_gauge(name, _callback(name), unit, description)
    return name


def _total(name: str, unit: str, description: str) -> str:
    _meter.create_observable_counter(name, _callback(name), unit, description)
    return name


# What stands in Postgres, whoever is up: served by the API (streamgauge.state.metrics).
STATE_READABLE = _gauge("streamgauge.state.readable", "1", "Whether Postgres answers.")
STREAM_CONSUMED = _total(
    "streamgauge.stream.consumed", "{record}", "Records up to the committed offsets. Attributes: stream."
)
STREAM_RECORDS = _total(
    "streamgauge.stream.records", "{record}", "What became of them, lost ones too. Attributes: stream, verdict."
)
STREAM_LAG = _gauge(
    "streamgauge.stream.lag", "{record}", "Records in the log not yet committed, as last seen. Attributes: stream."
)
STREAM_WATERMARK = _gauge(
    "streamgauge.stream.watermark.timestamp", "s", "Event time a stream is complete to. Attributes: stream."
)
STREAM_TOPICS = _gauge(
    "streamgauge.stream.topics",
    "{topic}",
    "Topics of the stream's name that were ever read: one more each time it is created anew. Attributes: stream.",
)
STREAM_PAUSED = _gauge("streamgauge.stream.paused", "{partition}", "Partitions paused. Attributes: stream.")
STREAM_OUTAGE = _gauge(
    "streamgauge.stream.outage",
    "1",
    "1 while an outage is reported by which events miss the promise, else 0. Attributes: stream, slo.",
)
HOURS_OWED = _gauge(
    "streamgauge.hours.owed", "{hour}", "Hours whose facts or rollups are behind the lake. Attributes: stream."
)
HOURS_UNEXPLAINED = _gauge(
    "streamgauge.hours.unexplained", "{hour}", "Hours whose latest reconciliation failed. Attributes: stream."
)
SENSORS_HEARTBEAT = _gauge(
    "streamgauge.sensors.heartbeat.timestamp", "s", "When a sensor last finished. Attributes: sensor."
)
ALERTS_FIRING = _gauge("streamgauge.alerts.firing", "{alert}", "Alerts of the sensors. Attributes: severity.")
ALERTS_UNDELIVERED = _gauge(
    "streamgauge.alerts.undelivered", "{message}", "Messages not yet taken. Attributes: target."
)


def observe(name: str, read: Read) -> None:
    """What one of the gauges above is to show, asked at every scrape."""
    _observed[name] = read


def export_metrics(service: str) -> None:
    """From now on this process's metrics are in prometheus_client's registry."""
    metrics.set_meter_provider(
        MeterProvider(metric_readers=[PrometheusMetricReader()], resource=Resource.create({"service.name": service}))
    )


def serve_metrics(service: str, port: int, host: str = "127.0.0.1") -> None:
    """Exports this process's metrics for Prometheus at http://host:port/metrics."""
    export_metrics(service)
    try:
        start_http_server(port, addr=host)
    except OSError as e:
        log.warning("no metrics at port %d (%s): give this process a port by STREAMGAUGE_METRICS_PORT", port, e)
