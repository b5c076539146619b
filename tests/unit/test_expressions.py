"""Expressions of contracts: what they mean in the worker's batches and in the batch layer's frames; what is refused."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.contract.columns import POLARS_TYPES
from streamgauge.contract.load import find_contract, load_contracts
from streamgauge.contract.model import Contract, FieldSpec, FieldType
from streamgauge.expression.columns import DerivedColumns
from streamgauge.expression.parse import ExpressionError
from streamgauge.expression.scope import derived_column
from streamgauge.rollup.enrich import REFERENCE
from streamgauge.rollup.plan import Sources
from streamgauge.settings import CHECKOUT
from tests.derived import derive
from tests.examples import examples
from tests.expressions import Meant, Row, doubles, long, longs, texts, times, truths

FIELDS: dict[str, FieldType] = {
    "whole": "long",
    "small": "int",
    "fraction": "double",
    "word": "string",
    "flag": "boolean",
    "moment": "timestamp-millis",
    "map": "map<string,string>",
}
BEFORE, SHOWN = Meant("small * 2", lambda row: row["before"]), Meant("lower(word)", lambda row: row["shown"])
USER = find_contract(load_contracts(CHECKOUT / "platform" / "contracts"), "user_events")


def contract_of(*texts: str) -> Contract:
    """With derived fields `d0`, `d1` ..., after `before` and `shown`."""
    fields = tuple(FieldSpec(n, t, False, "", "internal", max_length=40) for n, t in FIELDS.items())
    named = {"before": BEFORE.sql, "shown": SHOWN.sql, **{f"d{i}": text for i, text in enumerate(texts)}}
    return derive(replace(USER, fields=fields), named)


WORDS = st.text("aAbBx 17.e-ß%_'\n", max_size=5)
ROWS = st.fixed_dictionaries(
    {
        "whole": st.none() | st.integers(-9, 9) | st.integers(-(2**63), 2**63 - 1),
        "small": st.none() | st.integers(-(2**31), 2**31 - 1),
        "fraction": st.none() | st.sampled_from([0.0, 0.5, -1.5, 2.675, 1e308]) | st.floats(),
        "word": st.none() | WORDS,
        "flag": st.none() | st.booleans(),
        "moment": st.none() | st.integers(-10_000_000_000_000, 100_000_000_000_000),
        "map.key": st.none() | WORDS,
        "reference.kind": st.sampled_from(["bot", "unknown"]),
    }
)


def with_derived(row: Row) -> Row:
    before = None if row["small"] is None else long(row["small"] * 2)
    return {**row, "before": before, "shown": None if row["word"] is None else row["word"].lower()}


def stored(rows: Sequence[Row]) -> pl.DataFrame:
    """As facts have them."""

    def value(name: str, row: Row) -> Any:
        return None if row["map.key"] is None and name == "map" else [{"key": "key", "value": row["map.key"]}]

    columns = {n: [value(n, r) if n == "map" else r[n] for r in rows] for n in FIELDS}
    types = {n: pl.Int64 if t == "timestamp-millis" else POLARS_TYPES[t] for n, t in FIELDS.items()}
    built = [pl.Series(n, columns[n], types[n]) for n in FIELDS]
    kinds = pl.Series(f"{REFERENCE}kind", [r["reference.kind"] for r in rows], pl.String)
    return pl.DataFrame([*built, kinds]).with_columns(pl.col("moment").cast(POLARS_TYPES["timestamp-millis"]))


def read(rows: Sequence[Row]) -> pl.DataFrame:
    """As the worker's batches have them."""
    frame = stored(rows)
    names = ("map.key", "reference.kind")
    return frame.drop("map", f"{REFERENCE}kind").with_columns(
        pl.Series(n, [r[n] for r in rows], pl.String) for n in names
    )


@examples(100)
@given(longs(3), doubles(3), texts(3), truths(3), times(2), st.lists(ROWS, min_size=1, max_size=8))
def test_both_layers_compute_what_is_meant(
    whole: Meant, fraction: Meant, text: Meant, truth: Meant, time: Meant, rows: list[dict[str, Any]]
) -> None:
    asked = (whole, fraction, text, truth, time)
    contract = contract_of(*(m.sql for m in asked))
    names = [f"d{i}" for i in range(len(asked))]
    types = [d.type for d in contract.derived if d.name in names]
    assert types == ["long", "double", "string", "boolean", "timestamp-millis"]
    expected = [[m.of(with_derived(row)) for row in rows] for m in asked]

    in_worker = DerivedColumns(contract, names).add(read(rows))
    sources = Sources(contract, names)
    in_batch = sources.add(stored(rows).lazy()).collect()
    for frame in (in_worker, in_batch):
        for name, type_, values in zip(names, types, expected, strict=True):
            column = frame[derived_column(name)]
            assert column.dtype == POLARS_TYPES[type_]
            assert column.to_physical().to_list() == values
        longest = next(d for d in contract.derived if d.name == "d2").max_length
        assert longest is not None
        assert max((len(t) for t in frame[derived_column("d2")].drop_nulls()), default=0) <= longest


BIG, SMALL = 2**63 - 1, -(2**63)
RULES: dict[str, Any] = {
    "1 / 0": None,
    "1 / 2": 0.5,
    "0.0 / 0.0": None,
    "7 % 0": None,
    "(-7) % 3": -1,
    "7 % (-3)": 1,
    f"{BIG} + 1": None,
    f"{BIG} * {BIG}": None,
    f"(- {BIG}) - 2": None,
    f"abs((- {BIG}) - 1)": None,
    "1e308 * 10.0": None,
    "1e308 * 10.0 - 1e308": None,
    "(1e308 * 10.0) > 5": None,
    "round(0.5)": 1.0,
    "round(-2.5)": -3.0,
    "round(2.675, 2)": 2.68,
    "floor(-0.5)": -1.0,
    "ceil(3)": 3,
    "cast(1.9 as bigint)": 1,
    "cast(-1.9 as bigint)": -1,
    "cast(1e19 as bigint)": None,
    "cast('x' as double)": None,
    "cast('inf' as double)": None,
    "cast('1e3' as double)": 1000.0,
    "null = 1": None,
    "null is null": True,
    "1 = 1 or null": True,
    "1 = 2 and null": False,
    "1 = 1 and null": None,
    "not (null = 1)": None,
    "1 in (2, null)": None,
    "1 in (1, null)": True,
    "1 not in (2, null)": None,
    "1 not in (2, 3)": True,
    "case when null then 1 else 2 end": 2,
    "case 3 when 3 then 'three' end": "three",
    "case when false then 1 end": None,
    "coalesce(null, 2.5, 1)": 2.5,
    "concat('a', null)": None,
    "'a' || 'b'": "ab",
    "trim('  a b ')": "a b",
    "substr('hello', 2, 3)": "ell",
    "substring('hello' from 2 for 3)": "ell",
    "'a%b' like 'a\\%b'": True,
    "'axb' like 'a\\%b'": False,
    "'a<b' like 'a<_'": True,
    "'a\nb' like 'a%b'": True,
    "'b' not like 'a%'": True,
    "regexp_extract('a1', '([a-z])([0-9])', 2)": "1",
    "regexp_extract('b', 'a')": None,
    "extract(hour from timestamp '2026-01-31T13:45:00+01:00')": 12,
    "extract(epoch from timestamp '1970-01-01T00:00:01.5Z')": 1.5,
    "extract(week from timestamp '2027-01-01')": 53,
    "extract(isodow from timestamp '2026-02-01')": 7,
}  # fmt: skip


@pytest.mark.parametrize("text", RULES)
def test_the_rules(text: str) -> None:
    built = DerivedColumns(contract_of(text), ["d0"]).add(pl.DataFrame({"any": [1]}))
    assert built[derived_column("d0")].to_list() == [RULES[text]]


REFUSED = {
    "wrd || 'a'": "did you mean word?",
    "Word": "did you mean word?",
    "later + 1": "no field and no derived field",
    "word + 1": "+ is for numbers, and one of its sides is a text; texts are put together by ||",
    "null + 1": "one of its sides is null",
    "flag * 2": "one of its sides is true or false",
    "1.5 % 2": "% is for whole numbers",
    "word = 1": "=: a text and a whole number don't go together",
    "moment < 5": "a time and a whole number don't go together",
    "whole and flag": "and is for what is true or false, and is given a whole number",
    "case when whole then 1 end": "when is for what is true or false",
    "case when flag then 1 else 'a' end": "case: a text and a whole number don't go together",
    "coalesce(word, 1)": "coalesce: a text and a whole number",
    "lower(whole)": "lower is for a text, and is given a whole number; make it one by cast(... as text)",
    "abs(word)": "abs is for a whole number, and is given a text",
    "extract(hour from word)": "extract is for a time",
    "extract(dow from moment)": "extract knows no dow; known are year",
    "cast(fraction as text)": "a number can't be cast to a text; make a whole number of it first",
    "cast(word as decimal(9, 2))": "cast to decimal(9, 2): known are bigint, double, text, boolean and timestamp",
    "cast(word as timestamp)": "a text can't be cast to a time",
    "timestamp '2026-13-01'": "is no time of ISO 8601",
    "map": '"map" is a map: name one of its keys, as in map.key',
    "word.key": '"word" is no map',
    "map.a.b": 'a key with a dot stands in "quotes"',
    "reference.kin": "reference.kin is no column of the reference; did you mean kind?",
    "null": "is always null",
    "": "is empty",
    "word ||": "can't be read as an expression",
    "(word": "can't be read as an expression",
    "select 1": "can't be read as an expression",
    "word; word": "can't be used here",
    "(select word)": "can't be used here",
    "whole in (select 1)": "query can't be given here",
    "lowr(word)": "did you mean lower?",
    "power(whole, 2)": "can't be used here; known are",
    "read_csv('/etc/passwd')": "can't be used here; known are",
    "pg_read_file('/etc/passwd')": "can't be used here; known are",
    "current_timestamp": "can't be used here",
    "random()": "can't be used here",
    "sum(whole)": "can't be used here",
    "count(*)": "can't be used here",
    "*": "can't be used here",
    "word ilike 'a'": "can't be used here",
    "trim(leading from word)": "position can't be given here",
    "regexp_like(word, '[')": "no regular expression of the kind that is used here, Rust's: unclosed character class",
    "regexp_like(word, shown)": "a pattern must be written as a text in quotes, not computed",
    "regexp_extract(word, 'a', 1)": "has 0 groups, and no group 1",
    "word like shown": "the pattern of like must be written as a text",
    "substr(word, 0)": "the start of substr must be written as a whole number of at least 1",
    "substr(word, whole)": "the start of substr must be written",
    "round(fraction, 16)": "at most 15 digits",
    "flag is true": "known is only is null",
    "99999999999999999999": "is beyond a whole number of 64 bits",
    "1e400": "is beyond what a number can be",
    "(" * 900 + "1" + ")" * 900: "can't be read as an expression",
    "+".join(["1"] * 999): "nests too deep",
    "1 + " * 501 + "1": "has 2005 characters, and 2000 are allowed",
    "%".join(["whole"] * 14): "is too much for one expression",
    "'\0'": "holds a NUL character",
}  # fmt: skip


@pytest.mark.parametrize("text", REFUSED, ids=lambda t: t[:40])
def test_what_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        contract_of(text)
    assert REFUSED[text] in str(caught.value)


def test_many_terms_are_computed_in_time_and_in_every_thread() -> None:
    """Neither the length nor what is derived of what doubles the work."""
    text = " + ".join(["fraction"] * 150)
    contract = contract_of(text, *(f"d{i} + d{i}" for i in range(40)))
    frame = DerivedColumns(contract, ["d40"]).add(
        read([{**dict.fromkeys([*FIELDS, "map.key"]), "fraction": 1.0, "reference.kind": "bot"}])
    )
    assert frame[derived_column("d40")].to_list() == [150 * 2.0**40]


def test_a_literal_before_what_is_the_same_for_all_events() -> None:
    contract = contract_of("1 < case when flag then whole else 2 end", "2", "1 < d1")
    frame = pl.DataFrame({"flag": [None, False], "whole": [1, 1]}, schema_overrides={"flag": pl.Boolean})
    built = DerivedColumns(contract, ["d0", "d2"]).add(frame)
    assert built.select(derived_column("d0"), derived_column("d2")).rows() == [(True, True)] * 2


def test_only_what_is_asked_for_is_computed() -> None:
    contract = contract_of("before + 1", "map.key")
    derived = DerivedColumns(contract, ["d0"])
    assert ("d0" in derived, "d1" in derived, derived.inputs) == (True, False, ())
    frame = derived.add(pl.DataFrame({"small": [1]}, schema={"small": pl.Int32}))
    assert frame.columns == ["small", derived_column("before"), derived_column("d0")]
    assert not DerivedColumns(contract, ["word"])


def test_where_a_value_comes_from() -> None:
    built = contract_of("before + length(map.key)", "d0 > 1 and reference.kind = 'bot'").derived_field["d1"]
    assert built.uses == ("d0", "reference.kind")
    assert built.sources == ("small", "map.key", "reference.kind")


def test_a_quotient_is_the_same_in_a_batch_of_one_and_of_many() -> None:
    contract = contract_of("fraction / 49.0", "49", "fraction / d1", "round(fraction, 2)", "1 / 3 + 0 * whole", "1 / 3")
    rows: list[dict[str, Any]] = [
        {**dict.fromkeys([*FIELDS, "map.key"]), "fraction": i / 7, "whole": 1, "reference.kind": "bot"}
        for i in range(500)
    ]
    names = [f"d{i}" for i in range(6)]
    derived = DerivedColumns(contract, names)
    columns = [derived_column(n) for n in names]
    together = derived.add(read(rows)).select(columns).rows()
    assert together == [derived.add(read([row])).select(columns).row(0) for row in rows]
    assert [quotient for quotient, *_ in together] == [i / 7 / 49.0 for i in range(500)]
