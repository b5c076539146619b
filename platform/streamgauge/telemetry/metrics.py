"""The instruments, made from the catalog: no process can emit a metric that is not in it. Exported for Prometheus."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt
import psutil
from opentelemetry import metrics
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Counter, Histogram, Observation, UpDownCounter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource

from streamgauge.telemetry.catalog import metrics as catalog
from streamgauge.telemetry.catalog.model import Kind, Metric

_meter = metrics.get_meter("streamgauge")
_LATENCY = [0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0]

Read = Callable[[], Iterable[Observation]]
_observed: dict[Metric, Read] = {}


class BulkHistogram:
    """A histogram that takes many values at once, which OpenTelemetry's can't.

    It is a counter with the attribute `le`, cumulative as Prometheus has it: histogram_quantile() reads it.
    """

    def __init__(self, metric: Metric) -> None:
        self._counter = _counter(metric)

    def add(self, seconds: npt.ArrayLike, stream: str, *, events: int = 1) -> None:
        """`events` of each delay. None at all makes the series begin: rate() misses what they begin with."""
        bounds = np.searchsorted(_LATENCY, np.asarray(seconds, np.float64))
        totals = events * np.cumsum(np.bincount(bounds, minlength=len(_LATENCY) + 1))
        for bound, total in zip([*_LATENCY, "+Inf"], totals.tolist(), strict=True):
            self._counter.add(total, {"stream": stream, "le": str(bound)})


def _counter(metric: Metric) -> Counter:
    return _meter.create_counter(metric.name, metric.unit, metric.meaning)


def _up_down_counter(metric: Metric) -> UpDownCounter:
    return _meter.create_up_down_counter(metric.name, metric.unit, metric.meaning)


def _histogram(metric: Metric) -> Histogram:
    return _meter.create_histogram(
        metric.name, metric.unit, metric.meaning, explicit_bucket_boundaries_advisory=_LATENCY
    )


def _observable(metric: Metric) -> None:
    callbacks: Sequence[Callable[[CallbackOptions], Iterable[Observation]]] = [
        lambda _: _observed[metric]() if metric in _observed else ()
    ]
    create = _meter.create_observable_counter if metric.kind is Kind.COUNTER else _meter.create_observable_gauge
    create(metric.name, callbacks, metric.unit, metric.meaning)


SPANS = _counter(catalog.SPANS)
LOG_RECORDS = _counter(catalog.LOG_RECORDS)
SENT = _counter(catalog.SENT)
ACKNOWLEDGED = BulkHistogram(catalog.ACKNOWLEDGED)
EVENTS = _counter(catalog.EVENTS)
ARRIVALS = _counter(catalog.ARRIVALS)
COMMIT_DURATION = _histogram(catalog.COMMIT_DURATION)
READABLE = BulkHistogram(catalog.READABLE)
WINDOW_COMPLETE = BulkHistogram(catalog.WINDOW_COMPLETE)
RESTARTS = _counter(catalog.RESTARTS)
SET_ASIDE = _counter(catalog.SET_ASIDE)
PUBLISH_FAILURES = _counter(catalog.PUBLISH_FAILURES)
THREAD_FAILURES = _counter(catalog.THREAD_FAILURES)
REQUEST_DURATION = _histogram(catalog.REQUEST_DURATION)
LIVE_CLIENTS = _up_down_counter(catalog.LIVE_CLIENTS)
LIVE_DROPPED = _counter(catalog.LIVE_DROPPED)
STORE_DURATION = _histogram(catalog.STORE_DURATION)
CACHE_REQUESTS = _counter(catalog.CACHE_REQUESTS)
LOOP_LAG = _histogram(catalog.LOOP_LAG)

for _metric in catalog.METRICS:
    if _metric.observed:
        _observable(_metric)


def observe(metric: Metric, read: Read) -> None:
    """What an observed metric is to show, asked at every scrape."""
    _observed[metric] = read


def export_metrics(service: str) -> None:
    """From now on this process's metrics are in prometheus_client's registry."""
    metrics.set_meter_provider(
        MeterProvider(metric_readers=[PrometheusMetricReader()], resource=Resource.create({"service.name": service}))
    )
    process = psutil.Process()
    observe(catalog.THREADS, lambda: [Observation(process.num_threads())])
