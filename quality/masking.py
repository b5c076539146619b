"""Rows as they may be shown. What a check writes down ends in Dagster's event log, in Postgres and in a report, where
more people can read it than may read the events, and for longer than the events are kept.

A field is shown only if its classification is known to be harmless, and its value is one that the field may have; a new
classification is masked until it is listed here. The same value gets the same mask within one run and another in the
next, so rows can be told apart and nobody can be looked up.
"""

import hashlib
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, cast

import polars as pl
from pandera.errors import SchemaError, SchemaErrors

from quality.outcome import SAMPLES, Sample
from streamgauge.contract.model import Contract, FieldSpec
from streamgauge.contract.times import storable
from streamgauge.errors import UserError
from streamgauge.stores.lake import OFFSET, PARTITION

SHOWN = frozenset({"public", "internal"})
_LONGEST = 48
_DIGITS = 8


class Masker:
    """One run's masks."""

    def __init__(self, contract: Contract, secret: bytes | None = None) -> None:
        self._contract = contract
        self._secret = secret or secrets.token_bytes(32)

    def samples(self, rows: pl.DataFrame, rule: str | pl.Expr) -> tuple[Sample, ...]:
        """Of the first rows. They have `partition` and `offset`; of the fields, those that are there are shown."""
        named = rule if isinstance(rule, pl.Expr) else pl.lit(rule)
        fields = [f for f in self._contract.fields if f.name in rows.columns]
        times = storable(f.name for f in fields if f.type == "timestamp-millis")
        first = rows.head(SAMPLES).with_columns(named.alias("__rule"), *times)
        return tuple(
            Sample(
                row["__rule"],
                self._contract.topic,
                row[PARTITION],
                row[OFFSET],
                {f.name: self.shown(f, row[f.name]) for f in fields if row[f.name] is not None},
            )
            for row in first.iter_rows(named=True)
        )

    def shown(self, field: FieldSpec, value: Any) -> str:
        if field.is_map:
            # Any producer may put anything there: the keys are the schema, the values are not for showing.
            keys = [str(entry["key"]) for entry in cast(list[dict[str, Any]], value)]
            return f"map of {', '.join(map(_cut, keys))}" if field.classification in SHOWN else f"map of {len(keys)}"
        if field.classification not in SHOWN or _strange(field, value):
            return self._mask(field, value)
        if isinstance(value, datetime):
            return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return _cut(str(value))

    def _mask(self, field: FieldSpec, value: Any) -> str:
        text = str(value)
        digest = hashlib.blake2b(f"{field.name}\0{text}".encode(), key=self._secret).hexdigest()[:_DIGITS]
        length = f", {len(text)} characters" if field.type == "string" else ""
        return f"masked {digest}{length}"


def _strange(field: FieldSpec, value: Any) -> bool:
    """A text that the field must not hold is not what was classified: it may be another field's, or anything."""
    if not isinstance(value, str):
        return False
    if field.allowed:
        return value not in field.allowed
    matches = True if field.pattern is None else pl.Series([value]).str.contains(field.pattern).item()
    return not matches or (field.max_length is not None and len(value) > field.max_length)


def _cut(text: str) -> str:
    plain = text.encode("unicode_escape", "replace").decode() if not text.isprintable() else text
    return plain if len(plain) <= _LONGEST else f"{plain[:_LONGEST]}… ({len(text)} characters)"


@contextmanager
def no_values_in_errors(doing: str) -> Generator[None]:
    """polars and pandera quote values in their errors, and Dagster keeps an error with its causes."""
    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, SchemaError, SchemaErrors) as e:
        hint = "run the same check in a terminal to see the error, which may show values"
        raise UserError(f"{doing} failed with {type(e).__name__}", hint) from None
