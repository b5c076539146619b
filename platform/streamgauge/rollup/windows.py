"""Rollups of any window, by merging minutes.

A window of 5 m by 1 m *hops*: it starts every minute, and a minute is part of five of them. Without a hop,
windows follow one another (*tumble*). They start at multiples of their hop since 1970, so all windows agree.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl
from psycopg import sql

from streamgauge.contract.model import Contract
from streamgauge.errors import UserError
from streamgauge.rollup import sketches
from streamgauge.stores.postgres import Connection
from streamgauge.stores.tables.speed import COUNTERS

MINUTE = timedelta(minutes=1)
WINDOWS = {"1m": MINUTE, "5m": timedelta(minutes=5), "1h": timedelta(hours=1)}
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
PROVISIONAL = "provisional"

_TIME = pl.Datetime("us", "UTC")


@dataclass(frozen=True)
class Window:
    size: timedelta
    hop: timedelta

    @staticmethod
    def parse(size: str, hop: str | None = None) -> "Window":
        for given in (size, hop or size):
            if given not in WINDOWS:
                raise UserError(f"there is no window {given!r}", f"the windows are {', '.join(WINDOWS)}")
        window = Window(WINDOWS[size], WINDOWS[hop or size])
        if window.hop > window.size or window.size % window.hop:
            raise UserError(f"a window of {size} can't hop by {hop}", "the hop must divide the window")
        return window

    @property
    def starts_per_minute(self) -> int:
        """How many windows a minute is part of."""
        return self.size // self.hop


@dataclass(frozen=True)
class Top:
    """The most frequent keys. A count is too high by `error` at most, and never too low."""

    items: list[sketches.Ranked]
    keys: int
    error: int

    @property
    def exact(self) -> bool:
        return self.error == 0


def merge_minutes(
    minutes: pl.DataFrame,
    contract: Contract,
    window: Window,
    group_by: Sequence[str] = (),
    complete_before: datetime | None = None,
) -> pl.DataFrame:
    """One row a window and group, from rows of the contract's minutes table.

    A row is `complete` if its window ended by `complete_before`: what comes for it later is late. Distinct
    counts have a standard error of 1.6 %, quantiles a rank error of 1.3 %; both are exact for few values.
    """
    for name in group_by:
        if name not in contract.dimension_names:
            raise UserError(
                f"{contract.stream} has no dimension {name!r}",
                f"its dimensions are {', '.join(contract.dimension_names)}",
            )
    rollup = contract.rollup
    keys = ["window_start", *group_by]
    aggregates = [pl.col(c).sum() for c in COUNTERS]
    shown: list[pl.Expr] = [pl.col(c) for c in (*keys, *COUNTERS)]
    for distinct in rollup.distinct:
        aggregates.append(pl.col(f"{distinct.name}_hll").drop_nulls())
        shown.append(
            pl.col(f"{distinct.name}_hll")
            .map_elements(_each(_distinct), return_dtype=pl.Int64)
            .alias(f"{distinct.name}_distinct")
        )
    for m in rollup.measures:
        aggregates += [
            pl.col(f"{m.name}_n").sum(),
            pl.col(f"{m.name}_sum").sum(),
            pl.col(f"{m.name}_min").min(),
            pl.col(f"{m.name}_max").max(),
        ]
        shown += [pl.col(f"{m.name}_{part}") for part in ("n", "sum", "min", "max")]
        if m.quantiles:
            aggregates.append(pl.col(f"{m.name}_kll").drop_nulls())
            quantiles = pl.col(f"{m.name}_kll").map_elements(
                _each(_quantiles), return_dtype=pl.Array(pl.Float64, len(QUANTILES))
            )
            shown += [quantiles.arr.get(i).alias(f"{m.name}_{q}") for i, q in enumerate(QUANTILES)]
    end = pl.col("window_start") + window.size
    complete = pl.lit(False) if complete_before is None else end <= pl.lit(complete_before, dtype=_TIME)
    return (
        _spread(minutes, window)
        .group_by(keys)
        .agg(aggregates)
        .sort(keys)
        .select(*shown, complete.alias("complete"), pl.lit(PROVISIONAL).alias("status"))
    )


def _spread(minutes: pl.DataFrame, window: Window) -> pl.DataFrame:
    """Each minute once for every window it is part of."""
    hop = f"{window.hop // MINUTE}m"
    last = pl.col("minute").dt.truncate(hop)
    starts = [last - i * window.hop for i in range(window.starts_per_minute)]
    return minutes.with_columns(pl.concat_list(starts).alias("window_start")).explode("window_start")


def _each(merge: Callable[[Iterable[bytes]], object]) -> Callable[[pl.Series], object]:
    return lambda dumped: merge(dumped.to_list())


def _distinct(dumped: Iterable[bytes]) -> int:
    return round(sketches.merge_hll(map(sketches.load_hll, dumped)).get_estimate())


def _quantiles(dumped: Iterable[bytes]) -> list[float | None]:
    merged = sketches.merge_kll(map(sketches.load_kll, dumped))
    if merged.is_empty():
        return [None] * len(QUANTILES)
    return list(merged.get_quantiles(list(QUANTILES.values()), True))


def merge_tops(dumped: Iterable[bytes], limit: int) -> Top:
    merged = sketches.merge_frequent(map(sketches.load_frequent, dumped))
    return Top(sketches.ranked(merged, limit), merged.num_active_items, sketches.frequent_error(merged))


def read_minutes(connection: Connection, contract: Contract, start: datetime, end: datetime) -> pl.DataFrame:
    """The stored rows of the minutes from `start` up to, not including, `end`."""
    schema: dict[str, pl.DataType] = {"minute": _TIME}
    schema |= dict.fromkeys(contract.dimension_names, pl.String())
    schema |= dict.fromkeys(COUNTERS, pl.Int64())
    for d in contract.rollup.distinct:
        schema[f"{d.name}_hll"] = pl.Binary()
    for m in contract.rollup.measures:
        schema[f"{m.name}_n"] = pl.Int64()
        schema |= {f"{m.name}_{part}": pl.Float64() for part in ("sum", "min", "max")}
        if m.quantiles:
            schema[f"{m.name}_kll"] = pl.Binary()
    query = sql.SQL("SELECT {} FROM {} WHERE minute >= %s AND minute < %s").format(
        sql.SQL(", ").join(map(sql.Identifier, schema)), sql.Identifier(contract.minutes_table)
    )
    with connection.cursor(binary=True) as cursor:
        rows = cursor.execute(query, (start, end)).fetchall()
    return pl.DataFrame(rows, schema=schema, orient="row")


def read_top(
    connection: Connection,
    contract: Contract,
    top: str,
    start: datetime,
    end: datetime,
    limit: int,
) -> Top:
    query = sql.SQL("SELECT sketch FROM {} WHERE top = %s AND minute >= %s AND minute < %s").format(
        sql.Identifier(contract.top_table)
    )
    with connection.cursor(binary=True) as cursor:
        rows = cursor.execute(query, (top, start, end)).fetchall()
    return merge_tops((sketch for (sketch,) in rows), limit)


def latest_minute(connection: Connection, contract: Contract) -> datetime | None:
    query = sql.SQL("SELECT max(minute) FROM {}").format(sql.Identifier(contract.minutes_table))
    row = connection.execute(query).fetchone()
    return row[0] if row else None


def watermark(connection: Connection, contract: Contract) -> datetime | None:
    """The event time up to which the stream is believed complete: its slowest partition's."""
    row = connection.execute(
        "SELECT min(watermark_ms) FROM stream_offsets WHERE topic = %s", (contract.topic,)
    ).fetchone()
    if row is None or row[0] is None:
        return None
    return datetime.fromtimestamp(row[0] / 1000, UTC)


def read_windows(
    connection: Connection,
    contract: Contract,
    window: Window,
    start: datetime,
    end: datetime,
    group_by: Sequence[str] = (),
) -> pl.DataFrame:
    """The windows that start from `start` up to, not including, `end`, each whole."""
    known = watermark(connection, contract)
    complete_before = None if known is None else known - timedelta(milliseconds=contract.lateness_ms)
    minutes = read_minutes(connection, contract, start, end + window.size)
    merged = merge_minutes(minutes, contract, window, group_by, complete_before)
    begins = pl.col("window_start")
    return merged.filter(begins >= pl.lit(start, dtype=_TIME), begins < pl.lit(end, dtype=_TIME))
