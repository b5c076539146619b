"""Speed against batch, bucket by bucket: what differs, and whether it may.

Every record is in both layers once: S = count + late + duplicates of the worker, B = facts + duplicates of the batch
layer, and S = B. Where both have the same records they may still have judged them differently, within what was counted
as late or as duplicate. What only one layer has yet must be covered by offsets that only this layer has.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import polars as pl

from quality.reconciliation.coverage import Missing
from quality.reconciliation.evidence import Evidence, Figures, Values, unreachable
from quality.reconciliation.layers import DUPLICATES, SPEED_COUNTERS, bucket_columns, compared, figures
from streamgauge.contract.measures import NUMBERS, Count, StoredColumn, kinds_of
from streamgauge.contract.model import Contract, Measure
from streamgauge.rollup.measure_kinds import possible

Bucket = tuple[datetime, tuple[str, ...]]
"""Minute and dimensions, in the contract's order."""

TOLERANCE = 1e-9
"""Of a sum, relative to what was summed: both layers add the same numbers in another order."""

SAMPLES = 5

DIFFERS, UNLIKE_FACTS = "__differs", "__unlike_facts"
_MOVED = "__moved"
"""They don't differ if dimensions from the reference table are left aside."""
_SPEED, _BATCH = "__speed_records", "__batch_records"


@dataclass(frozen=True)
class HourState:
    """What is known of an hour beside its numbers."""

    missing: Missing = field(default_factory=Missing)
    settled: bool = False
    """Nothing on time can still be on its way: what the lake lacks was late."""
    pending: bool = False
    """The lake has moved on, and the hour's facts or rollups don't know of it yet."""
    reference_changed: bool = False
    """The reference table changed since the hour's events came in."""
    forgotten: bool = False
    """The speed layer no longer keeps these minutes."""


@dataclass(frozen=True)
class Difference:
    bucket: Bucket
    measure: str
    speed: float | None
    batch: float | None
    late: int
    duplicates: int
    batch_duplicates: int
    explained: bool
    explanation: str
    sample_event_ids: tuple[str, ...] = ()
    waits: bool = False
    """Explained by what is still to come: the hour should not be final before it has."""


Layer = Literal["speed", "batch", "facts"]


def beside(contract: Contract, speed: pl.DataFrame, batch: pl.DataFrame, facts: pl.DataFrame) -> pl.DataFrame:
    """A row for each bucket of any layer, with the figures of each. `DIFFERS` says that worker and batch layer do,
    `UNLIKE_FACTS` that rollup and facts do.
    """
    keys = bucket_columns(contract)
    named = [
        layer.rename({c: f"__{name}_{c}" for c in layer.columns if c not in keys})
        for name, layer in (("speed", speed), ("batch", batch), ("facts", facts))
    ]
    joined = named[0].join(named[1], on=keys, how="full", coalesce=True)
    joined = joined.join(named[2], on=keys, how="full", coalesce=True)
    counters = (*SPEED_COUNTERS, *(c.name for c in compared(contract) if c.counter))
    zero = [f"__{layer}_{c}" for layer in ("speed", "batch", "facts") for c in counters]
    zero = [c for c in zero if c in joined.columns]
    joined = joined.with_columns(pl.col(zero).fill_null(0))
    records = pl.col("__speed_count") + pl.col("__speed_late") + pl.col("__speed_duplicates")
    of_batch = pl.col("__batch_count") + pl.col("__batch_duplicates")
    joined = joined.with_columns(records.alias(_SPEED), of_batch.alias(_BATCH))
    unequal = [~_same(contract, f, "speed", "batch") for f in figures(contract)]
    unlike_facts = [~_same(contract, f, "batch", "facts") for f in (*figures(contract), DUPLICATES)]
    return joined.with_columns(
        pl.any_horizontal(pl.col(_SPEED) != pl.col(_BATCH), *unequal).alias(DIFFERS),
        pl.any_horizontal(unlike_facts).alias(UNLIKE_FACTS),
        _moved(contract).alias(_MOVED),
    ).sort(keys)


def _columns(contract: Contract) -> dict[str, tuple[Count | Measure, StoredColumn]]:
    """The compared columns of each measure, by name."""
    return {c.name: (m, c) for m in contract.rollup.numbered for k in kinds_of(m) for c in k.columns(m.name) if c.merge}


def _same(contract: Contract, figure: str, one: Layer, other: Layer) -> pl.Expr:
    a, b = pl.col(f"__{one}_{figure}"), pl.col(f"__{other}_{figure}")
    measure, column = _columns(contract).get(figure, (None, None))
    if measure is None or column is None or not column.rounded:
        same = a.eq_missing(b)
        return same | a.is_null() | b.is_null() if column is not None and column.optional else same
    n, _, *ends = NUMBERS.columns(measure.name)
    extreme = pl.max_horizontal(pl.col(f"__{other}_{end.name}").abs() for end in ends).fill_null(0)
    scale = pl.max_horizontal(a.abs(), b.abs(), extreme * pl.col(f"__{other}_{n.name}"))
    return (a - b).abs() <= TOLERANCE * (1 + scale)


def _moved(contract: Contract) -> pl.Expr:
    """Are the sums of buckets that differ in dimensions from the reference table alone the same in both layers?"""
    named = [d.name for d in contract.rollup.dimensions if d.source.startswith("reference.")]
    if not named:
        return pl.lit(False)
    kept = [k for k in bucket_columns(contract) if k not in named]
    pairs = [(_SPEED, _BATCH), ("__speed_duplicates", "__batch_duplicates")]
    exact = [pl.col(a).sum().over(kept) == pl.col(b).sum().over(kept) for a, b in pairs]
    late = pl.col("__speed_late").sum().over(kept) > 0
    for column in compared(contract):
        if column.counter:
            a, b = (pl.col(f"__{layer}_{column.name}").sum().over(kept) for layer in ("speed", "batch"))
            exact.append(late | ((a - b).abs() <= TOLERANCE * (1 + pl.max_horizontal(a.abs(), b.abs()))))
    return pl.all_horizontal(exact)


def explain(
    contract: Contract,
    differing: pl.DataFrame,
    evidence: Mapping[Bucket, Evidence],
    state_of: Callable[[datetime], HourState],
) -> list[Difference]:
    """`differing`: the rows of `beside` that differ in whatever way. Of each bucket, every figure that differs."""
    found: list[Difference] = []
    width = len(contract.dimension_names)
    for row in differing.iter_rows(named=True):
        values = list(row.values())
        bucket = (values[0], tuple(values[1 : 1 + width]))
        found += _Bucket(contract, bucket, row, evidence.get(bucket, Evidence()), state_of(bucket[0])).differences()
    return found


class _Bucket:
    """Of one bucket."""

    def __init__(
        self, contract: Contract, bucket: Bucket, row: Mapping[str, Any], evidence: Evidence, state: HourState
    ) -> None:
        self._contract = contract
        self._columns = _columns(contract)
        self._bucket = bucket
        self._row = row
        self._evidence = evidence
        self._state = state
        self._late: int = row["__speed_late"]
        self._duplicates: int = row["__speed_duplicates"]
        self._batch_duplicates: int = row["__batch_duplicates"]

    def differences(self) -> list[Difference]:
        if self._row[UNLIKE_FACTS]:
            return self._unlike_facts()
        excess = self._row[_SPEED] - self._row[_BATCH]
        if excess:
            return self._incomplete(excess)
        return self._evaluated_differently()

    def _unlike_facts(self) -> list[Difference]:
        """The rollup was made of other facts than those in the lake: there is no batch side to hold speed against."""
        found: list[Difference] = []
        for figure in (*figures(self._contract), DUPLICATES):
            if not self._same(figure, "batch", "facts"):
                if self._state.pending:
                    found.append(self._difference(figure, True, "the hour is being rebuilt", waits=True))
                else:
                    facts = _text(self._row[f"__facts_{figure}"])
                    found.append(self._difference(figure, False, f"the facts in the lake give {facts}"))
        return found

    def _incomplete(self, excess: int) -> list[Difference]:
        why, waits = self._missing(excess)
        if why is None and self._row[_MOVED] and self._state.reference_changed:
            why = "the same events under other attributes: the reference table changed meanwhile"
        if why is not None:
            return self._all(True, why, waits)
        speed, batch, deleted = self._row[_SPEED], self._row[_BATCH], self._state.missing.deleted
        known = f"; {deleted} were deleted with their topic before the lake had them" if deleted else ""
        return self._all(False, f"the worker took in {speed} records, the batch layer {batch}{known}")

    def _missing(self, excess: int) -> tuple[str | None, bool]:
        """Why one layer may lack that many records, if it may, and whether the hour should wait for them."""
        state, missing = self._state, self._state.missing
        if excess < 0:
            if state.forgotten:
                return "the speed layer no longer keeps these minutes", False
            if -excess <= missing.lost:
                return (
                    f"{-excess} of {missing.lost} records that the log had lost before the worker came to them",
                    False,
                )
            if -excess <= missing.unread:
                return f"{-excess} records that the worker has not yet taken in", False
            return None, False
        if state.pending:
            return f"{excess} records that came after the facts were built", True
        behind = min(missing.tail, self._late + self._duplicates) if state.settled else missing.tail
        if excess <= behind:
            return f"{excess} records that arrived after the lake's end", not state.settled
        if excess <= missing.holes:
            return f"{excess} of {missing.holes} records that the lake lacks", True
        return None, False

    def _evaluated_differently(self) -> list[Difference]:
        """The same records in both: facts that the worker called late, or either one's duplicates."""
        left_out = self._late + max(0, self._duplicates - self._batch_duplicates)
        gained = self._row["__batch_count"] - self._row["__speed_count"]
        admitted = min(max(0, left_out - gained), self._batch_duplicates)
        why = self._words()
        found: list[Difference] = []
        if gained:
            found.append(self._difference("count", True, why))
        for m in self._contract.rollup.numbered:
            columns = [c.name for owner, c in self._columns.values() if owner is m]
            differing = [c for c in columns if not self._same(c, "speed", "batch")]
            wrong = self._impossible(m, left_out, admitted) if differing else set[str]()
            for column in differing:
                reason = f"not to be had by {why}" if column in wrong else why
                found.append(self._difference(column, column not in wrong, reason))
        return found

    def _impossible(self, m: Count | Measure, left_out: int, admitted: int) -> set[str]:
        """The columns that leaving events out, or taking duplicates in, can't have made of the facts."""
        facts = self._evidence.facts.get(m.name, Values())
        others = self._evidence.duplicates.get(m.name, Values())
        wrong = set[str]()
        if isinstance(m, Measure):
            numbers = [c.name for c in NUMBERS.columns(m.name)]
            speed = Figures(*(self._row[f"__speed_{c}"] for c in numbers))
            tolerance = self._tolerance(numbers[1], "speed", "batch")
            parts = unreachable(speed, facts.values, others.values, left_out, admitted, tolerance)
            wrong = {f"{m.name}_{part}" for part in parts}
        for kind in kinds_of(m):
            columns = [c.name for c in kind.columns(m.name) if c.merge]
            stored = [self._row[f"__speed_{c}"] for c in columns]
            if not possible(kind, stored, facts.pairs, others.pairs if admitted else (), left_out):
                wrong.update(columns)
        return wrong

    def _words(self) -> str:
        parts = [f"{self._late} late" if self._late else ""]
        if self._duplicates != self._batch_duplicates:
            parts.append(f"{self._duplicates} duplicates in the worker and {self._batch_duplicates} in the batch layer")
        return ", ".join(p for p in parts if p) or "late events or duplicates, of which there are none"

    def _all(self, explained: bool, why: str, waits: bool = False) -> list[Difference]:
        differing = [f for f in figures(self._contract) if not self._same(f, "speed", "batch")]
        return [self._difference(f, explained, why, waits=waits) for f in differing or ["count"]]

    def _same(self, figure: str, one: Layer, other: Layer) -> bool:
        a, b = self._row[f"__{one}_{figure}"], self._row[f"__{other}_{figure}"]
        _, column = self._columns.get(figure, (None, None))
        if column is None or not column.rounded:
            return a == b or (column is not None and column.optional and None in (a, b))
        return abs(a - b) <= self._tolerance(figure, one, other)

    def _tolerance(self, total: str, one: Layer, other: Layer) -> float:
        sums = [abs(self._row[f"__{layer}_{total}"]) for layer in (one, other)]
        n, _, *extremes = NUMBERS.columns(self._columns[total][0].name)
        ends = [abs(self._row[f"__{other}_{end.name}"] or 0.0) for end in extremes]
        return TOLERANCE * (1 + max(*sums, max(ends) * self._row[f"__{other}_{n.name}"]))

    def _difference(self, measure: str, explained: bool, why: str, *, waits: bool = False) -> Difference:
        return Difference(
            self._bucket,
            measure,
            self._row.get(f"__speed_{measure}"),
            self._row.get(f"__batch_{measure}"),
            self._late,
            self._duplicates,
            self._batch_duplicates,
            explained,
            why,
            () if explained else self._evidence.event_ids,
            waits,
        )


def _text(value: float | None) -> str:
    return "nothing" if value is None else f"{value:g}"
