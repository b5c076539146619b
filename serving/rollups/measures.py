"""The measures of a stream's rollups, by the names under which they are asked for."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from streamgauge.contract.model import Contract
from streamgauge.rollup.windows import QUANTILES
from streamgauge.stores.tables.speed import COUNTERS

Merge: TypeAlias = Literal["sum", "min", "max"]


@dataclass(frozen=True)
class Stored:
    """A measure that is a column of the tables, merged by SQL. `counter` says that none is 0, not unknown."""

    name: str
    merge: Merge
    type: Literal["bigint", "double precision"]
    counter: bool = False


@dataclass(frozen=True)
class Mean:
    name: str
    measure: str


@dataclass(frozen=True)
class Quantile:
    name: str
    column: str
    rank: float


@dataclass(frozen=True)
class Distinct:
    name: str
    column: str


Measure: TypeAlias = Stored | Mean | Quantile | Distinct


def measures_of(contract: Contract) -> dict[str, Measure]:
    found: list[Measure] = [Stored(c, "sum", "bigint", counter=True) for c in COUNTERS]
    for m in contract.rollup.measures:
        found += [
            _number_of(m.name),
            _sum_of(m.name),
            Stored(f"{m.name}_min", "min", "double precision"),
            Stored(f"{m.name}_max", "max", "double precision"),
            Mean(f"{m.name}_mean", m.name),
        ]
        if m.quantiles:
            found += [Quantile(f"{m.name}_{q}", f"{m.name}_kll", rank) for q, rank in QUANTILES.items()]
    found += [Distinct(f"{d.name}_distinct", f"{d.name}_hll") for d in contract.rollup.distinct]
    return {m.name: m for m in found}


def cheap(measures: Iterable[Measure]) -> tuple[Measure, ...]:
    """Those that need no sketch: what is given where nothing is asked for by name."""
    return tuple(m for m in measures if isinstance(m, Stored | Mean))


def stored_for(measures: Iterable[Measure]) -> tuple[Stored, ...]:
    """The columns that SQL must merge for these measures."""
    wanted: dict[str, Stored] = {}
    for m in measures:
        if isinstance(m, Stored):
            wanted[m.name] = m
        elif isinstance(m, Mean):
            for part in (_sum_of(m.measure), _number_of(m.measure)):
                wanted[part.name] = part
    return tuple(wanted.values())


def _number_of(measure: str) -> Stored:
    return Stored(f"{measure}_n", "sum", "bigint", counter=True)


def _sum_of(measure: str) -> Stored:
    return Stored(f"{measure}_sum", "sum", "double precision", counter=True)
