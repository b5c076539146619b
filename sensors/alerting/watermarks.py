"""How far each subject's data is: what Postgres, Kafka and Redis say of it. Run times play no part."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from redis import Redis
from redis.exceptions import RedisError

from sensors.alerting.subjects import KAFKA, WORKER, name
from sensors.freshness import Observation
from streamgauge.contract.model import Contract
from streamgauge.dagster import keys as asset_keys
from streamgauge.dagster.hours import HOUR, hour_start
from streamgauge.state.starts import LOOK_BACK
from streamgauge.stores.ddl import quote
from streamgauge.stores.postgres import Connection, has_relation
from streamgauge.stores.progress import pauses_of, read_progress, watermark_of
from streamgauge.stores.tables.batch import rollups_table

_DAYS_BACK = timedelta(days=31)

Log = Mapping[int, tuple[int, int]]
"""Each partition's first and end offset."""

_LAKE = "select hour from lake_hours where stream = %s group by hour having bool_and(closed) and hour >= %s"

# An hour is pending since it was last touched or, where it was still open then, since it ended. By a partial index.
PENDING = """select
min(greatest(touched_at, least(hour + interval '1 hour', now()))) filter (where built < touched),
min(greatest(touched_at, least(hour + interval '1 hour', now()))) filter (where least(built, rolled) < touched)
from event_hours where stream = %s and least(built, rolled) < touched"""

# Passed without waiting for anything, an hour is final: the partial index has the others.
# An hour that holds data, and is not final; where its reconciliation failed, that is what is reported instead.
NOT_FINAL = """select min(greatest(e.touched_at, e.hour + interval '1 hour')) from event_hours e
where e.stream = %(stream)s and e.touched > 0 and e.hour + interval '1 hour' < %(now)s
and not exists (select from final_hours f where f.stream = e.stream and f.hour = e.hour)
and coalesce(e.passed, true) and (e.passed is null or e.waits_for is not null)"""

# A day that is over, whose facts are not those of its rollup.
_DAYS_PENDING = """with hours as (
    select date_trunc('day', hour) as day, sum(facts) as facts, max(touched_at) as touched_at from event_hours
    where stream = %(stream)s and hour >= %(first)s and hour < %(today)s group by 1
), days as (
    select window_start as day, sum(count) as facts from {table} where window_start >= %(first)s group by 1
)
select min(greatest(h.touched_at, h.day + interval '1 day')) from hours h left join days d using (day)
where h.facts <> coalesce(d.facts, 0)"""


@dataclass(frozen=True)
class Speed:
    """What the worker last committed of a stream. `watermark` is None before its first event."""

    watermark: datetime | None
    committed_at: datetime
    read: int
    paused: str | None


def observe_servers(
    logs: Mapping[str, Log] | None, speed: Mapping[str, Speed], now: datetime
) -> dict[str, Observation]:
    """`logs` by stream; None where Kafka did not answer."""
    return {KAFKA: Observation(None if logs is None else now), WORKER: _worker(speed, logs, now)}


def observe_stream(
    connection: Connection,
    redis: Redis,
    logs: Mapping[str, Log] | None,
    speed: Speed | None,
    contract: Contract,
    now: datetime,
) -> dict[str, Observation]:
    log = None if logs is None else logs.get(contract.stream)
    return {
        name(asset_keys.minutes(contract)): _minutes(speed, log, now),
        name(asset_keys.redis_top(contract)): _redis(redis, contract, speed, now),
        **_cold(connection, contract, now),
    }


def read_speed(connection: Connection, contracts: Iterable[Contract]) -> dict[str, Speed]:
    streams = {c.topic: c.stream for c in contracts}
    return {
        streams[topic]: Speed(
            watermark=watermark_of(progress),
            committed_at=max(p.committed_at for p in progress),
            read=sum(p.next for p in progress),
            paused="; ".join(pauses_of(progress)) or None,
        )
        for topic, progress in read_progress(connection, streams).items()
        if progress
    }


def _worker(speed: Mapping[str, Speed], logs: Mapping[str, Log] | None, now: datetime) -> Observation:
    """By its last commit for any stream: it commits every few seconds, events or none."""
    waiting = sum(_waiting(speed.get(stream), log) for stream, log in (logs or {}).items())
    detail = f"{waiting:,} records wait in Kafka." if logs is not None else ""
    if all(s.watermark is None for s in speed.values()) and not waiting:
        return Observation(now, "no event yet")
    return Observation(max((s.committed_at for s in speed.values()), default=None), detail)


def _minutes(speed: Speed | None, log: Log | None, now: datetime) -> Observation:
    """A stream without events has nothing that could be stale; an idle one has a watermark that moves."""
    waiting = _waiting(speed, log or {})
    if (speed is None or speed.watermark is None) and not waiting:
        return Observation(now, "no event yet")
    if speed is None:
        return Observation(None, f"{waiting:,} records wait in Kafka and no worker ever took the stream up.")
    detail = f"{waiting:,} records wait in Kafka." if log else ""
    return Observation(speed.watermark, f"Paused: {speed.paused}. {detail}" if speed.paused else detail)


def _waiting(speed: Speed | None, log: Log) -> int:
    ends = sum(end for _, end in log.values())
    return max(0, ends - (sum(first for first, _ in log.values()) if speed is None else speed.read))


def _redis(redis: Redis, contract: Contract, speed: Speed | None, now: datetime) -> Observation:
    if speed is None or speed.watermark is None:
        return Observation(now, "no event yet")
    try:
        held = redis.get(contract.redis_minutes_key)
    except RedisError:
        return Observation(None, "Redis does not answer.")
    if not isinstance(held, str):
        return Observation(None, "Redis has nothing of the stream.")
    watermark = json.loads(held)["watermark"]
    return Observation(None if watermark is None else datetime.fromisoformat(watermark))


def _cold(connection: Connection, contract: Contract, now: datetime) -> dict[str, Observation]:
    stream = contract.stream
    first = hour_start(now - LOOK_BACK)
    closed = {hour for (hour,) in connection.execute(_LAKE, (stream, first))}
    lake = complete_to(closed, now)
    row = connection.execute(PENDING, (stream,)).fetchone()
    facts, rollups = row or (None, None)
    of = {"stream": stream, "now": now, "first": now - _DAYS_BACK, "today": now.replace(hour=0, minute=0, second=0)}
    (final,) = connection.execute(NOT_FINAL, of).fetchone() or (None,)
    (daily,) = _days(connection, quote(rollups_table(contract, "1d")), of) or (None,)
    times = {
        asset_keys.lake(contract): lake,
        asset_keys.facts(contract): facts,
        asset_keys.rollups_hourly(contract): rollups,
        asset_keys.reconciliation(contract): final,
        asset_keys.rollups_daily(contract): daily,
    }
    # what has nothing pending is as far as the lake is
    return {name(path): Observation(_earliest(lake, at)) for path, at in times.items()}


def _days(connection: Connection, table: str, of: Mapping[str, object]) -> tuple[datetime | None] | None:
    """None where the stream has no tables: its contract is not applied yet."""
    if not has_relation(connection, table):
        return None
    return connection.execute(_DAYS_PENDING.format(table=table).encode(), of).fetchone()


def complete_to(closed: set[datetime], now: datetime) -> datetime | None:
    """The end of the hours that are there without a hole, from the first one on."""
    if not closed:
        return None
    end = min(closed)
    while end in closed and end < now:
        end += HOUR
    return end


def _earliest(lake: datetime | None, pending: datetime | None) -> datetime | None:
    if lake is None or pending is None:
        return lake
    return min(lake, pending)
