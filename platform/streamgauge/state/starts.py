"""Where each stream's data begins, by which Dagster's partitions begin: a partition that nothing is missing from is
filled, so what is not filled is missing.
"""

# confluent_kafka.admin documents these names as its own, and doesn't list them in __all__.
# pyright: reportPrivateImportUsage=false

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec

from streamgauge.contract.model import Contract
from streamgauge.dagster.hours import hour_start
from streamgauge.errors import UserError
from streamgauge.settings import Role, Settings, batch_start
from streamgauge.stores.kafka import admin_client
from streamgauge.stores.postgres import Connection, connect

log = logging.getLogger(__name__)

LOOK_BACK = timedelta(hours=72)
"""How long the daemon may be away (a weekend) and its lake hours are still made up without a backfill."""
_ANSWER_SECONDS = 10.0
"""Definitions that don't load because Kafka hangs would keep all of Dagster from working."""

_FIRST = """select s.stream, (select min(hour) from lake_hours l where l.stream = s.stream),
(select min(hour) from event_hours e where e.stream = s.stream and e.hour >= %s),
(select first_applied_at from applied_contracts a where a.stream = s.stream)
from unnest(%s::text[]) as s (stream)"""


Held = tuple[datetime | None, datetime | None, datetime | None]
"""The first hours of ingest and of event time that Postgres knows of, and when the contract was first applied."""


@dataclass(frozen=True)
class Starts:
    """A stream's first hours."""

    ingest: datetime
    """In which a record came in that the lake or the log has."""
    event: datetime
    """In which an event happened that the lake has."""


def first_day() -> datetime:
    return datetime.combine(batch_start(), datetime.min.time(), UTC)


def where_data_begins(role: Role, contracts: Sequence[Contract], now: datetime) -> dict[str, Starts]:
    """By stream. Where Postgres can't be asked, all begin with the batch layer's first day: there are then more
    partitions than data, which is better than none.
    """
    try:
        settings = Settings.for_role(role)
        with connect(settings, autocommit=True, application="streamgauge starts") as connection:
            held = _held(connection, contracts)
    except (psycopg.Error, UserError) as e:
        log.warning("where the data begins is not known: %s", str(e).strip())
        return {c.stream: Starts(first_day(), first_day()) for c in contracts}
    logged = _logged(settings, contracts)
    return {c.stream: _starts(held[c.stream], logged, c, now) for c in contracts}


def _starts(held: Held, logged: Mapping[str, datetime] | None, contract: Contract, now: datetime) -> Starts:
    """A stream begins when it was first applied, or with data that is older. Where Kafka doesn't answer, as far back as
    the lake is made up by itself.

    A beginning never moves on: each run loads the definitions anew, and fails where they lack the hour that was asked
    for when they were loaded before.
    """
    lake, event, applied = held
    begun = applied or now
    log_start = now - LOOK_BACK if logged is None else logged.get(contract.topic, begun)
    ingest = min(log_start, lake or begun, begun)
    return Starts(max(hour_start(ingest), first_day()), hour_start(min(event or begun, begun)))


def _held(connection: Connection, contracts: Iterable[Contract]) -> dict[str, Held]:
    rows = connection.execute(_FIRST, (first_day(), [c.stream for c in contracts])).fetchall()
    return {stream: (lake, event, applied) for stream, lake, event, applied in rows}


def _logged(settings: Settings, contracts: Iterable[Contract]) -> dict[str, datetime] | None:
    """By topic, when the broker appended the first record that it still has; None where Kafka doesn't answer."""
    topics = {c.topic for c in contracts}
    first: dict[str, datetime] = {}
    try:
        admin: Any = admin_client(settings)
        present = admin.list_topics(timeout=_ANSWER_SECONDS).topics
        known = {
            TopicPartition(topic, p): OffsetSpec.for_timestamp(0)
            for topic in topics & present.keys()
            for p in present[topic].partitions
        }
        for at, future in admin.list_offsets(known, request_timeout=_ANSWER_SECONDS).items() if known else ():
            found = future.result(_ANSWER_SECONDS)
            if found.offset >= 0 and found.timestamp > 0:
                moment = _moment(found.timestamp)
                first[at.topic] = min(moment, first.get(at.topic, moment))
    except (KafkaException, UserError, TimeoutError) as e:
        log.warning("where the log begins is not known, Kafka: %s", e)
        return None
    return first


def _moment(at_ms: int) -> datetime:
    """A topic of others may begin with a record of a wrong clock, which says nothing of those behind it."""
    now = datetime.now(UTC)
    return datetime.fromtimestamp(at_ms / 1000, UTC) if at_ms <= now.timestamp() * 1000 else now - LOOK_BACK
