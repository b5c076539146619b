"""The contract as pandera schema and as the worker's rules: written apart, they must give the same verdict."""

import math
from datetime import UTC, datetime
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandera.config import ValidationDepth, config_context

from quality.schemas import schema_of, violations_of
from streamgauge.contract.columns import POLARS_TYPES
from streamgauge.contract.load import load_contracts
from streamgauge.contract.model import Contract, FieldSpec
from streamgauge.contract.rules import violations
from streamgauge.contract.times import EARLIEST_MS, LATEST_MS
from streamgauge.settings import CHECKOUT
from streaming.load.values import breakers
from tests.examples import examples

CONTRACTS = {c.stream: c for c in load_contracts(CHECKOUT / "platform" / "contracts")}
INT_RANGES = {"int": (-(2**31), 2**31 - 1), "long": (-(2**63), 2**63 - 1), "timestamp-millis": (-(2**63), 2**63 - 1)}


def frame_schema(contract: Contract) -> dict[str, Any]:
    return {f.name: POLARS_TYPES[f.type] for f in contract.fields}


def by_worker(contract: Contract, frame: pl.DataFrame) -> set[tuple[str, int]]:
    rules = violations(contract)
    flags = frame.select(r.expr.alias(r.name) for r in rules)
    return {(r.name, row) for r in rules for row, broken in enumerate(flags[r.name]) if broken}


def by_pandera(contract: Contract, frame: pl.DataFrame) -> set[tuple[str, int]]:
    found: set[tuple[str, int]] = set()
    for violation in violations_of(_pandera_schema(contract.stream), frame):
        assert violation.rows is not None, violation.rule
        assert violation.failing == violation.rows.sum()
        found |= {(violation.rule, row) for row, broken in enumerate(violation.rows) if broken}
    return found


@cache
def _pandera_schema(stream: str) -> Any:
    return schema_of(CONTRACTS[stream])


def values(f: FieldSpec) -> st.SearchStrategy[Any]:
    """Around the rules' edges, and anywhere."""
    if f.is_map:
        entry = st.fixed_dictionaries({"key": st.text(max_size=3), "value": st.text(max_size=3)})
        return st.none() | st.lists(entry, max_size=2)
    if f.type == "boolean":
        return st.none() | st.booleans()
    range_ends = (EARLIEST_MS, LATEST_MS) if f.type == "timestamp-millis" else ()
    edges = [b + d for b in (f.minimum, f.maximum, *range_ends) if b is not None for d in (-1, 0, 1)]
    if f.type == "double":
        return st.none() | st.floats() | st.sampled_from([*map(float, edges), math.nan, math.inf])
    if f.type in INT_RANGES:
        numbers = st.integers(*INT_RANGES[f.type])
        return st.none() | (st.sampled_from([int(e) for e in edges]) | numbers if edges else numbers)
    lengths = [n + d for n in (f.min_length, f.max_length) if n is not None for d in (-1, 0, 1) if n + d >= 0]
    texts = [c * n for n in lengths for c in ("a", "é", "🙂", "A")]
    return st.none() | st.text(max_size=8) | st.sampled_from([*f.allowed, *texts, "Push", "Push\n", "a\0b", "\0"])


ROWS = {stream: st.lists(st.tuples(*map(values, c.fields)), max_size=6) for stream, c in CONTRACTS.items()}
"""Made once: hypothesis looks at a new strategy for longer than it draws from it."""


def frame_of(contract: Contract, rows: list[tuple[Any, ...]]) -> pl.DataFrame:
    columns: list[pl.Series] = []
    for i, f in enumerate(contract.fields):
        dtype = pl.Int64 if f.type == "timestamp-millis" else POLARS_TYPES[f.type]
        columns.append(pl.Series(f.name, [row[i] for row in rows], dtype).cast(POLARS_TYPES[f.type]))
    return pl.DataFrame(columns)


@pytest.mark.parametrize("stream", CONTRACTS)
@examples(60)
@given(data=st.data())
def test_both_give_the_same_verdict(stream: str, data: st.DataObject) -> None:
    frame = frame_of(CONTRACTS[stream], data.draw(ROWS[stream]))
    assert by_pandera(CONTRACTS[stream], frame) == by_worker(CONTRACTS[stream], frame)


@pytest.mark.parametrize("stream", CONTRACTS)
def test_every_rule_can_be_broken_and_is_seen_by_both(stream: str) -> None:
    """So that the test above is not one over values that all pass."""
    contract = CONTRACTS[stream]
    nothing = pl.DataFrame({f.name: [None] for f in contract.fields}, schema=frame_schema(contract))
    seen = by_pandera(contract, nothing)
    assert seen == by_worker(contract, nothing)
    for breaker in breakers(contract):
        broken = breaker.apply(nothing, np.array([0]))
        found = by_pandera(contract, broken)
        assert found == by_worker(contract, broken)
        seen |= found
    texts = [f.name for f in contract.fields if f.type == "string"]
    for name in texts:
        seen |= by_pandera(contract, nothing.with_columns(pl.lit("a\0b").alias(name)))
    for name in (f.name for f in contract.fields if f.type == "timestamp-millis"):
        seen |= by_pandera(contract, nothing.with_columns(pl.lit(2**62).cast(pl.Datetime("ms", "UTC")).alias(name)))
    for rule in contract.together:
        first = rule.fields[0]
        seen |= by_pandera(contract, nothing.with_columns(pl.lit("GET", frame_schema(contract)[first]).alias(first)))
    assert {rule for rule, _ in seen} == {r.name for r in violations(contract)}


@pytest.mark.parametrize("off", [{"validation_enabled": False}, {"validation_depth": ValidationDepth.SCHEMA_ONLY}])
def test_the_rows_are_looked_at_whatever_pandera_is_set_to(off: dict[str, Any]) -> None:
    contract = CONTRACTS["metric_events"]
    bad = pl.DataFrame({f.name: [None] for f in contract.fields}, schema=frame_schema(contract))
    with config_context(**off):
        assert violations_of(schema_of(contract), bad)


def test_other_types_and_missing_columns_are_named() -> None:
    contract = CONTRACTS["metric_events"]
    good: dict[str, list[Any]] = {
        "event_id": ["a"],
        "timestamp": [datetime(2026, 1, 1, tzinfo=UTC)],
        "metric": ["cpu"],
        "value": [1.0],
        "unit": ["1"],
        "tags": [[]],
        "schema_version": [1],
    }
    frame = pl.DataFrame(good, schema=frame_schema(contract))
    assert violations_of(schema_of(contract), frame) == []
    retyped = violations_of(schema_of(contract), frame.with_columns(pl.col("value").cast(pl.String)))
    assert "value: not of the contract's type" in {v.rule for v in retyped}
    assert {v.rule for v in violations_of(schema_of(contract), frame.drop("unit"))} == {"unit: no such column"}
