"""Values in any parts, compiled or by the library, give the sketch that the library makes of all of them at once."""

import math
from collections import Counter
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.rollup import sketch_columns as native
from streamgauge.rollup import sketches
from streamgauge.rollup.groups import Grouped, code_texts, group_rows
from streamgauge.rollup.sketch_columns import SketchColumn
from streaming.worker.accumulate import add_distinct, add_frequent, add_quantiles, coupons

EXACT_KEYS = 40
texts = st.one_of(st.integers(0, 900).map("user-{}".format), st.text(max_size=40))
numbers = st.floats(allow_nan=False, allow_infinity=False)
parts_of_texts = st.lists(st.lists(texts, max_size=300), min_size=1, max_size=5)
parts_of_numbers = st.lists(st.lists(numbers, max_size=120), min_size=1, max_size=4)


def in_rows(parts: list[list[Any]]) -> Grouped:
    """Each part's values belong to a row, and stand among those of the others as they were dealt."""
    rows = np.array([row for row, part in enumerate(parts) for _ in part], np.int32)
    return group_rows(rows, len(parts), np.ones(len(rows), np.uint8), 1)


def held(stored: bytes | None) -> dict[int, bytes]:
    return {} if stored is None else {0: stored}


def only(built: SketchColumn) -> bytes | None:
    (data,) = built.parts(slice(0, len(built.ends)))
    return data


def distinct(stored: bytes | None, part: list[str]) -> bytes | None:
    return only(add_distinct(held(stored), coupons(pl.Series(part, dtype=pl.String)), in_rows([part]))) or stored


def quantiles(stored: bytes | None, part: list[float]) -> bytes | None:
    return only(add_quantiles(held(stored), np.array(part, np.float64), in_rows([part]))) or stored


def frequent(stored: bytes | None, part: list[str]) -> bytes | None:
    keys = code_texts(pl.Series(part, dtype=pl.String))
    return only(add_frequent(held(stored), keys, in_rows([part]), EXACT_KEYS)) or stored


def hll_of(values: list[str]) -> sketches.Hll:
    sketch = sketches.new_hll()
    for value in values:
        sketch.update(value)
    return sketch


def kll_of(values: list[float]) -> sketches.Kll:
    sketch = sketches.new_kll()
    sketch.update(np.array(values))
    return sketch


def frequent_of(values: list[str]) -> sketches.Frequent:
    sketch = sketches.new_frequent(EXACT_KEYS)
    for value in values:
        sketch.update(value)
    return sketch


@given(parts_of_texts, st.booleans())
def test_distinct_texts(parts: list[list[str]], begun_by_library: bool) -> None:
    first, *rest = parts
    stored = sketches.dump_hll(hll_of(first)) if begun_by_library else distinct(None, first)
    for part in rest:
        stored = distinct(stored, part)
    whole = hll_of([v for part in parts for v in part])
    if stored is None:
        assert whole.is_empty()
        return
    built = sketches.load_hll(stored)
    if len({v for part in parts for v in part if v}) <= native.EXACT_COUPONS:
        assert built.get_estimate() == whole.get_estimate()
        assert len(stored) == len(sketches.dump_hll(whole))
    else:
        # registers are the same whatever the order; the library estimates a union's by another way
        united = sketches.merge_hll([whole, sketches.new_hll()])
        assert built.get_estimate() == pytest.approx(united.get_estimate(), rel=1e-9)


@given(parts_of_numbers, st.booleans())
def test_quantiles(parts: list[list[float]], begun_by_library: bool) -> None:
    first, *rest = parts
    stored = sketches.dump_kll(kll_of(first)) if begun_by_library else quantiles(None, [*first, float("nan")])
    for part in rest:
        stored = quantiles(stored, part)
    values = [v for part in parts for v in part]
    if stored is None:
        assert not values
        return
    built = sketches.load_kll(stored)
    assert built.n == len(values)
    if values:
        assert built.get_quantiles([0.0, 1.0]) == [min(values), max(values)]
    if 0 < len(values) <= sketches.KLL_K:
        ranks = [i / 10 for i in range(11)]
        assert built.get_quantiles(ranks) == kll_of(values).get_quantiles(ranks)


@given(st.lists(st.lists(st.integers(0, 70).map(str) | texts, max_size=60), min_size=1, max_size=5), st.booleans())
def test_frequent_keys(parts: list[list[str]], begun_by_library: bool) -> None:
    first, *rest = parts
    stored = sketches.dump_frequent(frequent_of(first)) if begun_by_library else frequent(None, first)
    for part in rest:
        stored = frequent(stored, part)
    counts = Counter(v for part in parts for v in part)
    if stored is None:
        assert not counts
        return
    built = sketches.load_frequent(stored)
    assert built.total_weight == counts.total()
    if len(counts) <= EXACT_KEYS:
        assert {r.key: (r.count, r.lower, r.upper) for r in sketches.ranked(built)} == {
            key: (n, n, n) for key, n in counts.items()
        }
    for r in sketches.ranked(built):
        assert r.lower <= counts[r.key] <= r.upper


def test_rows_do_not_mix() -> None:
    users = [[f"a{i}" for i in range(n)] for n in (0, 1, 500, 3, 0, 20)]
    flat = pl.Series([u for part in users for u in part], dtype=pl.String)
    built = add_distinct({}, coupons(flat), in_rows(users))
    found = [0 if data is None else sketches.load_hll(data).get_estimate() for data in built.parts(slice(0, 6))]
    assert found == pytest.approx([0, 1, 500, 3, 0, 20], rel=0.05)
    assert built.series("users").to_list() == built.parts(slice(0, 6))
    assert built.parts(slice(2, 4)) == built.parts(slice(0, 6))[2:4]

    values = [[float(i) for i in range(n)] for n in (3, 0, 900, 1)]
    klls = add_quantiles({}, np.concatenate(values), in_rows(values)).parts(slice(0, 4))
    assert [None if data is None else sketches.load_kll(data).n for data in klls] == [3, None, 900, 1]

    twice = [[*part, *part] for part in users]
    keys = code_texts(pl.Series([u for part in twice for u in part], dtype=pl.String))
    tops = add_frequent({}, keys, in_rows(twice), EXACT_KEYS).parts(slice(0, 6))
    loaded = [None if data is None else sketches.load_frequent(data).total_weight for data in tops]
    assert loaded == [None, 2, 1000, 6, None, 40]


def test_nothing_new_changes_nothing() -> None:
    stored = distinct(None, ["ann", "bob"])
    again = coupons(pl.Series(["bob", "", None, "ann"], dtype=pl.String))
    assert only(add_distinct(held(stored), again, in_rows([[*again]]))) is None
    stored = quantiles(None, [1.0])
    assert only(add_quantiles(held(stored), np.array([math.nan]), in_rows([[math.nan]]))) is None
    stored = frequent(None, ["ann"])
    nulls = code_texts(pl.Series([None, None], dtype=pl.String))
    assert only(add_frequent(held(stored), nulls, in_rows([[None, None]]), EXACT_KEYS)) is None


def test_texts_are_found_wherever_polars_keeps_them() -> None:
    values = ["short", None, "longer than a view holds within itself", "", "s" * 12, "s" * 13, "end"]
    chunks = pl.concat([pl.Series(values), pl.Series(values[::-1])], rechunk=False)
    expected = coupons(pl.Series(values, dtype=pl.String)).tolist()
    assert expected[1] == expected[3] == 0 and 0 not in (expected[0], *expected[4:])
    assert coupons(chunks).tolist() == expected + expected[::-1]
    assert coupons(chunks[1:9]).tolist() == (expected + expected[::-1])[1:9]
    assert (
        coupons(chunks.filter(chunks.is_not_null())[2:]).tolist()
        == [c for c, v in zip(expected + expected[::-1], values + values[::-1], strict=True) if v is not None][2:]
    )


@given(st.data())
def test_damaged_bytes_are_left_to_the_library(data: st.DataObject) -> None:
    """And never read past their end: whatever the compiled functions say, they say it."""
    built = [distinct(None, [str(i) for i in range(20)]), quantiles(None, [1.0, 2.0]), frequent(None, ["a", "bcd"])]
    kind = data.draw(st.integers(0, 2))
    whole = built[kind]
    assert whole is not None
    damaged = bytearray(whole[: data.draw(st.integers(1, len(whole)))])
    for at, byte in data.draw(
        st.dictionaries(st.integers(0, len(damaged) - 1), st.integers(0, 255), max_size=4)
    ).items():
        damaged[at] = byte
    stored, one = {0: bytes(damaged)}, in_rows([[1]])
    if kind == 0:
        found = native.add_coupons(stored, np.array([1 << 26], np.uint32), one)
    elif kind == 1:
        found = native.add_values(stored, np.array([1.0]), one)
    else:
        found = native.add_keys(stored, code_texts(pl.Series(["x"])), one, 6)
    sketch = found.column.data
    assert found.exceeding == [0] if len(damaged) != len(whole) else found.exceeding in ([], [0])
    assert len(sketch) <= len(damaged) + 52
