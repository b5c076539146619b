"""The most frequent keys: from Redis where it has them, else merged from Postgres once for all, and put back."""

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from opentelemetry.trace import SpanKind
from psycopg import sql
from redis import Redis
from redis.exceptions import RedisError

from serving.context import current
from serving.database import Database
from serving.flight import SingleFlight
from serving.rollups.plan import Layer, layers_of
from serving.stream_state import StreamState, read_state
from streamgauge.contract.model import Contract, Top
from streamgauge.dagster.hours import hour_start
from streamgauge.rollup.finality import FINAL, MIXED, PROVISIONAL, Finality
from streamgauge.rollup.tops import TopAnswer, from_postgres, from_redis
from streamgauge.rollup.windows import merge_tops
from streamgauge.stores.postgres import Connection
from streamgauge.stores.redis import replace_unless_newer
from streamgauge.stores.tables.batch import tops_table
from streamgauge.telemetry import metrics
from streamgauge.telemetry.catalog import attributes as a
from streamgauge.telemetry.tracing import span

log = logging.getLogger(__name__)

MAX_ITEMS = 100
_AWAY_SECONDS = 1.0
"""How long nobody asks Redis after it was found away."""
_KEPT_SECONDS = 1.0
"""How long an answer of Postgres stands in for one of Redis."""
_TTL_SECONDS = 60
"""Of what is put back: the worker's own answers stay longer, but if none replaces this one, it must not grow old."""


class Tops:
    def __init__(self, redis: Redis, database: Database) -> None:
        self._redis = redis
        self._replace = replace_unless_newer(redis)
        self._database = database
        self._flight = SingleFlight[list[TopAnswer]](_KEPT_SECONDS)
        self._away_until = 0.0

    @property
    def redis_away(self) -> bool:
        return time.monotonic() < self._away_until

    def latest(self, contract: Contract, window: str) -> list[TopAnswer]:
        """All of a stream's, up to its newest minute."""
        held = None if self.redis_away else self._from_redis(contract, window)
        result = "miss" if held is None else "hit"
        metrics.CACHE_REQUESTS.add(1, {"stream": contract.stream, "result": result})
        if held is not None:
            return held
        return self._flight.do((contract.stream, window), lambda: self._from_postgres(contract, window))

    def _from_redis(self, contract: Contract, window: str) -> list[TopAnswer] | None:
        since = time.perf_counter()
        try:
            with span("redis", {a.DB_SYSTEM.name: "redis"}, kind=SpanKind.CLIENT):
                return from_redis(self._redis, contract, window, MAX_ITEMS)
        finally:
            store = {"db.system.name": "redis", "http.route": current().route}
            metrics.STORE_DURATION.record(time.perf_counter() - since, store)

    def _from_postgres(self, contract: Contract, window: str) -> list[TopAnswer]:
        with self._database.snapshot() as connection:
            state = read_state(connection, contract)
            found = from_postgres(connection, contract, window, MAX_ITEMS)
        if not self.redis_away:
            self._refill(contract, state, found)
        return found

    def _refill(self, contract: Contract, state: StreamState, answers: Sequence[TopAnswer]) -> None:
        try:
            for answer in answers:
                key = contract.redis_top_key(answer.top, answer.window)
                self._replace(keys=[key], args=[state.version, json.dumps(_held(state, answer)), _TTL_SECONDS])
        except RedisError as e:
            self._away_until = time.monotonic() + _AWAY_SECONDS
            log.info("top-N from Postgres, Redis is away: %s", e)


def _held(state: StreamState, answer: TopAnswer) -> dict[str, Any]:
    """As the worker publishes it."""
    return {
        "version": state.version,
        "as_of": _iso(state.as_of),
        "watermark": None if answer.watermark is None else _iso(answer.watermark),
        "status": answer.status,
        "window": answer.window,
        "from": _iso(answer.start),
        "to": _iso(answer.end),
        "items": [{"key": i.key, "count": i.count, "lower": i.lower, "upper": i.upper} for i in answer.items],
        "exact": answer.exact,
        "error": answer.error,
    }


def _iso(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def of_range(
    connection: Connection,
    contract: Contract,
    tops: Sequence[Top],
    start: datetime,
    end: datetime,
    layers: Finality,
    watermark: datetime | None,
) -> list[TopAnswer]:
    """Of any range of minutes, over both layers."""
    standing = layers.standing(start, end)
    size = "1h" if hour_start(start) == start and hour_start(end) == end else "1m"
    status = {0.0: PROVISIONAL, 1.0: FINAL}.get(standing.final_share, MIXED)
    answers: list[TopAnswer] = []
    for top in tops:
        dumped: list[bytes] = []
        for layer in layers_of(contract, start, end, layers.final, hourly=False):
            dumped += _sketches(connection, top.name, replace(layer, table=_table(contract, layer.final)), size)
        merged = merge_tops(dumped, MAX_ITEMS)
        answers.append(
            TopAnswer(
                stream=contract.stream,
                top=top.name,
                window="range",
                start=start,
                end=end,
                watermark=watermark,
                items=tuple(merged.items),
                error=merged.error,
                source="postgres",
                status=status,
                unchecked=standing.unchecked,
            )
        )
    return answers


def _table(contract: Contract, final: bool) -> str:
    return tops_table(contract) if final else contract.top_table


def _sketches(connection: Connection, top: str, layer: Layer, size: str) -> list[bytes]:
    """`size`: how long the batch layer's rows are; the worker's are of minutes."""
    time = sql.Identifier(layer.time)
    query = sql.SQL("SELECT sketch FROM {} WHERE top = %s AND {time} >= %s AND {time} < %s").format(
        sql.Identifier(layer.table), time=time
    )
    values: list[Any] = [top, layer.start, layer.end]
    if layer.final:
        query += sql.SQL(" AND size = %s")
        values.append(size)
    if layer.hours:
        own = "" if layer.final else "NOT "
        query += sql.SQL(f" AND {own}") + sql.SQL("time_bucket('1 hour', {}) = ANY(%s)").format(time)
        values.append(list(layer.hours))
    return [sketch for (sketch,) in connection.cursor(binary=True).execute(query, values)]
