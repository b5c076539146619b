"""Columns as numbers, and rows by group, against plain dicts and lists."""

import math
from collections import defaultdict
from functools import reduce
from operator import add

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.rollup.groups import TextIndex, code_numbers, code_texts, group_rows, measure

texts = st.none() | st.text(max_size=40) | st.integers(0, 30).map("a text longer than a view holds {}".format)


@given(st.lists(texts, max_size=200), st.integers(0, 3))
def test_texts(values: list[str | None], skipped: int) -> None:
    # a slice, so that its first bit isn't the first of a byte
    column = pl.Series([*["before"] * skipped, *values], dtype=pl.String)[skipped:]
    coded = code_texts(column)
    assert coded.values.to_list() == list(dict.fromkeys(values))
    assert coded.values.gather(coded.codes).to_list() == values


@given(st.lists(st.integers(-5, 5) | st.integers(-(2**63), 2**63 - 1), max_size=200))
def test_numbers(values: list[int]) -> None:
    codes, firsts = code_numbers(np.array(values, np.int64))
    distinct = list(dict.fromkeys(values))
    assert firsts.tolist() == [values.index(v) for v in distinct]
    assert codes.tolist() == [distinct.index(v) for v in values]


@given(st.sets(st.text(max_size=20), max_size=50), st.lists(texts, max_size=50))
def test_an_index_finds_what_it_knows(known: set[str], asked: list[str | None]) -> None:
    names = sorted(known)
    found = TextIndex(pl.Series(names, dtype=pl.String)).find(pl.Series([*asked, *names], dtype=pl.String))
    assert found.tolist() == [names.index(v) if v in known else len(names) for v in [*asked, *names]]


@pytest.mark.parametrize("known", [["a", "a"], ["a", None]])
def test_an_index_takes_distinct_texts_only(known: list[str | None]) -> None:
    with pytest.raises(ValueError, match="distinct"):
        TextIndex(pl.Series(known))


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.booleans(), st.just(math.nan) | st.floats(-1e6, 1e6)),
        max_size=100,
    )
)
def test_rows_by_group(rows: list[tuple[int, bool, float]]) -> None:
    groups = np.array([g for g, _, _ in rows], np.int32)
    grouped = group_rows(groups, 6, np.array([w for _, w, _ in rows], np.uint8), 1)
    places: dict[int, list[int]] = defaultdict(list)
    for row, (group, wanted, _) in enumerate(rows):
        if wanted:
            places[group].append(row)
    assert [grouped.rows(g).tolist() for g in range(6)] == [places[g] for g in range(6)]

    built = measure(np.array([v for _, _, v in rows]), grouped)
    for group in range(6):
        values = [rows[row][2] for row in places[group] if not math.isnan(rows[row][2])]
        assert (built.sizes[group], built.sums[group]) == (
            len(values),
            reduce(add, values, 0.0),
        )  # sum() of Python 3.12 corrects what is rounded
        if values:
            assert (built.least[group], built.most[group]) == (min(values), max(values))
        else:
            assert math.isnan(built.least[group])
            assert math.isnan(built.most[group])
