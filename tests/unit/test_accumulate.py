"""Values in any parts, compiled or by the library, give the sketch that the library makes of all of them at once."""

from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamgauge import sketches
from streamgauge.accumulate import add_distinct, add_frequent, add_quantiles, coupons
from streamgauge.native import sketches as native

EXACT_KEYS = 40
texts = st.one_of(st.integers(0, 900).map("user-{}".format), st.text(max_size=40))
numbers = st.floats(allow_nan=False, allow_infinity=False)
parts_of_texts = st.lists(st.lists(texts, max_size=300), min_size=1, max_size=5)
parts_of_numbers = st.lists(st.lists(numbers, max_size=120), min_size=1, max_size=4)


def distinct(stored: bytes | None, part: list[str]) -> bytes | None:
    taken = coupons(pl.Series(part, dtype=pl.String)).tolist()
    (made,) = add_distinct([stored], pl.Series([taken], dtype=pl.List(pl.UInt32)))
    return made or stored


def quantiles(stored: bytes | None, part: list[float]) -> bytes | None:
    (made,) = add_quantiles([stored], pl.Series([part], dtype=pl.List(pl.Float64)))
    return made or stored


def frequent(stored: bytes | None, part: list[str]) -> bytes | None:
    counts = Counter(part)
    keys = pl.Series([list(counts)], dtype=pl.List(pl.String))
    (made,) = add_frequent([stored], keys, pl.Series([list(counts.values())], dtype=pl.List(pl.UInt32)), EXACT_KEYS)
    return made or stored


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


@settings(deadline=None)
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
    made = sketches.load_hll(stored)
    if len({v for part in parts for v in part if v}) <= native.EXACT_COUPONS:
        assert made.get_estimate() == whole.get_estimate()
        assert len(stored) == len(sketches.dump_hll(whole))
    else:
        # registers are the same whatever the order; the library estimates a union's by another way
        united = sketches.merge_hll([whole, sketches.new_hll()])
        assert made.get_estimate() == pytest.approx(united.get_estimate(), rel=1e-9)


@settings(deadline=None)
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
    made = sketches.load_kll(stored)
    assert made.n == len(values)
    if values:
        assert made.get_quantiles([0.0, 1.0]) == [min(values), max(values)]
    if 0 < len(values) <= sketches.KLL_K:
        ranks = [i / 10 for i in range(11)]
        assert made.get_quantiles(ranks) == kll_of(values).get_quantiles(ranks)


@settings(deadline=None)
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
    made = sketches.load_frequent(stored)
    assert made.total_weight == counts.total()
    if len(counts) <= EXACT_KEYS:
        assert {r.key: (r.count, r.lower, r.upper) for r in sketches.ranked(made)} == {
            key: (n, n, n) for key, n in counts.items()
        }
    for r in sketches.ranked(made):
        assert r.lower <= counts[r.key] <= r.upper


def test_rows_do_not_mix() -> None:
    users = [[f"a{i}" for i in range(n)] for n in (0, 1, 500, 3, 0, 20)]
    taken = [coupons(pl.Series(u, dtype=pl.String)).tolist() for u in users]
    made = add_distinct([None] * len(users), pl.Series(taken, dtype=pl.List(pl.UInt32)))
    found = [0 if data is None else sketches.load_hll(data).get_estimate() for data in made]
    assert found == pytest.approx([0, 1, 500, 3, 0, 20], rel=0.05)

    values = [[float(i) for i in range(n)] for n in (3, 0, 900, 1)]
    klls = add_quantiles([None] * len(values), pl.Series(values, dtype=pl.List(pl.Float64)))
    assert [None if data is None else sketches.load_kll(data).n for data in klls] == [3, None, 900, 1]

    weights = pl.Series([[2] * len(u) for u in users], dtype=pl.List(pl.UInt32))
    tops = add_frequent([None] * len(users), pl.Series(users, dtype=pl.List(pl.String)), weights, EXACT_KEYS)
    loaded = [None if data is None else sketches.load_frequent(data).total_weight for data in tops]
    assert loaded == [None, 2, 1000, 6, None, 40]


def test_nothing_new_changes_nothing() -> None:
    stored = distinct(None, ["ann", "bob"])
    again = coupons(pl.Series(["bob", "", None, "ann"], dtype=pl.String)).tolist()
    assert add_distinct([stored], pl.Series([again], dtype=pl.List(pl.UInt32))) == [None]
    stored = quantiles(None, [1.0])
    assert add_quantiles([stored], pl.Series([[float("nan")]], dtype=pl.List(pl.Float64))) == [None]


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


@settings(deadline=None)
@given(st.data())
def test_damaged_bytes_are_left_to_the_library(data: st.DataObject) -> None:
    """And never read past their end: whatever the compiled functions say, they say it."""
    made = [distinct(None, [str(i) for i in range(20)]), quantiles(None, [1.0, 2.0]), frequent(None, ["a", "bcd"])]
    kind = data.draw(st.integers(0, 2))
    whole = made[kind]
    assert whole is not None
    damaged = bytearray(whole[: data.draw(st.integers(1, len(whole)))])
    for at, byte in data.draw(
        st.dictionaries(st.integers(0, len(damaged) - 1), st.integers(0, 255), max_size=4)
    ).items():
        damaged[at] = byte
    stored, ends = [bytes(damaged)], np.array([1])
    if kind == 0:
        found = native.add_coupons(stored, np.array([1 << 26], np.uint32), ends)
    elif kind == 1:
        found = native.add_values(stored, np.array([1.0]), ends)
    else:
        found = native.add_keys(stored, pl.Series(["x"]), np.array([1], np.uint32), ends, 6)
    (sketch,) = found.sketches
    assert found.beyond == [0] if len(damaged) != len(whole) else found.beyond in ([], [0])
    assert sketch is None or len(sketch) <= len(damaged) + 52
