"""The numbers of a stream as its live clients see them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from psycopg import sql

from serving.database import Database
from serving.rollups.plan import layers_of
from serving.stream_state import StreamState, read_state
from serving.tops import Tops
from serving.watch import Watch
from streamgauge.contract.model import Contract
from streamgauge.rollup.finality import Finality, read_finality
from streamgauge.rollup.tops import TopAnswer
from streamgauge.rollup.windows import MINUTE, latest_minute
from streamgauge.stores.postgres import Connection

MINUTES = 60
ITEMS = 10
_WINDOWS = ("1m", "5m", "1h")


class Reader:
    def __init__(
        self,
        contract: Contract,
        database: Database,
        watch: Watch,
        tops: Tops,
    ) -> None:
        self._contract = contract
        self._database = database
        self._watch = watch
        self._tops = tops

    def read(self) -> dict[str, Any]:
        contract = self._contract
        with self._database.snapshot() as connection:
            state = read_state(connection, contract)
            minutes = self._minutes(connection, state)
        ends = self._watch.ends(contract)
        problems = [] if self._watch.is_up("redis") else ["Redis is away: top-N come from Postgres."]
        problems += [f"paused: {p}" for p in state.pauses]
        if ends is None:
            problems.append("Kafka doesn't answer: how much is still to be counted is not known")
        return {
            "stream": contract.stream,
            **standing(state, ends),
            "minutes": minutes,
            "tops": {
                w: {a.top: shown_top(contract, a, ITEMS) for a in self._tops.latest(contract, w)} for w in _WINDOWS
            },
            "problems": problems,
        }

    def _minutes(self, connection: Connection, state: StreamState) -> dict[datetime, dict[str, Any]]:
        """Of the last hour that has any."""
        newest = latest_minute(connection, self._contract)
        if newest is None:
            return {}
        start, end = newest - (MINUTES - 1) * MINUTE, newest + MINUTE
        layers = read_finality(connection, self._contract, start, end, state.watermark)
        found: dict[datetime, dict[str, Any]] = {}
        for minute, count, late, duplicates in self._sums(connection, start, end, layers):
            standing = layers.standing(minute, minute + MINUTE)
            complete = state.complete_until is not None and minute + MINUTE <= state.complete_until
            found[minute] = {
                "minute": minute,
                "window_end": minute + MINUTE,
                "count": count,
                "late": late,
                "duplicates": duplicates,
                "status": standing.status,
                "revision": standing.revision,
                "unchecked": standing.unchecked,
                "complete": complete or standing.final_share == 1,
            }
        return dict(sorted(found.items()))

    def _sums(
        self, connection: Connection, start: datetime, end: datetime, layers: Finality
    ) -> list[tuple[datetime, int, int, int]]:
        rows: list[tuple[datetime, int, int, int]] = []
        for layer in layers_of(self._contract, start, end, layers.final, hourly=False):
            time = sql.Identifier(layer.time)
            query = sql.SQL(
                "SELECT {time}, sum(count)::bigint, {late}, sum(duplicates)::bigint FROM {table}"
                " WHERE {time} >= %s AND {time} < %s GROUP BY 1"
            ).format(
                time=time,
                late=sql.SQL("0::bigint" if layer.final else "sum(late)::bigint"),
                table=sql.Identifier(layer.table),
            )
            rows += connection.execute(query, (layer.start, layer.end)).fetchall()
        return rows


def standing(state: StreamState, ends: Any) -> dict[str, Any]:
    return {
        "as_of": state.as_of,
        "watermark": state.watermark,
        "freshness_seconds": state.freshness_seconds,
        "completeness": state.completeness(ends),
        "final_until": state.final_until,
        "accounts": state.books(ends),
    }


def shown_top(
    contract: Contract, answer: TopAnswer, limit: int, values: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """`values` are what pseudonyms stand for, for a caller who may see it."""
    top = next(t for t in contract.rollup.top if t.name == answer.top)
    known = values or {}
    return {
        "top": answer.top,
        "window": answer.window,
        "start": answer.start.astimezone(UTC),
        "end": answer.end.astimezone(UTC),
        "watermark": answer.watermark,
        "status": answer.status,
        "unchecked": answer.unchecked,
        "source": answer.source,
        "items": [
            {"key": known.get(i.key, i.key), "count": i.count, "lower": i.lower, "upper": i.upper}
            for i in answer.items[:limit]
        ],
        "error": answer.error,
        "exact": answer.exact,
        "masked": contract.is_personal(top) and values is None,
    }
