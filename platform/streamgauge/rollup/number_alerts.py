"""A contract's alerts on numbers: what the number is over the latest windows, and whether it is out of bounds."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Any

import polars as pl
from psycopg import sql

from streamgauge.contract.measures import StoredColumn, counter
from streamgauge.contract.model import Contract, NumberAlert, RollupSpec
from streamgauge.rollup.measure_kinds import Figure, figures, stored_figure
from streamgauge.rollup.windows import MINUTE
from streamgauge.stores.merging import merged_sql
from streamgauge.stores.postgres import Connection
from streamgauge.stores.progress import read_complete
from streamgauge.text import moment, number

_COUNT = counter("count")
_CALM = 5
"""Windows in a row that must be within bounds before an alert ends: one that comes and goes would report each time."""
_EARLIER = {"day": timedelta(days=1), "week": timedelta(days=7)}
_MINUTES = pl.Datetime("us", "UTC")


class Level(IntEnum):
    """How far a number is out of bounds."""

    WITHIN = 0
    WARNING = 1
    CRITICAL = 2


@dataclass(frozen=True)
class Reading:
    """Of the window that ends before `end`. `value` is None where there is no number, `earlier` too where the alert
    doesn't compare. `compared` is what the bounds are of; None where it can't be evaluated, or of too few events.
    """

    end: datetime
    value: float | None
    earlier: float | None
    compared: float | None


@dataclass(frozen=True)
class Episode:
    """From the first to the last window of which the alert stood, by their ends; `level` is the highest."""

    began: datetime
    last: datetime
    level: Level


def alert_numbers(rollup: RollupSpec) -> dict[str, Figure]:
    """By name, what alerts may be of."""
    return {f.name: f for f in (stored_figure(_COUNT), *figures(rollup))}


def complete_until(connection: Connection, contract: Contract) -> datetime | None:
    """The end of the last minute that is complete: what comes for it later is late. None before any event."""
    complete = read_complete(connection, contract)
    return complete and complete.replace(second=0, microsecond=0)


def windows_needed(alert: NumberAlert) -> int:
    """How many windows, each a minute after the one before, say whether the alert stands."""
    return max(alert.forMinutes + 1, _CALM)


def read_numbers(
    connection: Connection, contract: Contract, alert: NumberAlert, until: datetime, windows: int
) -> list[Reading]:
    """The number over so many windows, the last of which ends at `until`, as the worker counted it. A window that began
    before the stream is left out: of half a window a number is low.
    """
    first = until - (windows - 1) * MINUTE
    size = alert.windowMinutes * MINUTE
    back = timedelta(0) if alert.comparedWith is None else _EARLIER[alert.comparedWith]
    now = _rolled(connection, contract, alert, first, windows)
    then = _rolled(connection, contract, alert, first - back, windows) if back else now
    began = _began(connection, contract)
    readings: list[Reading] = []
    for i, ((value, count), (earlier, earlier_count)) in enumerate(zip(now, then, strict=True)):
        end = first + i * MINUTE
        if began is None or end - size - back < began:
            continue
        compared = value
        if back:
            compared = value / earlier if value is not None and earlier else None
        if max(count, earlier_count) < alert.minimumCount:
            compared = None
        readings.append(Reading(end, value, earlier if back else None, compared))
    return readings


def level_of(alert: NumberAlert, compared: float | None) -> Level:
    """What can't be evaluated is within bounds."""
    if compared is None:
        return Level.WITHIN
    for level, above, below in (
        (Level.CRITICAL, alert.criticalAbove, alert.criticalBelow),
        (Level.WARNING, alert.above, alert.below),
    ):
        if (above is not None and compared > above) or (below is not None and compared < below):
            return level
    return Level.WITHIN


def standing(alert: NumberAlert, levels: Sequence[Level], stands: bool) -> Level:
    """The level at which the alert stands after these windows; `stands` says whether it did before."""
    held = levels[-(alert.forMinutes + 1) :]
    if len(held) > alert.forMinutes and (least := min(held)) > Level.WITHIN:
        return least
    recent = levels[-windows_needed(alert) :]
    return Level.WARNING if stands and any(recent) else Level.WITHIN


def episodes(alert: NumberAlert, readings: Sequence[Reading]) -> list[Episode]:
    """When the alert would have stood; the last one may go on."""
    levels = [level_of(alert, r.compared) for r in readings]
    needed, found = windows_needed(alert), list[Episode]()
    stands = False
    for i, reading in enumerate(readings):
        level = standing(alert, levels[max(0, i + 1 - needed) : i + 1], stands)
        if level > Level.WITHIN:
            before = found.pop() if stands else Episode(reading.end, reading.end, level)
            found.append(Episode(before.began, reading.end, max(level, before.level)))
        stands = level > Level.WITHIN
    return found


def bounds_in_words(alert: NumberAlert) -> str:
    bounds = (
        ("above", alert.above, "warning"),
        ("below", alert.below, "warning"),
        ("above", alert.criticalAbove, "critical"),
        ("below", alert.criticalBelow, "critical"),
    )
    parts = [f"{word} {number(float(value))} is {level}" for word, value, level in bounds if value is not None]
    lasting = f", for {alert.forMinutes} min" if alert.forMinutes else ""
    return ", ".join(parts) + lasting


def watched_in_words(alert: NumberAlert) -> str:
    """What the bounds are of."""
    of = "".join(f", {name} {value}" for name, value in alert.dimensions.items())
    divided = f", divided by what it was a {alert.comparedWith} before" if alert.comparedWith else ""
    return f"{alert.number} of {alert.windowMinutes} min{of}{divided}"


def reading_in_words(alert: NumberAlert, reading: Reading) -> str:
    of = "".join(f", {name} {value}" for name, value in alert.dimensions.items())
    text = f"{alert.number} of the {alert.windowMinutes} min before {moment(reading.end)}{of}: {number(reading.value)}"
    if alert.comparedWith is not None:
        change = number(reading.compared) if reading.compared is not None else "not comparable"
        text += f", a {alert.comparedWith} before {number(reading.earlier)}, so {change} of it"
    return text


def _began(connection: Connection, contract: Contract) -> datetime | None:
    query = sql.SQL("SELECT min(minute) FROM {}").format(sql.Identifier(contract.minutes_table))
    row = connection.execute(query).fetchone()
    return row[0] if row else None


def _rolled(
    connection: Connection, contract: Contract, alert: NumberAlert, first: datetime, windows: int
) -> list[tuple[float | None, int]]:
    """The number, and of how many events it is, over windows of which the first ends at `first`."""
    figure = alert_numbers(contract.rollup)[alert.number]
    columns = list({c.name: c for c in (_COUNT, *figure.columns)}.values())
    size = alert.windowMinutes
    minutes = _minutes(connection, contract, alert, columns, first - size * MINUTE, size + windows - 1)
    found: list[tuple[float | None, int]] = []
    for i in range(windows):
        merged = minutes.slice(i, size).select(*(_merged(c) for c in columns))
        value: Any = None
        if figure.sketch is None:
            value = merged.select(figure.value).item()
        else:
            held: list[bytes] = merged[figure.columns[0].name].item().to_list()
            value = figure.sketch.read(figure.sketch.merge(held) if held else None)[0][figure.place]
        found.append((None if value is None else float(value), int(merged[_COUNT.name].item())))
    return found


def _minutes(
    connection: Connection,
    contract: Contract,
    alert: NumberAlert,
    columns: Sequence[StoredColumn],
    start: datetime,
    minutes: int,
) -> pl.DataFrame:
    """A row for each of so many minutes, sketches as lists."""
    names = list(alert.dimensions)
    query = sql.SQL(
        "SELECT minute, {columns} FROM {table} WHERE minute >= %s AND minute < %s{where} GROUP BY minute"
    ).format(
        columns=sql.SQL(", ").join(_aggregate(c) for c in columns),
        table=sql.Identifier(contract.minutes_table),
        where=sql.SQL("").join(sql.SQL(" AND {} = %s").format(sql.Identifier(n)) for n in names),
    )
    end = start + minutes * MINUTE
    with connection.cursor(binary=True) as cursor:
        rows = cursor.execute(query, (start, end, *alert.dimensions.values())).fetchall()
    schema: dict[str, Any] = {"minute": _MINUTES}
    schema |= {c.name: c.polars if c.merge else pl.List(pl.Binary()) for c in columns}
    all_minutes = pl.datetime_range(start, end, "1m", closed="left", time_unit="us", eager=True).alias("minute")
    return all_minutes.to_frame().join(
        pl.DataFrame(rows, schema=schema, orient="row"), on="minute", how="left", maintain_order="left"
    )


def _aggregate(column: StoredColumn) -> sql.Composable:
    if column.merge is None:
        return sql.SQL("array_agg({0}) FILTER (WHERE {0} IS NOT NULL)").format(sql.Identifier(column.name))
    return merged_sql(column)


def _merged(column: StoredColumn) -> pl.Expr:
    if column.merge is None:
        return pl.col(column.name).explode().drop_nulls().implode()
    return column.merged()
