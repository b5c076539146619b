"""Metrics, in the order of an event's way."""

from streamgauge.telemetry.catalog import attributes as a
from streamgauge.telemetry.catalog.model import (
    EVERY_PROCESS,
    Attribute,
    Emitter,
    Kind,
    LibraryMetric,
    Metric,
    Stability,
)

_WORKER, _API, _PRODUCER = (Emitter.WORKER,), (Emitter.API,), (Emitter.PRODUCER,)


_NEW = Stability.DEVELOPMENT


def _held(name: str, unit: str, meaning: str, *attributes: Attribute) -> Metric:
    """What a worker holds of a stream, as it is when it is collected."""
    return Metric(name, Kind.GAUGE, unit, meaning, _WORKER, (a.STREAM, *attributes), observed=True, stability=_NEW)


def _dagster(name: str, unit: str, meaning: str, *attributes: Attribute) -> Metric:
    return Metric(name, Kind.GAUGE, unit, meaning, _API, attributes, observed=True, stability=_NEW)


def _state(name: str, unit: str, meaning: str, *attributes: Attribute, kind: Kind = Kind.GAUGE) -> Metric:
    """What stands in Postgres: read by the API, so that it is seen while worker and Dagster are down."""
    return Metric(name, kind, unit, meaning, _API, attributes, observed=True)


# The producer
SENT = Metric(
    "streamgauge.producer.events", Kind.COUNTER, "{event}", "Delivery results.", _PRODUCER, (a.STREAM, a.RESULT)
)
ACKNOWLEDGED = Metric(
    "streamgauge.producer.acknowledged",
    Kind.BULK_HISTOGRAM,
    "{event}",
    "Events by the time from the producer's queue to the broker's acknowledgement.",
    _PRODUCER,
    (a.STREAM, a.LE),
)

# The worker
EVENTS = Metric(
    "streamgauge.worker.events", Kind.COUNTER, "{event}", "Events by verdict.", _WORKER, (a.STREAM, a.VERDICT)
)
ARRIVALS = Metric(
    "streamgauge.worker.arrivals",
    Kind.COUNTER,
    "{record}",
    "Records that came late, from a clock that is ahead, or to another partition than their key's.",
    _WORKER,
    (a.STREAM, a.KIND),
)
COMMIT_DURATION = Metric(
    "streamgauge.worker.commit.duration",
    Kind.HISTOGRAM,
    "s",
    "Time a transaction took, waiting for Postgres included.",
    _WORKER,
    (a.STREAM,),
)
READABLE = Metric(
    "streamgauge.worker.readable",
    Kind.BULK_HISTOGRAM,
    "{event}",
    "Events by the time from their batch's first append to its commit.",
    _WORKER,
    (a.STREAM, a.LE),
)
WINDOW_COMPLETE = Metric(
    "streamgauge.worker.window.complete",
    Kind.BULK_HISTOGRAM,
    "{window}",
    "Minutes of a partition by the time from their end until the watermark passed it.",
    _WORKER,
    (a.STREAM, a.LE),
    stability=_NEW,
)
STATE_IDS = _held("streamgauge.worker.state.ids", "{id}", "Event ids remembered to find duplicates.")
STATE_MINUTES = _held("streamgauge.worker.state.minutes", "{minute}", "Minutes of partitions that may still change.")
STATE_SKETCHES = _held("streamgauge.worker.state.sketches", "{sketch}", "Sketches of those minutes.")
STATE_SIZE = _held("streamgauge.worker.state.size", "By", "Memory that ids and sketches take.", a.STATE_KIND)
QUEUE_BATCHES = _held("streamgauge.worker.queue.batches", "{batch}", "Batches that wait for a stage.", a.STAGE)
STAGE_TIME = Metric(
    "streamgauge.worker.stage.wait",
    Kind.COUNTER,
    "s",
    "Time a stage has waited: without work, or for room behind it. The rest it was busy.",
    _WORKER,
    (a.STREAM, a.STAGE, a.WAITS),
    observed=True,
    stability=_NEW,
)
RESTARTS = Metric(
    "streamgauge.worker.restarts",
    Kind.COUNTER,
    "{restart}",
    "Sessions begun anew after a failure.",
    _WORKER,
    (a.STREAM, a.CAUSE),
)
SET_ASIDE = Metric(
    "streamgauge.worker.set.aside",
    Kind.COUNTER,
    "{record}",
    "Records set aside because they ended sessions.",
    _WORKER,
    (a.STREAM,),
)
PUBLISH_FAILURES = Metric(
    "streamgauge.publisher.failures",
    Kind.COUNTER,
    "{failure}",
    "Ticks that could not publish.",
    _WORKER,
    (a.STREAM, a.TARGET),
)

# Every process
THREAD_FAILURES = Metric(
    "streamgauge.thread.failures",
    Kind.COUNTER,
    "{failure}",
    "Errors that ended a thread; 0 of each supervised one from its start.",
    (Emitter.WORKER, Emitter.API),
    (a.THREAD, a.ERROR_TYPE),
)
THREADS = Metric(
    "process.thread.count",
    Kind.GAUGE,
    "{thread}",
    "Threads of the process, those of libraries included.",
    EVERY_PROCESS,
    observed=True,
    convention=True,
    stability=_NEW,
)
SPANS = Metric(
    "streamgauge.trace.spans",
    Kind.COUNTER,
    "{span}",
    "Spans by what became of them, where traces are exported.",
    EVERY_PROCESS,
    (a.SPAN_RESULT,),
    stability=_NEW,
)
LOG_RECORDS = Metric(
    "streamgauge.log.records",
    Kind.COUNTER,
    "{record}",
    "Log lines by what became of them, where they are sent to a store.",
    (Emitter.WORKER, Emitter.API),
    (a.LOG_RESULT,),
    stability=_NEW,
)

# The API
REQUEST_DURATION = Metric(
    "http.server.request.duration",
    Kind.HISTOGRAM,
    "s",
    "Time from a request to the end of its answer.",
    _API,
    (a.HTTP_METHOD, a.HTTP_ROUTE, a.HTTP_STATUS, a.ERROR_TYPE),
    convention=True,
)
LIVE_CLIENTS = Metric(
    "streamgauge.api.live.clients",
    Kind.UP_DOWN_COUNTER,
    "{client}",
    "Clients connected to live streams.",
    _API,
    (a.STREAM,),
)
LIVE_DROPPED = Metric(
    "streamgauge.api.live.dropped",
    Kind.COUNTER,
    "{client}",
    "Live clients dropped because they didn't read.",
    _API,
    (a.STREAM,),
)
STORE_DURATION = Metric(
    "streamgauge.api.store.duration",
    Kind.HISTOGRAM,
    "s",
    "Time for which a request used a store, waiting for a connection included.",
    _API,
    (a.DB_SYSTEM, a.HTTP_ROUTE),
    stability=_NEW,
)
CACHE_REQUESTS = Metric(
    "streamgauge.api.cache.requests",
    Kind.COUNTER,
    "{request}",
    "Top-N asked for by what Redis had of them.",
    _API,
    (a.STREAM, a.CACHE_RESULT),
    stability=_NEW,
)
LOOP_LAG = Metric(
    "streamgauge.api.loop.lag",
    Kind.HISTOGRAM,
    "s",
    "Time by which the event loop calls later than it was asked to: for so long every request waits.",
    _API,
    stability=_NEW,
)

# Dagster, as its web server tells the API
DAGSTER_RUNS = _dagster("streamgauge.dagster.runs", "{run}", "Runs that wait or run.", a.RUN_STATE)
DAGSTER_BACKFILLS = _dagster("streamgauge.dagster.backfills", "{backfill}", "Backfills under way.")
TICK_TIMESTAMP = _dagster("streamgauge.dagster.tick.timestamp", "s", "When a sensor's last tick began.", a.SENSOR)
TICK_DURATION = _dagster("streamgauge.dagster.tick.duration", "s", "Time its last ended tick took.", a.SENSOR)

# What stands in Postgres
STATE_READABLE = _state("streamgauge.state.readable", "1", "Whether Postgres answers.")
STREAM_CONSUMED = _state(
    "streamgauge.stream.consumed", "{record}", "Records up to the committed offsets.", a.STREAM, kind=Kind.COUNTER
)
STREAM_RECORDS = _state(
    "streamgauge.stream.records",
    "{record}",
    "What became of them, lost ones too.",
    a.STREAM,
    a.VERDICT,
    kind=Kind.COUNTER,
)
STREAM_LAG = _state(
    "streamgauge.stream.lag", "{record}", "Records in the log not yet committed, as last seen.", a.STREAM
)
STREAM_WATERMARK = _state(
    "streamgauge.stream.watermark.timestamp", "s", "Event time a stream is complete to.", a.STREAM
)
STREAM_COMMITTED = _state(
    "streamgauge.stream.commit.timestamp", "s", "When a partition was last committed.", a.STREAM, a.PARTITION
)
STREAM_TOPICS = _state(
    "streamgauge.stream.topics",
    "{topic}",
    "Topics of the stream's name that were ever read: one more each time it is created anew.",
    a.STREAM,
)
STREAM_PAUSED = _state("streamgauge.stream.paused", "{partition}", "Partitions paused.", a.STREAM)
STREAM_OUTAGE = _state(
    "streamgauge.stream.outage",
    "1",
    "1 while an outage is reported by which events miss the promise, else 0.",
    a.STREAM,
    a.SLO,
)
HOURS_OUTDATED = _state(
    "streamgauge.hours.outdated", "{hour}", "Hours whose facts or rollups are behind the lake.", a.STREAM
)
HOURS_FINAL_DELAY = _state(
    "streamgauge.hours.final.delay", "s", "Time from the newest final hour's end until it was final.", a.STREAM
)
HOURS_UNEXPLAINED = _state(
    "streamgauge.hours.unexplained", "{hour}", "Hours whose latest reconciliation failed.", a.STREAM
)
SENSORS_HEARTBEAT = _state("streamgauge.sensors.heartbeat.timestamp", "s", "When a sensor last finished.", a.SENSOR)
ALERTS_FIRING = _state("streamgauge.alerts.firing", "{alert}", "Alerts of the sensors.", a.SEVERITY)
ALERTS_UNDELIVERED = _state("streamgauge.alerts.undelivered", "{message}", "Messages not yet taken.", a.TARGET)

METRICS = tuple(value for value in vars().values() if isinstance(value, Metric))

_SDK = ("service_instance_id", "service_name", "telemetry_sdk_language", "telemetry_sdk_name", "telemetry_sdk_version")
_PYTHON = ("implementation", "major", "minor", "patchlevel", "version")
_GC = ("generation",)


def _library(name: str, unit: str, meaning: str, labels: tuple[str, ...] = ()) -> LibraryMetric:
    return LibraryMetric(name, unit, meaning, EVERY_PROCESS, labels)


LIBRARIES = (
    _library("target_info", "1", "Always 1; its labels say which process it is.", _SDK),
    _library("process_resident_memory_bytes", "By", "Memory that the process holds."),
    _library("process_virtual_memory_bytes", "By", "Addresses that it has reserved."),
    _library("process_cpu_seconds_total", "s", "CPU time, user and system."),
    _library("process_start_time_seconds", "s", "When it started."),
    _library("process_open_fds", "{file}", "Open files and sockets."),
    _library("process_max_fds", "{file}", "How many it may open."),
    _library("python_info", "1", "Always 1; its labels say which Python it is.", _PYTHON),
    _library("python_gc_collections_total", "{collection}", "Looks for garbage cycles.", _GC),
    _library("python_gc_objects_collected_total", "{object}", "Objects they freed.", _GC),
    _library("python_gc_objects_uncollectable_total", "{object}", "Objects they could not free.", _GC),
)
"""Of prometheus_client and OpenTelemetry's exporter."""
