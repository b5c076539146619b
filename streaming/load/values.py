"""Values that keep a contract, and values that break it, made from the contract alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from streamgauge.contract.columns import POLARS_TYPES
from streamgauge.contract.model import Contract, FieldSpec, Measure
from streamgauge.producer.frame import maps
from streamgauge.types import Int64s

_WORDS = 24
"""Values of a text field that names nobody: with many more a dimension would have more rows than a real one."""
_MAPS = 64
"""Values of a map field: making each event's own would take longer than sending it."""
_NULLS = 0.3
"""Share of nulls in an optional field."""


class Pool:
    """A field's values, the first ones more often: rank r is drawn with weight 1 / r ** skew."""

    def __init__(self, values: pl.Series, skew: float) -> None:
        weights = 1.0 / np.arange(1, len(values) + 1) ** skew
        self._values = values
        self._cumulated = np.cumsum(weights) / weights.sum()

    def __len__(self) -> int:
        return len(self._values)

    def draw(self, rng: np.random.Generator, n: int) -> pl.Series:
        ranks = np.searchsorted(self._cumulated, rng.random(n), side="right")
        return self._values.gather(np.minimum(ranks, len(self) - 1))


class Values:
    """Draws columns for every field of a contract but its event id and its times."""

    def __init__(self, contract: Contract, users: int, skew: float) -> None:
        people = {f.name for f in contract.fields if f.classification == "personal"}
        if contract.reference:
            people.add(contract.reference.key)
        self._fields = [f for f in contract.fields if f.name != contract.event_id and f.type != "timestamp-millis"]
        self._with = {name: rule.fields[0] for rule in contract.together for name in rule.fields}
        """The field whose nulls a field shares."""
        self._pools: dict[str, Pool] = {}
        for f in self._fields:
            if f.default is not None:
                self._pools[f.name] = Pool(pl.Series(f.name, [f.default], POLARS_TYPES[f.type]), skew)
            elif f.type == "string":
                count = users if f.name in people else _WORDS
                self._pools[f.name] = Pool(pl.Series(f.name, _words(f, count), pl.String), skew)
            elif f.is_map:
                self._pools[f.name] = Pool(maps(f.name, _maps(contract, f)), skew)

    @property
    def impossible(self) -> set[str]:
        """Fields for which no value was found."""
        return {name for name, pool in self._pools.items() if not len(pool)}

    def draw(self, rng: np.random.Generator, n: int) -> list[pl.Series]:
        nulls: dict[str, pl.Series] = {}
        return [self._column(f, rng, n, nulls) for f in self._fields]

    def _column(self, f: FieldSpec, rng: np.random.Generator, n: int, nulls: dict[str, pl.Series]) -> pl.Series:
        if f.name in self._pools:
            values = self._pools[f.name].draw(rng, n)
        elif f.type == "boolean":
            values = pl.Series(f.name, rng.random(n) < 0.5)
        elif f.type == "double":
            low = -np.inf if f.minimum is None else f.minimum
            high = np.inf if f.maximum is None else f.maximum
            values = pl.Series(f.name, np.clip(rng.lognormal(0.0, 1.0, n), low, high))
        else:
            low = 0 if f.minimum is None else int(f.minimum)
            high = low + 1000 if f.maximum is None else int(f.maximum)
            values = pl.Series(f.name, rng.integers(low, high, n, endpoint=True)).cast(POLARS_TYPES[f.type])
        if f.required:
            return values
        shared = self._with.get(f.name, f.name)
        if shared not in nulls:
            nulls[shared] = pl.Series(rng.random(n) < _NULLS)
        return values.to_frame().select(pl.when(~nulls[shared]).then(pl.col(f.name)).alias(f.name)).to_series()


def _words(f: FieldSpec, count: int) -> list[str]:
    """Texts that keep the field's rules: the first shape of which there are enough."""
    if f.allowed:
        return list(f.allowed)
    camel = "".join(part.capitalize() for part in f.name.split("_"))
    shapes = (
        [f"{f.name}-{i}" for i in range(count)],
        [f"{camel}{i}" for i in range(count)],
        [f"{f.name}_{i}" for i in range(count)],
        [f"{f.name.upper()}_{i}" for i in range(count)],
        [f"{i:d}" for i in range(count)],
        [f"{i:016x}" for i in range(count)],
        [f"{f.name}{i}@example.org" for i in range(count)],
        [f"10.{i >> 16 & 255}.{i >> 8 & 255}.{i & 255}" for i in range(count)],
        [f"00000000-0000-4000-8000-{i:012x}" for i in range(count)],
        [a + b for a in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" for b in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"][:count],
        ["x" * (f.min_length or 1)],
    )
    for shape in shapes:
        kept = pl.Series(shape, dtype=pl.String)
        if f.pattern is not None:
            kept = kept.filter(kept.str.contains(f.pattern))
        lengths = kept.str.len_chars()
        kept = kept.filter((lengths >= (f.min_length or 0)) & (lengths <= (f.max_length or 1 << 20)))
        if len(kept) >= min(count, 10) or (len(kept) and shape is shapes[-1]):
            return kept.to_list()
    return []


def _maps(contract: Contract, f: FieldSpec) -> list[dict[str, str]]:
    """Every entry that a rollup reads, and where the record comes from."""
    texts = {s.source for s in contract.rollup.sources if not isinstance(s, Measure)}
    read = [name.partition(".")[2] for name in contract.rollup_reads if name.startswith(f"{f.name}.")]
    return [
        {"source": "load", **{k: f"{k}-{i}" if f"{f.name}.{k}" in texts else str(i % 20 + 1) for k in read}}
        for i in range(_MAPS)
    ]


@dataclass(frozen=True)
class Breaker:
    """A value that breaks one rule of the contract."""

    field: str
    value: Any

    def apply(self, frame: pl.DataFrame, rows: Int64s) -> pl.DataFrame:
        at = pl.int_range(pl.len()).is_in(rows)
        dtype = frame.schema[self.field]
        broken = pl.lit(self.value).cast(pl.Int64).cast(dtype) if dtype == pl.Datetime else pl.lit(self.value, dtype)
        return frame.with_columns(pl.when(at).then(broken).otherwise(pl.col(self.field)).alias(self.field))


def breakers(contract: Contract) -> list[Breaker]:
    return [Breaker(f.name, v) for f in contract.fields for v in _breaking(f)]


def _breaking(f: FieldSpec) -> Iterator[Any]:
    if f.min_length:
        yield ""
    if f.max_length is not None:
        yield "é" * (f.max_length + 1)
    if f.allowed:
        yield "no such value"
    if f.pattern is not None:
        misfits = pl.Series(["lower case", "1!", "ÄÖ\n", "-"], dtype=pl.String)
        yield from misfits.filter(~misfits.str.contains(f.pattern)).head(1)
    if f.finite:
        yield from (float("nan"), float("-inf"))
    if f.type == "timestamp-millis" and f.minimum is not None and f.minimum > 0:
        yield from (0, -1)
    elif f.minimum is not None:
        yield f.minimum - 1 if f.type == "double" else int(f.minimum) - 1
    if f.maximum is not None:
        yield f.maximum + 1 if f.type == "double" else int(f.maximum) + 1
