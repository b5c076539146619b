"""Rebuilt rows against the oracle: what was late is counted, and nothing else changes."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from assets.dims.history import History
from assets.rebuild.books import Moved, moved
from assets.rebuild.contributions import contributions, duplicates
from assets.rebuild.records import schema
from streamgauge.rollup import sketches
from streamgauge.rollup.pseudonyms import Pseudonyms
from tests.examples import examples
from tests.oracle import SECRET, Expected, LogRecord, Minute, play
from tests.unit.test_pipeline import CONTRACT, REFERENCE, SCHEMA, SCHEMA_ID, T0, encode

START = datetime.fromtimestamp(T0 / 1000, UTC)
END = START + timedelta(minutes=8)
KNOWN = History.of(
    CONTRACT.reference,  # pyright: ignore[reportArgumentType]
    pl.DataFrame([{"key": k, **row, "valid_from": START - timedelta(days=1)} for k, row in REFERENCE.items()]),
)

logs = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 420), st.sampled_from(["u1", "u2", "u3"]), st.integers(0, 5)),
    max_size=60,
)
"""Event id, second, user and size."""

Log = list[tuple[int, int, str, int]]


def by_id(log: Log) -> Log:
    """Sent again, an event is the same: what comes later under its id gets its content."""
    first: dict[int, tuple[int, int, str, int]] = {}
    return [first.setdefault(row[0], row) for row in log]


def records(log: Log) -> pl.DataFrame:
    rows: list[dict[str, Any]] = [
        {
            "event_id": f"id{number}",
            "user_id": user,
            "event_type": "Push",
            "timestamp": T0 + second * 1000,
            "properties": [{"key": "size", "value": str(size)}],
            "metadata": [],
            "schema_version": 1,
            "partition": 0,
            "offset": offset,
            "ingest_time": T0 + 500_000 + offset,
        }
        for offset, (number, second, user, size) in enumerate(log)
    ]
    return pl.DataFrame(rows, schema=schema(CONTRACT))


def all_counted(log: Log) -> Expected:
    """What the worker tells of a log in which nothing is late and no id is ever forgotten."""
    time = CONTRACT.time.model_copy(update={"allowedLatenessSeconds": 10**6, "duplicateHorizonSeconds": 10**6})
    played = [
        LogRecord(0, offset, encode(f"id{number}", second, user, "Push", str(size)), T0 + 500_000)
        for offset, (number, second, user, size) in enumerate(log)
    ]
    return play(replace(CONTRACT, time=time), played, {SCHEMA_ID: SCHEMA}, REFERENCE)


@examples(100)
@given(logs)
def test_every_distinct_event_is_counted(log: Log) -> None:
    log = by_id(log)
    expected = all_counted(log)
    built = contributions(CONTRACT, Pseudonyms(SECRET, CONTRACT.stream), records(log), START, END, KNOWN)
    found = {
        (row["minute"], tuple(row[d] for d in CONTRACT.dimension_names), row["partition"]): row
        for row in built.minutes.iter_rows(named=True)
    }
    assert found.keys() == expected.minutes.keys()
    for key, row in found.items():
        _compare(row, expected.minutes[key])
    tops = {
        (minute, top, partition): {r.key: r.count for r in sketches.ranked(sketches.load_frequent(data))}
        for minute, partition, top, data in built.tops.iter_rows()
    }
    assert tops == {key: dict(counts) for key, counts in expected.tops.items()}


def _compare(row: dict[str, Any], minute: Minute) -> None:
    assert (row["count"], row["late"], row["duplicates"]) == (minute.count, 0, minute.duplicates)
    values = minute.values.get("commits", [])
    assert (row["commits_n"], row["commits_sum"]) == (len(values), sum(values))
    assert (row["commits_min"], row["commits_max"]) == (min(values, default=None), max(values, default=None))
    assert (row["commits_last"], row["commits_last_ms"]) == minute.last("commits")
    assert (row["commits_kll"] is None) == (not values)
    if values:
        assert sketches.load_kll(row["commits_kll"]).n == len(values)
    users = minute.distinct.get("users", set())
    assert (row["users_hll"] is None) == (not users)
    if users:
        assert round(sketches.load_hll(row["users_hll"]).get_estimate()) == len(users)


def test_only_the_minutes_asked_for_are_made_of_what_is_around_them() -> None:
    log = [(1, 10, "u1", 1), (2, 70, "u1", 1), (1, 70, "u1", 1), (3, 130, "u1", 1)]
    first = START + timedelta(minutes=1)
    built = contributions(
        CONTRACT, Pseudonyms(SECRET, CONTRACT.stream), records(log), first, first + timedelta(minutes=1), KNOWN
    )
    assert built.minutes.select("minute", "count", "duplicates").rows() == [(T0 + 60_000, 1, 1)]


def test_an_id_is_a_duplicate_within_the_horizon_of_its_event_time() -> None:
    horizon = CONTRACT.time.duplicateHorizonSeconds
    log = [(1, 0, "u1", 1), (1, horizon, "u1", 1), (1, 2 * horizon + 1, "u1", 1), (1, 0, "u1", 1), (2, 5, "u1", 1)]
    assert sorted(duplicates(CONTRACT, records(log))) == [1, 3]


Row = tuple[int, str, str, int, int, int]


def _rows(*rows: Row) -> pl.DataFrame:
    names = ["minute", "event_type", "actor_kind", "count", "late", "duplicates"]
    return pl.DataFrame(rows, schema=names, orient="row").with_columns(pl.lit("~a").alias("person"))


def test_the_books_move_by_what_was_late() -> None:
    before = _rows((0, "Push", "bot", 5, 2, 1), (60, "Push", "bot", 1, 0, 0), (60, "Fork", "bot", 0, 1, 0))
    after = _rows((0, "Push", "bot", 7, 0, 1), (60, "Push", "bot", 1, 0, 0), (60, "Fork", "bot", 0, 0, 1))
    assert moved(CONTRACT, before, after) == Moved(counted=2, late=-3, duplicates=1, repaired=0)


def test_damaged_rows_leave_the_books_alone() -> None:
    """The counters never knew of the damage: they move by late events only, and their sum stays."""
    sound = _rows((0, "Push", "bot", 7, 0, 1))
    for damaged in (
        _rows((0, "Push", "bot", 1005, 2, 1)),
        _rows((0, "Push", "bot", 5, 2, 1001)),
        _rows((0, "Push", "other", 5, 2, 1)),
    ):
        change = moved(CONTRACT, damaged, sound)
        assert change.counted + change.late + change.duplicates == 0
        assert (change.late, change.duplicates) in ((-2, 0), (0, 0))
        assert change.repaired > 0
    assert moved(CONTRACT, _rows((0, "Push", "bot", 5, 999, 1)), sound).late == -7
