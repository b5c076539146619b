"""The SQL that answers for both layers at once. Pure: it asks no server.

Rows are summed over partitions and into pieces as long as the window's hop; where windows overlap, each piece then goes
into every window that it is part of. Final hours come from the batch layer's table with the longest rows that fit.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg import sql
from psycopg.sql import SQL, Composable, Identifier, Literal

from serving.rollups.asked import MAX_ROWS, Asked
from streamgauge.contract.measures import StoredColumn
from streamgauge.contract.model import Contract
from streamgauge.dagster.hours import HOUR, hour_start
from streamgauge.rollup.windows import MINUTE
from streamgauge.stores.merging import merged_sql
from streamgauge.stores.tables.batch import rollups_table

PIECE, WINDOW = Identifier("__piece"), Identifier("window_start")
"""What no contract can name a dimension begins with __."""
_COMMA = SQL(", ")


@dataclass(frozen=True)
class Layer:
    """Rows of one table: those of the hours between `start` and `end` that are, or are not, final."""

    table: str
    time: str
    step: timedelta
    """How long a row is."""
    final: bool
    start: datetime
    end: datetime
    hours: tuple[datetime, ...]
    """The final hours in between; empty where all or none of them are, and nothing needs to be sorted out."""


def layers_of(
    contract: Contract, start: datetime, end: datetime, final: Iterable[datetime], hourly: bool
) -> list[Layer]:
    """Which tables to read for a range, and which part of each.

    Hours are never made of days: an hour that is revised would be ahead of its day until that is built again.
    """
    if end <= start:
        return []
    hours = _hours(start, end)
    done = sorted(set(final) & set(hours))
    left = sorted(set(hours) - set(done))
    table = rollups_table(contract, "1h" if hourly else "1m")
    layers: list[Layer] = []
    if done:
        step = HOUR if hourly else MINUTE
        layers.append(_layer(table, "window_start", step, True, start, end, done, done))
    if left:
        layers.append(_layer(contract.minutes_table, "minute", MINUTE, False, start, end, left, done))
    return layers


def _layer(
    table: str,
    time: str,
    step: timedelta,
    final: bool,
    start: datetime,
    end: datetime,
    own: Sequence[datetime],
    done: Sequence[datetime],
) -> Layer:
    first, last = own[0], own[-1]
    gapless = len(own) == (last - first) // HOUR + 1
    between = () if gapless else tuple(h for h in done if first <= h <= last)
    return Layer(table, time, step, final, max(start, first), min(end, last + HOUR), between)


def _hours(start: datetime, end: datetime) -> list[datetime]:
    first = hour_start(start)
    return [first + i * HOUR for i in range(-((first - end) // HOUR))]


def rollups_query(asked: Asked, layers: Sequence[Layer]) -> sql.Composed:
    """Rows of window start, group and stored measures, in that order, sorted by window and group."""
    groups = [Identifier(g) for g in asked.group_by]
    stored = asked.stored
    pieces = SQL(" UNION ALL ").join(_pieces(asked, layer, stored) for layer in layers)
    whole = asked.window.size == asked.window.hop
    if whole:
        spread = SQL("SELECT {} AS {}, * FROM pieces").format(PIECE, WINDOW)
    else:
        spread = SQL(
            "SELECT {piece} - __i * {hop} AS {window}, * FROM pieces CROSS JOIN generate_series(0, {n}) AS __i"
        ).format(
            piece=PIECE, hop=Literal(asked.window.hop), window=WINDOW, n=Literal(asked.window.starts_per_minute - 1)
        )
    if whole and len(layers) == 1:
        windows = spread
    else:
        windows = SQL("SELECT {} FROM ({}) AS spread WHERE {} GROUP BY {}").format(
            _COMMA.join([WINDOW, *groups, *map(_merged, stored)]),
            spread,
            _in_range(asked),
            _COMMA.join([WINDOW, *groups]),
        )
    query = SQL("WITH pieces AS ({}), windows AS ({}) ").format(pieces, windows)
    query += (
        _filled(asked, stored)
        if asked.fill == "zero"
        else SQL("SELECT {} FROM windows").format(_COMMA.join([WINDOW, *groups, *(Identifier(s.name) for s in stored)]))
    )
    keys = _COMMA.join([WINDOW, *groups])
    if asked.after is not None:
        query += SQL(" WHERE ({}) > ({})").format(keys, _COMMA.join(map(Literal, asked.after)))
    return query + SQL(" ORDER BY {} LIMIT {}").format(keys, Literal((asked.limit or MAX_ROWS) + 1))


def _pieces(asked: Asked, layer: Layer, stored: Iterable[StoredColumn]) -> Composable:
    groups = [Identifier(g) for g in asked.group_by]
    # what was late is among the facts, and no column of theirs
    merged = [SQL("0::bigint AS late") if layer.final and s.name == "late" else _merged(s) for s in stored]
    bucket = _bucket(asked, layer)
    return SQL("SELECT {bucket} AS {piece}{columns} FROM {table} WHERE {where} GROUP BY 1{groups}").format(
        bucket=bucket,
        piece=PIECE,
        columns=_listed([*groups, *merged]),
        table=Identifier(layer.table),
        where=where_of(asked, layer),
        groups=_listed(groups),
    )


def _bucket(asked: Asked, layer: Layer) -> Composable:
    """Rows as long as the hop are pieces already, and Postgres plans better with a column than with a function."""
    if layer.step == asked.window.hop:
        return Identifier(layer.time)
    return SQL("date_bin({}, {}, {})").format(Literal(asked.window.hop), Identifier(layer.time), Literal(asked.origin))


def where_of(asked: Asked, layer: Layer) -> sql.Composed:
    time = Identifier(layer.time)
    parts: list[Composable] = [SQL("{} >= {} AND {} < {}").format(time, Literal(layer.start), time, Literal(layer.end))]
    if layer.hours:
        parts.append(
            SQL("{}date_trunc('hour', {}, 'UTC') = ANY({})").format(
                SQL("" if layer.final else "NOT "), time, Literal(list(layer.hours))
            )
        )
    for name, values in asked.where.items():
        parts.append(SQL("{} = ANY({})").format(Identifier(name), Literal(list(values))))
    return SQL(" AND ").join(parts)


def _merged(stored: StoredColumn) -> Composable:
    return SQL("{} AS {}").format(merged_sql(stored), Identifier(stored.name))


def _in_range(asked: Asked) -> Composable:
    return SQL("{} >= {} AND {} < {}").format(WINDOW, Literal(asked.start), WINDOW, Literal(asked.end))


def _filled(asked: Asked, stored: Iterable[StoredColumn]) -> Composable:
    """Every window for each group that the range has anywhere."""
    groups = [Identifier(g) for g in asked.group_by]
    measures = [
        SQL("coalesce({}, 0) AS {}").format(Identifier(s.name), Identifier(s.name)) if s.counter else Identifier(s.name)
        for s in stored
    ]
    every = SQL("generate_series({}, {}, {}) AS {}").format(
        Literal(asked.first), Literal(asked.stop - asked.window.size), Literal(asked.window.hop), WINDOW
    )
    if groups:
        every += SQL(" CROSS JOIN (SELECT DISTINCT {} FROM windows) AS groups").format(_COMMA.join(groups))
    keys = _COMMA.join([WINDOW, *groups])
    return SQL("SELECT {} FROM {} LEFT JOIN windows USING ({})").format(_COMMA.join([keys, *measures]), every, keys)


def sketches_count_query(asked: Asked, layers: Sequence[Layer]) -> sql.Composed:
    """How many rows `sketches_query` would take sketches from."""
    counts = [
        SQL("SELECT count(*) AS n FROM {} WHERE {}").format(Identifier(layer.table), where_of(asked, layer))
        for layer in layers
    ]
    return SQL("SELECT coalesce(sum(n), 0)::bigint FROM ({}) AS counts").format(SQL(" UNION ALL ").join(counts))


def sketches_query(asked: Asked, layers: Sequence[Layer]) -> sql.Composed:
    """Rows of piece, group, and for each kind of sketch the list of those in it. A piece may come once a layer."""
    groups = [Identifier(g) for g in asked.group_by]
    lists = [SQL("array_agg({0}) FILTER (WHERE {0} IS NOT NULL)").format(Identifier(s)) for s in asked.sketches]
    return SQL(" UNION ALL ").join(
        SQL("SELECT {}{} FROM {} WHERE {} GROUP BY 1{}").format(
            _bucket(asked, layer),
            _listed([*groups, *lists]),
            Identifier(layer.table),
            where_of(asked, layer),
            _listed(groups),
        )
        for layer in layers
    )


def _listed(parts: Iterable[Any]) -> sql.Composed:
    return SQL("").join(SQL(", {}").format(p) for p in parts)
