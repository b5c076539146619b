"""Lake to facts to rollups, beside the same queries hand-written in DuckDB on the same Parquet files."""

import json
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from bench.report import Row
from streamgauge.contract.load import find_contract, load_contracts
from streamgauge.contract.model import Contract
from streamgauge.dagster.hours import hour_key
from streamgauge.errors import UserError
from streamgauge.settings import CHECKOUT, CONTRACTS
from streamgauge.stores.lake import lake_table

STREAM, USERS, HOURS = "user_events", 10_000, 24
MAX_RATIO, MAX_RSS_MIB = 1.5, 3 * 1024
BEGIN = datetime(2026, 3, 2, tzinfo=UTC)
_REPEAT_EVERY, _BREAK_EVERY = 100, 500
_TYPES = ("PushEvent", "CreateEvent", "WatchEvent", "IssuesEvent", "ForkEvent", "PullRequestEvent", "DeleteEvent")


@dataclass(frozen=True)
class Side:
    seconds: float
    cpu: float
    """Of all its threads, the start of Python included."""
    rss_peak: int
    facts: int
    """As a check that both did the same."""
    count: int


@dataclass(frozen=True)
class Batch:
    events: int
    own: Side
    duckdb: Side

    @property
    def ratio(self) -> float:
        return self.own.seconds / self.duckdb.seconds


def measure(folder: Path, events: int) -> Batch:
    root = folder / "lake"
    contract = find_contract(load_contracts(CONTRACTS), STREAM)
    fill(str(root), contract, events)
    own, other = (_run(side, root) for side in ("own", "duckdb"))
    if (own.facts, own.count) != (other.facts, other.count):
        raise UserError(f"the two sides differ: {own}, {other}", "mend the benchmark: its figures mean nothing")
    return Batch(events, own, other)


def rows(found: Batch) -> list[Row]:
    own, other = found.own, found.duckdb
    peak = own.rss_peak / 2**20
    return [
        Row(f"lake to facts to rollups, {found.events:,} events", f"{own.seconds:.1f} s, {own.cpu:.1f} s of CPU"),
        Row("  the same by hand in DuckDB", f"{other.seconds:.1f} s, {other.cpu:.1f} s of CPU"),
        Row("  its resident memory, peak", f"{other.rss_peak / 2**20:,.0f} MiB"),
        Row("  time / DuckDB's", f"{found.ratio:.2f}", None, f"<= {MAX_RATIO}", found.ratio <= MAX_RATIO),
        Row("  resident memory, peak", f"{peak:,.0f} MiB", None, f"< {MAX_RSS_MIB:,} MiB", peak < MAX_RSS_MIB),
    ]


def fill(root: str, contract: Contract, events: int) -> None:
    """A day of ingest hours with one event in a hundred sent twice and one in five hundred broken."""
    table = lake_table(root, contract)
    each = events // HOURS
    for hour in range(HOURS):
        began = BEGIN + timedelta(hours=hour)
        table.replace([hour_key(began)], _hour(began, hour * each, each).select(list(table.schema)))


def reference() -> pl.DataFrame:
    """Half of the users."""
    users = range(0, USERS, 2)
    return pl.DataFrame(
        {
            "user_id": [f"user_id-{i}" for i in users],
            "kind": ["bot" if i % 10 == 0 else "human" for i in users],
            "organisation": [f"org-{i % 500}" for i in users],
        }
    )


def _hour(began: datetime, first: int, n: int) -> pl.DataFrame:
    rng = np.random.default_rng(first)
    at = int(began.timestamp() * 1000) + np.arange(n) * 3_600_000 // n
    numbers = first + np.arange(n)
    places = np.arange(_REPEAT_EVERY, n, _REPEAT_EVERY)
    numbers[places] = numbers[places - _REPEAT_EVERY // 2]
    times = at.copy()
    times[places] = at[places - _REPEAT_EVERY // 2]
    users = np.minimum((USERS * rng.random(n) ** 3).astype(np.int64), USERS - 1)
    kinds = pl.Series(_TYPES).gather(rng.integers(0, len(_TYPES), n))
    broken = pl.Series(np.arange(n) % _BREAK_EVERY == _BREAK_EVERY // 2)
    sizes = pl.Series(rng.integers(1, 21, n)).cast(pl.String)
    entry = [
        pl.struct(pl.lit(k).alias("key"), v.alias("value"))
        for k, v in (("source", pl.lit("load")), ("size", pl.col("size")))
    ]
    frame = pl.DataFrame({"number": numbers, "user": users, "event_type": kinds, "size": sizes, "broken": broken})
    event_time = pl.Series(times).cast(pl.Datetime("ms", "UTC"))
    return frame.select(
        pl.format("event-{}", "number").alias("event_id"),
        pl.format("user_id-{}", "user").alias("user_id"),
        pl.when("broken").then(pl.lit("no type")).otherwise("event_type").alias("event_type"),
        event_time.alias("timestamp"),
        pl.concat_list(entry).alias("properties"),
        pl.concat_list(entry[:1]).alias("metadata"),
        pl.lit(1, pl.Int32).alias("schema_version"),
        pl.lit(0, pl.Int32).alias("partition"),
        (first + pl.int_range(pl.len())).alias("offset"),
        pl.Series(at + 500).clip(upper_bound=int(at[-1])).cast(pl.Datetime("ms", "UTC")).alias("ingest_time"),
        pl.lit(hour_key(began)).alias("ingest_hour"),
        event_time.dt.truncate("1h").alias("event_hour"),
        pl.lit(None, pl.String).alias("error"),
        pl.lit(None, pl.Binary).alias("record"),
    )


def _run(side: str, root: Path) -> Side:
    """In a process of its own, so that its memory is its own."""
    done = subprocess.run(
        [sys.executable, "-m", f"bench.children.batch_{side}", str(root)],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise UserError(f"the {side} side failed: {done.stderr[-2000:]}", "see the lines above")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return Side(**result)
