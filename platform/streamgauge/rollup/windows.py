"""Rollups of any window, by merging minutes: the batch layer's of hours that are final, the worker's of all others.

A window of 5 m by 1 m *hops*: it starts every minute, and a minute is part of five of them. Without a hop,
windows follow one another (*tumble*). They start at multiples of their hop since 1970, so all windows agree.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl
from psycopg import sql

from streamgauge.contract.measures import counter
from streamgauge.contract.model import Contract
from streamgauge.errors import UserError
from streamgauge.rollup import sketches
from streamgauge.rollup.finality import PROVISIONAL as PROVISIONAL
from streamgauge.rollup.finality import Finality, read_finality
from streamgauge.rollup.measure_kinds import shown, sketched
from streamgauge.stores.postgres import Connection
from streamgauge.stores.progress import read_watermark
from streamgauge.stores.tables.batch import rollups_table
from streamgauge.stores.tables.speed import COUNTERS

MINUTE = timedelta(minutes=1)
WINDOWS = {"1m": MINUTE, "5m": timedelta(minutes=5), "1h": timedelta(hours=1)}

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
) -> pl.DataFrame:
    """One row a window and group, from rows of minutes, with all figures of the stream's measures. Beside estimates
    stands their error: `<name>_distinct_error` relative to the count, `<measure>_rank_error` of the quantiles' ranks;
    both are 0 where few values make it exact.
    """
    check_dimensions(contract, group_by)
    keys = ["window_start", *group_by]
    columns = [*map(counter, COUNTERS), *contract.rollup.columns]
    merged = _spread(minutes, window).group_by(keys).agg(c.merged() for c in columns).sort(keys)
    return merged.select(*keys, *COUNTERS, *shown(contract.rollup))


def check_dimensions(contract: Contract, names: Iterable[str]) -> None:
    """Raises UserError for a name that is none."""
    for name in names:
        if name not in contract.dimension_names:
            raise UserError(
                f"{contract.stream} has no dimension {name!r}",
                f"its dimensions are {', '.join(contract.dimension_names)}",
            )


def with_status(
    windows: pl.DataFrame, window: Window, finality: Finality, complete_before: datetime | None
) -> pl.DataFrame:
    """Beside each window `status`, `revision`, `final_share` and `unchecked`, as `finality` has them, and `complete`:
    the window is final, or ended by `complete_before`, so that what comes for it later is late.
    """
    rows: list[tuple[Any, ...]] = []
    for start in windows["window_start"].unique():
        at, end = finality.standing(start, start + window.size), start + window.size
        complete = at.final_share == 1 or (complete_before is not None and end <= complete_before)
        rows.append((start, at.status, at.revision, at.final_share, at.unchecked, complete))
    statuses = pl.DataFrame(rows, schema={"window_start": _TIME, **STANDING}, orient="row")
    return windows.join(statuses, on="window_start", how="left", maintain_order="left")


STANDING: dict[str, pl.DataType] = {
    "status": pl.String(),
    "revision": pl.Int64(),
    "final_share": pl.Float64(),
    "unchecked": pl.Boolean(),
    "complete": pl.Boolean(),
}
WINDOW: dict[str, pl.DataType] = {"window_start": _TIME, "window_end": _TIME, **STANDING}
"""What answers have of a window beside its dimensions and figures."""


def errors_of(contract: Contract, windows: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """By figure that is an estimate, its largest error in any of these windows."""
    return {
        f"{m.name}_{part}": sketch.explained(_most(windows[f"{m.name}_{sketch.error}"]))
        for m, _, sketch in sketched(contract.rollup.measured)
        for part in sketch.parts
    }


def _most(errors: pl.Series) -> float:
    return max(errors.drop_nulls(), default=0.0)


def _spread(minutes: pl.DataFrame, window: Window) -> pl.DataFrame:
    """Each minute once for every window it is part of."""
    hop = f"{window.hop // MINUTE}m"
    last = pl.col("minute").dt.truncate(hop)
    starts = [last - i * window.hop for i in range(window.starts_per_minute)]
    return minutes.with_columns(pl.concat_list(starts).alias("window_start")).explode("window_start")


def merge_tops(dumped: Iterable[bytes], limit: int) -> Top:
    merged = sketches.merge_frequent(map(sketches.load_frequent, dumped))
    return Top(sketches.ranked(merged, limit), merged.num_active_items, sketches.frequent_error(merged))


def read_minutes(
    connection: Connection, contract: Contract, start: datetime, end: datetime, final: Iterable[datetime]
) -> pl.DataFrame:
    """The stored rows of the minutes from `start` up to, not including, `end`: of the hours `final` as the batch layer
    has them, of the others as the worker has them. What was late is among the former's `count`.
    """
    schema: dict[str, pl.DataType] = {"minute": _TIME}
    schema |= dict.fromkeys(contract.dimension_names, pl.String())
    schema |= dict.fromkeys(COUNTERS, pl.Int64())
    schema |= {c.name: c.polars for c in contract.rollup.columns}
    batch: dict[str, sql.Composable] = {"minute": sql.Identifier("window_start"), "late": sql.SQL("0::bigint")}
    layer = sql.SQL(
        "SELECT {columns} FROM {table} WHERE {time} >= %(start)s AND {time} < %(end)s"
        " AND (date_trunc('hour', {time}, 'UTC') = ANY(%(final)s)) = {final}"
    )
    query = sql.SQL(" UNION ALL ").join(
        layer.format(
            columns=sql.SQL(", ").join(named.get(c, sql.Identifier(c)) for c in schema),
            table=sql.Identifier(table),
            time=named.get("minute", sql.Identifier("minute")),
            final=final_rows,
        )
        for table, named, final_rows in (
            (contract.minutes_table, {}, False),
            (rollups_table(contract, "1m"), batch, True),
        )
    )
    with connection.cursor(binary=True) as cursor:
        rows = cursor.execute(query, {"start": start, "end": end, "final": list(final)}).fetchall()
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


def read_windows(
    connection: Connection,
    contract: Contract,
    window: Window,
    start: datetime,
    end: datetime,
    group_by: Sequence[str] = (),
) -> pl.DataFrame:
    """The windows that start from `start` up to, not including, `end`, each whole, with how far it can be relied on."""
    known = read_watermark(connection, contract.topic)
    complete_before = None if known is None else known - timedelta(milliseconds=contract.lateness_ms)
    finality = read_finality(connection, contract, start, end + window.size, known)
    minutes = read_minutes(connection, contract, start, end + window.size, finality.final)
    merged = merge_minutes(minutes, contract, window, group_by)
    begins = pl.col("window_start")
    shown = merged.filter(begins >= pl.lit(start, dtype=_TIME), begins < pl.lit(end, dtype=_TIME))
    return with_status(shown, window, finality, complete_before)
