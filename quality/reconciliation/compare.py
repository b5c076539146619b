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
from quality.reconciliation.evidence import Evidence, Figures, unreachable
from quality.reconciliation.layers import DUPLICATES, PARTS, bucket_columns, figures
from streamgauge.contract.model import Contract

Bucket = tuple[datetime, tuple[str, ...]]
"""Minute and dimensions, in the contract's order."""

TOLERANCE = 1e-9
"""Of a sum, relative to what was summed: both layers add the same numbers in another order."""

SAMPLES = 5


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
    """A row for each bucket of any layer. Figures are named `speed_…`, `batch_…` and `facts_…`; `differs` says that
    they do, `moved` that they don't if dimensions from the reference table are left aside.
    """
    keys = bucket_columns(contract)
    named = [
        layer.rename({c: f"{name}_{c}" for c in layer.columns if c not in keys})
        for name, layer in (("speed", speed), ("batch", batch), ("facts", facts))
    ]
    joined = named[0].join(named[1], on=keys, how="full", coalesce=True)
    joined = joined.join(named[2], on=keys, how="full", coalesce=True)
    zero = [c for c in joined.columns if c not in keys and not c.endswith(("_min", "_max"))]
    joined = joined.with_columns(pl.col(zero).fill_null(0))
    records = pl.col("speed_count") + pl.col("speed_late") + pl.col("speed_duplicates")
    joined = joined.with_columns(records.alias("S"), (pl.col("batch_count") + pl.col("batch_duplicates")).alias("B"))
    unequal = [~_same(f, "speed", "batch") for f in figures(contract)]
    unlike_facts = [~_same(f, "batch", "facts") for f in (*figures(contract), DUPLICATES)]
    return joined.with_columns(
        pl.any_horizontal(pl.col("S") != pl.col("B"), *unequal).alias("differs"),
        pl.any_horizontal(unlike_facts).alias("unlike_facts"),
        _moved(contract).alias("moved"),
    ).sort(keys)


def _same(figure: str, one: Layer, other: Layer) -> pl.Expr:
    a, b = pl.col(f"{one}_{figure}"), pl.col(f"{other}_{figure}")
    if not figure.endswith("_sum"):
        return a.eq_missing(b)
    extreme = pl.max_horizontal(pl.col(f"{other}_{figure[:-3]}{end}").abs() for end in ("min", "max")).fill_null(0)
    scale = pl.max_horizontal(a.abs(), b.abs(), extreme * pl.col(f"{other}_{figure[:-3]}n"))
    return (a - b).abs() <= TOLERANCE * (1 + scale)


def _moved(contract: Contract) -> pl.Expr:
    """Are the sums of buckets that differ in dimensions from the reference table alone the same in both layers?"""
    named = [d.name for d in contract.rollup.dimensions if d.source.startswith("reference.")]
    if not named:
        return pl.lit(False)
    kept = [k for k in bucket_columns(contract) if k not in named]
    pairs = [("S", "B"), ("speed_duplicates", "batch_duplicates")]
    exact = [pl.col(a).sum().over(kept) == pl.col(b).sum().over(kept) for a, b in pairs]
    late = pl.col("speed_late").sum().over(kept) > 0
    for m in contract.rollup.measures:
        for part in ("n", "sum"):
            a, b = (pl.col(f"{layer}_{m.name}_{part}").sum().over(kept) for layer in ("speed", "batch"))
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
        found += _Judge(contract, bucket, row, evidence.get(bucket, Evidence()), state_of(bucket[0])).differences()
    return found


class _Judge:
    """Of one bucket."""

    def __init__(
        self, contract: Contract, bucket: Bucket, row: Mapping[str, Any], evidence: Evidence, state: HourState
    ) -> None:
        self._contract = contract
        self._bucket = bucket
        self._row = row
        self._evidence = evidence
        self._state = state
        self._late: int = row["speed_late"]
        self._duplicates: int = row["speed_duplicates"]
        self._batch_duplicates: int = row["batch_duplicates"]

    def differences(self) -> list[Difference]:
        if self._row["unlike_facts"]:
            return self._unlike_facts()
        excess = self._row["S"] - self._row["B"]
        if excess:
            return self._incomplete(excess)
        return self._judged_differently()

    def _unlike_facts(self) -> list[Difference]:
        """The rollup was made of other facts than those in the lake: there is no batch side to hold speed against."""
        found: list[Difference] = []
        for figure in (*figures(self._contract), DUPLICATES):
            if not self._same(figure, "batch", "facts"):
                if self._state.pending:
                    found.append(self._difference(figure, True, "the hour is being rebuilt", waits=True))
                else:
                    facts = _text(self._row[f"facts_{figure}"])
                    found.append(self._difference(figure, False, f"the facts in the lake give {facts}"))
        return found

    def _incomplete(self, excess: int) -> list[Difference]:
        why, waits = self._missing(excess)
        if why is None and self._row["moved"] and self._state.reference_changed:
            why = "the same events under other attributes: the reference table changed meanwhile"
        if why is not None:
            return self._all(True, why, waits)
        speed, batch, deleted = self._row["S"], self._row["B"], self._state.missing.deleted
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

    def _judged_differently(self) -> list[Difference]:
        """The same records in both: facts that the worker called late, or either one's duplicates."""
        left_out = self._late + max(0, self._duplicates - self._batch_duplicates)
        gained = self._row["batch_count"] - self._row["speed_count"]
        taken_in = min(max(0, left_out - gained), self._batch_duplicates)
        why = self._words()
        found: list[Difference] = []
        if gained:
            found.append(self._difference("count", True, why))
        for m in self._contract.rollup.measures:
            differing = [p for p in PARTS if not self._same(f"{m.name}_{p}", "speed", "batch")]
            if not differing:
                continue
            speed = Figures(*(self._row[f"speed_{m.name}_{p}"] for p in PARTS))
            facts = self._evidence.facts.get(m.name, [])
            others = self._evidence.duplicates.get(m.name, [])
            tolerance = self._tolerance(f"{m.name}_sum", "speed", "batch")
            wrong = unreachable(speed, facts, others, left_out, taken_in, tolerance)
            for part in differing:
                reason = f"not to be had by {why}" if part in wrong else why
                found.append(self._difference(f"{m.name}_{part}", part not in wrong, reason))
        return found

    def _words(self) -> str:
        parts = [f"{self._late} late" if self._late else ""]
        if self._duplicates != self._batch_duplicates:
            parts.append(f"{self._duplicates} duplicates in the worker and {self._batch_duplicates} in the batch layer")
        return ", ".join(p for p in parts if p) or "late events or duplicates, of which there are none"

    def _all(self, explained: bool, why: str, waits: bool = False) -> list[Difference]:
        differing = [f for f in figures(self._contract) if not self._same(f, "speed", "batch")]
        return [self._difference(f, explained, why, waits=waits) for f in differing or ["count"]]

    def _same(self, figure: str, one: Layer, other: Layer) -> bool:
        a, b = self._row[f"{one}_{figure}"], self._row[f"{other}_{figure}"]
        if not figure.endswith("_sum"):
            return a == b
        return abs(a - b) <= self._tolerance(figure, one, other)

    def _tolerance(self, total: str, one: Layer, other: Layer) -> float:
        sums = [abs(self._row[f"{layer}_{total}"]) for layer in (one, other)]
        ends = [abs(self._row[f"{other}_{total[:-3]}{end}"] or 0.0) for end in ("min", "max")]
        return TOLERANCE * (1 + max(*sums, max(ends) * self._row[f"{other}_{total[:-3]}n"]))

    def _difference(self, measure: str, explained: bool, why: str, *, waits: bool = False) -> Difference:
        return Difference(
            self._bucket,
            measure,
            self._row.get(f"speed_{measure}"),
            self._row.get(f"batch_{measure}"),
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
