"""What stands in Postgres as metrics: read at each scrape, so that it is exposed whoever else is down."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence

import psycopg
from opentelemetry.metrics import Observation

from streamgauge.contract.model import Contract
from streamgauge.settings import Settings
from streamgauge.stores.postgres import Connection, connect
from streamgauge.stores.progress import pauses_of, read_progress, watermark_of
from streamgauge.telemetry.catalog import metrics as catalog
from streamgauge.telemetry.catalog.model import Metric
from streamgauge.telemetry.metrics import observe

log = logging.getLogger(__name__)

_KEEP_SECONDS = 5.0
"""One scrape asks for every gauge in turn; Postgres is asked once."""

Found = Mapping[Metric, Sequence[Observation]]

_VERDICTS = ("counted", "late", "duplicates", "dead_letters", "lost")

# Counts by partial indexes: of all hours there are many, and the metrics are read every few seconds.
_OWED = """select s.stream, (select count(*) from event_hours e
where e.stream = s.stream and least(e.built, e.rolled) < e.touched) from unnest(%s::text[]) as s (stream)"""

_UNEXPLAINED = """select s.stream, (select count(*) from event_hours e where e.stream = s.stream and not e.passed
and not exists (select from accepted_differences a
where a.stream = e.stream and a.hour = e.hour and a.differences = e.differences))
from unnest(%s::text[]) as s (stream)"""


# An outage of a server has no stream: it is one of each.
_OUTAGES = """select distinct s.stream, o.slo from unnest(%s::text[]) as s (stream), alerts a
join (values ('StreamgaugeKafkaAway', 'ingestion'), ('StreamgaugeKafkaAway', 'freshness'),
('StreamgaugeWorkerStopped', 'freshness'), ('StreamgaugeDataStale', 'freshness')) as o (name, slo) using (name)
where a.resolved_at is null and a.stream in ('', s.stream)
and (a.name <> 'StreamgaugeDataStale' or a.asset like 'speed/%%')"""
_PROMISES = ("ingestion", "freshness")
"""Those that an outage breaks by itself; that no record is lost is not one of them."""

_COMMITTED = """select topic, partition, extract(epoch from updated_at)::float8 from stream_offsets
where topic = any(%s)"""

_FINAL = """select s.stream, extract(epoch from r.at - r.hour)::float8 - 3600 from unnest(%s::text[]) as s (stream),
lateral (select hour, at from hour_revisions where stream = s.stream order by hour desc, revision limit 1) r"""

_TOPICS = "select topic, count(distinct topic_id) from stream_topics where topic = any(%s) group by topic"


def export_state(settings: Settings, contracts: Mapping[str, Contract]) -> None:
    """Makes this process's metrics show the state in Postgres too. `contracts` may change."""
    state = _State(lambda: connect(settings, autocommit=True, application="streamgauge-metrics"), contracts)
    for metric in _METRICS:
        observe(metric, lambda metric=metric: state.now().get(metric, ()))


class _State:
    def __init__(self, connect: Callable[[], Connection], contracts: Mapping[str, Contract]) -> None:
        self._connect = connect
        self._contracts = contracts
        self._lock = threading.Lock()
        self._found: Found = {}
        self._read_at = -_KEEP_SECONDS

    def now(self) -> Found:
        with self._lock:
            if time.monotonic() - self._read_at >= _KEEP_SECONDS:
                try:
                    with self._connect() as connection:
                        self._found = read_state(connection, {c.topic: c.stream for c in self._contracts.values()})
                except psycopg.errors.UndefinedTable:
                    # nothing was ever applied: there is no state, and nothing is wrong
                    self._found = {catalog.STATE_READABLE: [Observation(1)]}
                except psycopg.Error as e:
                    log.warning("metrics: Postgres: %s", str(e).strip())
                    self._found = {
                        catalog.STATE_READABLE: [Observation(0)],
                        # The worker can't commit either, and Prometheus reports that Postgres is away.
                        catalog.STREAM_OUTAGE: [
                            Observation(1, {"stream": s, "slo": "freshness"}) for s in self._contracts
                        ],
                    }
                self._read_at = time.monotonic()
            return self._found


def read_state(connection: Connection, topics: Mapping[str, str]) -> Found:
    """`topics` gives each topic's stream."""
    found: dict[Metric, list[Observation]] = {metric: [] for metric in _METRICS}
    found[catalog.STATE_READABLE].append(Observation(1))
    streams = list(topics.values())
    for topic, progress in read_progress(connection, topics).items():
        if not progress:
            continue
        of = {"stream": topics[topic]}
        found[catalog.STREAM_CONSUMED].append(Observation(sum(p.records + p.lost for p in progress), of))
        for verdict in _VERDICTS:
            n = sum(getattr(p, verdict) for p in progress)
            found[catalog.STREAM_RECORDS].append(Observation(n, {**of, "verdict": verdict}))
        found[catalog.STREAM_LAG].append(Observation(sum(p.lag for p in progress), of))
        found[catalog.STREAM_PAUSED].append(Observation(len(pauses_of(progress)), of))
        watermark = watermark_of(progress)
        if watermark is not None:
            found[catalog.STREAM_WATERMARK].append(Observation(watermark.timestamp(), of))
    for topic, partition, at in connection.execute(_COMMITTED, (list(topics),)):
        of = {"stream": topics[topic], "partition": partition}
        found[catalog.STREAM_COMMITTED].append(Observation(at, of))
    for stream, seconds in connection.execute(_FINAL, (streams,)):
        found[catalog.HOURS_FINAL_DELAY].append(Observation(seconds, {"stream": stream}))
    for topic, n in connection.execute(_TOPICS, (list(topics),)):
        found[catalog.STREAM_TOPICS].append(Observation(n, {"stream": topics[topic]}))
    outages = set(connection.execute(_OUTAGES, (streams,)).fetchall())
    found[catalog.STREAM_OUTAGE] += [
        Observation(int((stream, slo) in outages), {"stream": stream, "slo": slo})
        for stream in streams
        for slo in _PROMISES
    ]
    for stream, hours in connection.execute(_OWED, (streams,)):
        found[catalog.HOURS_OUTDATED].append(Observation(hours, {"stream": stream}))
    for stream, hours in connection.execute(_UNEXPLAINED, (streams,)):
        found[catalog.HOURS_UNEXPLAINED].append(Observation(hours, {"stream": stream}))
    for sensor, at in connection.execute("select sensor, extract(epoch from at)::float8 from sensor_heartbeats"):
        found[catalog.SENSORS_HEARTBEAT].append(Observation(at, {"sensor": sensor}))
    severities = dict.fromkeys(("warning", "critical"), 0)
    for severity, n in connection.execute(
        "select severity, count(*) from alerts where resolved_at is null group by severity"
    ):
        severities[severity] = n
    found[catalog.ALERTS_FIRING] += [Observation(n, {"severity": s}) for s, n in severities.items()]
    for target, n in connection.execute(
        "select target, count(*) filter (where delivered_at is null) from alert_messages group by target"
    ):
        found[catalog.ALERTS_UNDELIVERED].append(Observation(n, {"target": target}))
    return found


_METRICS = (
    catalog.STATE_READABLE,
    catalog.STREAM_CONSUMED,
    catalog.STREAM_RECORDS,
    catalog.STREAM_LAG,
    catalog.STREAM_WATERMARK,
    catalog.STREAM_PAUSED,
    catalog.STREAM_COMMITTED,
    catalog.STREAM_TOPICS,
    catalog.STREAM_OUTAGE,
    catalog.HOURS_OUTDATED,
    catalog.HOURS_UNEXPLAINED,
    catalog.HOURS_FINAL_DELAY,
    catalog.SENSORS_HEARTBEAT,
    catalog.ALERTS_FIRING,
    catalog.ALERTS_UNDELIVERED,
)
