"""The batch layer's tables against the oracle's answer."""

import math
from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any

import polars as pl

from assets.dims.store import dimension_table
from assets.rollups.roll import Windows
from streamgauge.contract.model import Contract
from streamgauge.rollup import sketches
from streamgauge.stores.fact_tables import duplicates_table, facts_table, quarantine_table
from streamgauge.stores.lake import contract_columns
from tests.batch_oracle import Batch, Position, Rollups
from tests.oracle import Minute

_HLL_ERROR = 0.07
"""Four standard errors."""
_KLL_ERROR = 0.0165
"""Rank error of a sketch with k = 200, at 99 % confidence, with the margin of two merges."""

_REASONS = {"future": "future", "before the batch layer's first day": "old"}


def assert_facts(root: str, contract: Contract, expected: Batch) -> None:
    """Each record is in exactly one table and under its hour; every fact has its columns, and its star too."""
    facts = facts_table(root, contract).read()
    found = {_position(row): row for row in facts.iter_rows(named=True)}
    assert len(found) == facts.height
    differ = found.keys() ^ expected.facts.keys()
    assert not differ, {p: (p in found, p in expected.duplicates, _hour_key(expected.hours[p])) for p in differ}
    for position, row in found.items():
        wanted = expected.facts[position]
        assert row["event_hour"] == _hour_key(expected.hours[position])
        for name in (c for c in wanted if c != "star"):
            assert _plain(contract, name, row[name]) == wanted[name], name
    _assert_star(root, contract, facts, expected)
    duplicates = duplicates_table(root, contract).read()
    assert sorted(map(_position, duplicates.iter_rows(named=True))) == sorted(expected.duplicates)
    _assert_quarantine(root, contract, expected)


def _assert_star(root: str, contract: Contract, facts: pl.DataFrame, expected: Batch) -> None:
    for d in contract.star:
        attributes = contract.attributes(d)
        members = dimension_table(root, d.name, attributes).read()
        key = f"{d.name}_key"
        assert members[key].is_unique().all()
        joined = facts.join(members, on=key, how="left", suffix="_of_member")
        for row in joined.iter_rows(named=True):
            wanted = expected.facts[_position(row)]
            member = d.name if d.name not in facts.columns else f"{d.name}_of_member"
            assert row[member] == wanted["star"][d.name]
            for attribute in attributes:
                assert row[f"{attribute}_of_member"] == wanted[attribute]
            if attributes:
                assert row["valid_from"] is None or row["valid_from"] <= row["ingest_time"]
                assert row["valid_to"] is None or row["ingest_time"] < row["valid_to"]
    days = dimension_table(root, "date").read()
    hours = dimension_table(root, "hour").read()
    at = pl.col(contract.event_time)
    calendar = facts.join(days, on="date_key").join(hours, on="hour_key", suffix="_of_day")
    assert calendar.height == facts.height
    assert calendar.select((at.dt.date() == pl.col("date")).all()).item()
    assert calendar.select((at.dt.strftime("%H:00") == pl.col("hour")).all()).item()


def _assert_quarantine(root: str, contract: Contract, expected: Batch) -> None:
    found: dict[Position, str] = {}
    for row in quarantine_table(root, contract).read().iter_rows(named=True):
        position, rule = _position(row), row["rule"]
        known = row["record"] is not None or rule.startswith("empty")
        found[position] = rule.partition(":")[0] if known else _REASONS.get(rule, "contract")
        assert row["event_hour"] == _hour_key(expected.hours[position]), rule
    assert found == expected.quarantine


def assert_rollups(contract: Contract, windows: Windows, expected: Rollups) -> None:
    columns = windows.rows.iter_rows(named=True)
    found = {(_ms(row["window_start"]), tuple(row[d] for d in contract.dimension_names)): row for row in columns}
    assert len(found) == windows.rows.height
    assert found.keys() == expected.rows.keys()
    for key, row in found.items():
        _assert_row(contract, row, expected.rows[key])
    tops: dict[tuple[int, str], dict[str, int]] = {}
    for start, top, dumped in windows.tops.iter_rows():
        sketch = sketches.load_frequent(dumped)
        assert sketches.frequent_error(sketch) == 0
        tops[_ms(start), top] = {r.key: r.count for r in sketches.ranked(sketch)}
    assert tops == {key: dict(counts) for key, counts in expected.tops.items()}


def _assert_row(contract: Contract, row: dict[str, Any], wanted: Minute) -> None:
    assert (row["count"], row["duplicates"]) == (wanted.count, wanted.duplicates)
    for m in contract.rollup.measures:
        values = wanted.values.get(m.name, [])
        assert row[f"{m.name}_n"] == len(values)
        assert math.isclose(row[f"{m.name}_sum"], math.fsum(values), rel_tol=1e-9, abs_tol=1e-9)
        assert (row[f"{m.name}_min"], row[f"{m.name}_max"]) == (min(values, default=None), max(values, default=None))
        if m.last:
            assert (row[f"{m.name}_last"], row[f"{m.name}_last_ms"]) == wanted.last(m.name)
        if m.quantiles:
            _assert_quantiles(row[f"{m.name}_kll"], values)
    for d in contract.rollup.distinct:
        members = wanted.distinct.get(d.name, set())
        dumped = row[f"{d.name}_hll"]
        estimate = 0.0 if dumped is None else sketches.load_hll(dumped).get_estimate()
        assert abs(estimate - len(members)) <= max(0.5, _HLL_ERROR * len(members))


def _assert_quantiles(dumped: bytes | None, values: list[float]) -> None:
    if not values:
        assert dumped is None
        return
    sketch = sketches.load_kll(dumped or b"")
    assert sketch.n == len(values)
    for rank, value in zip((0.5, 0.95, 0.99), sketch.get_quantiles([0.5, 0.95, 0.99], True), strict=True):
        below, upto = (sum(compare(v) for v in values) / len(values) for compare in _around(value))
        assert below - _KLL_ERROR <= rank <= upto + _KLL_ERROR


def _around(value: float) -> tuple[Callable[[float], bool], Callable[[float], bool]]:
    return lambda v: v < value, lambda v: v <= value


def _position(row: dict[str, Any]) -> Position:
    return row["partition"], row["offset"]


def _plain(contract: Contract, name: str, value: Any) -> Any:
    """As the oracle has it: times in epoch ms, maps as dicts."""
    if isinstance(value, datetime):
        return _ms(value)
    if name in contract_columns(contract) and contract.field[name].is_map and value is not None:
        return {e["key"]: e["value"] for e in value}
    return value


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


@cache
def _hour_key(ms: int) -> str:
    return pl.Series([ms]).cast(pl.Datetime("ms", "UTC")).dt.strftime("%Y-%m-%d-%H").item()
