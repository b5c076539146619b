"""What Postgres must hold, by the oracle from the topic's own records."""

import math
from collections.abc import Mapping
from typing import Any

from psycopg import sql

from streamgauge.contract.model import Contract
from streamgauge.producer.producer import find_schema_id
from streamgauge.records.avro import avro_schema
from streamgauge.rollup import sketches
from streamgauge.rollup.pseudonyms import pseudonym_secret
from streamgauge.settings import Settings
from streamgauge.stores.postgres import connect
from tests.integration.log import read_log
from tests.oracle import Expected, LogRecord, Minute, Reference, play

_HLL_ERROR = 0.07
"""Four standard errors."""


def expected_of(
    contract: Contract,
    *,
    schemas: Mapping[int, dict[str, Any]] | None = None,
    reference: Reference | None = None,
) -> Expected:
    """The oracle's answer. `schemas` are those beside the contract's own."""
    log = [
        LogRecord(m.partition() or 0, m.offset() or 0, m.value(), m.timestamp()[1])
        for m in read_log(Settings.for_role("worker"), contract)
    ]
    own = find_schema_id(Settings.for_role("producer"), contract)
    secret = pseudonym_secret(Settings.for_role("worker"))
    return play(contract, log, {own: avro_schema(contract), **(schemas or {})}, reference, secret)


def assert_as_expected(contract: Contract, expected: Expected) -> None:
    """Offsets, dead letters, minute rollups and top-N are those of the oracle, partition by partition."""
    _compare_offsets(contract, expected)
    _compare_dead_letters(contract, expected)
    _compare_minutes(contract, expected)
    _compare_tops(contract, expected)


def _rows(query: sql.SQL | sql.Composed, *values: Any) -> list[tuple[Any, ...]]:
    with connect(Settings.for_role("admin")) as connection:
        return connection.execute(query, values).fetchall()


def _compare_offsets(contract: Contract, expected: Expected) -> None:
    stored = _rows(
        sql.SQL(
            "select partition, next_offset, counted, late, duplicates, dead_letters, watermark_ms"
            " from stream_offsets where topic = %s and next_offset > start_offset order by partition"
        ),
        contract.topic,
    )
    assert stored == [
        (p, t.next_offset, t.counted, t.late, t.duplicates, t.dead_letters, t.watermark)
        for p, t in sorted(expected.partitions.items())
    ]


def _compare_dead_letters(contract: Contract, expected: Expected) -> None:
    stored = _rows(sql.SQL('select partition, "offset", reason from dead_letters where topic = %s'), contract.topic)
    passed = ("counted", "late", "duplicate")
    wanted = {position: v for position, v in expected.verdicts.items() if v not in passed}
    assert {(p, o): reason for p, o, reason in stored} == wanted


def _compare_minutes(contract: Contract, expected: Expected) -> None:
    rollup = contract.rollup
    parts = [f"{m.name}_{part}" for m in rollup.measures for part in ("n", "sum", "min", "max")]
    parts += [f"{m.name}_{part}" for m in rollup.measures if m.last for part in ("last", "last_ms")]
    parts += [f"{m.name}_kll" for m in rollup.measures if m.quantiles]
    parts += [f"{d.name}_hll" for d in rollup.distinct]
    columns = ["partition", *contract.dimension_names, "count", "late", "duplicates", *parts]
    stored = _rows(
        sql.SQL("select (extract(epoch from minute) * 1000)::bigint, {} from {}").format(
            sql.SQL(", ").join(map(sql.Identifier, columns)), sql.Identifier(contract.minutes_table)
        )
    )
    width = len(contract.dimension_names)
    found = {
        (row[0], tuple(row[2 : 2 + width]), row[1]): dict(zip(columns[1 + width :], row[2 + width :], strict=True))
        for row in stored
    }
    assert found.keys() == expected.minutes.keys()
    for key, row in found.items():
        _compare_minute(contract, row, expected.minutes[key])


def _compare_minute(contract: Contract, row: dict[str, Any], minute: Minute) -> None:
    assert (row["count"], row["late"], row["duplicates"]) == (minute.count, minute.late, minute.duplicates)
    for m in contract.rollup.measures:
        values = minute.values.get(m.name, [])
        assert row[f"{m.name}_n"] == len(values)
        assert math.isclose(row[f"{m.name}_sum"], math.fsum(values), rel_tol=1e-9, abs_tol=1e-9)
        assert row[f"{m.name}_min"] == min(values, default=None)
        assert row[f"{m.name}_max"] == max(values, default=None)
        if m.last:
            assert (row[f"{m.name}_last"], row[f"{m.name}_last_ms"]) == minute.last(m.name)
        if m.quantiles and values:
            assert sketches.load_kll(row[f"{m.name}_kll"]).n == len(values)
    for d in contract.rollup.distinct:
        members = minute.distinct.get(d.name, set())
        if members:
            estimate = sketches.load_hll(row[f"{d.name}_hll"]).get_estimate()
            assert abs(estimate - len(members)) <= max(0.5, _HLL_ERROR * len(members))


def _compare_tops(contract: Contract, expected: Expected) -> None:
    stored = _rows(
        sql.SQL("select (extract(epoch from minute) * 1000)::bigint, top, partition, sketch from {}").format(
            sql.Identifier(contract.top_table)
        )
    )
    found: dict[tuple[int, str, int], dict[str, int]] = {}
    for minute, top, partition, data in stored:
        sketch = sketches.load_frequent(data)
        assert sketches.frequent_error(sketch) == 0
        found[minute, top, partition] = {r.key: r.count for r in sketches.ranked(sketch)}
    assert found == {key: dict(counts) for key, counts in expected.tops.items()}
