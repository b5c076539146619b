"""The speed layer's logic, from records to what one transaction writes. Talks to nothing but the schema registry's
cache.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from streamgauge.accumulate import Add, add_distinct, add_frequent, add_quantiles, coupons
from streamgauge.contracts import Contract
from streamgauge.decode import ROW, Decoder, Rejected, SchemaOf
from streamgauge.enrich import Reference
from streamgauge.fetcher import RawRecord
from streamgauge.rollup_plan import (
    COUNTED,
    DUPLICATE,
    KEYS,
    LATE,
    MINUTE,
    MINUTE_MS,
    PARTITION,
    VALUES,
    WEIGHTS,
    RollupPlan,
    picked,
)
from streamgauge.rules import violations
from streamgauge.runs import first_rows
from streamgauge.text_bounds import Bounds
from streamgauge.types import Bools, Int64s
from streaming.worker.open_minutes import OpenMinutes
from streaming.worker.partition import PartitionState, Progress, judge
from streaming.worker.records import Positions, Records
from streaming.worker.seen import GENERATIONS

_HASH, _TIME = "__hash", "__time"


@dataclass(frozen=True)
class DeadLetter:
    record: RawRecord
    reason: str
    detail: str


@dataclass(frozen=True)
class PartitionDelta:
    """A partition's step from `before` to `after`, and what became of the records between.

    `skipped` counts the offsets that hold no record: transaction markers and aborted records.
    """

    before: Progress
    after: Progress
    counted: int = 0
    late: int = 0
    duplicates: int = 0
    dead_letters: int = 0
    skipped: int = 0
    pause: str | None = None


@dataclass(frozen=True)
class Delta:
    """What one transaction adds.

    `minutes` has a column for each of the minutes table but `upto`; `minute` in epoch ms, sketches as bytes or
    null. `tops` are rows (minute, partition, top, sketch).
    """

    partitions: list[PartitionDelta]
    minutes: pl.DataFrame
    tops: list[tuple[int, int, str, bytes]]
    dead_letters: list[DeadLetter]
    earliest_ingest_ms: int | None
    """None where no record was new."""


@dataclass(frozen=True)
class Checked:
    """What is left of a batch when its bytes are no longer needed.

    `values` has a row for each valid event: its row in the batch, its id's hash, its time, and what the rollup takes
    from it.
    """

    positions: Positions
    values: pl.DataFrame
    rejected: list[Rejected]
    raw: dict[int, RawRecord]


def together(parts: Sequence[Checked]) -> Checked:
    """Batches that were read one after the other, as one."""
    if len(parts) == 1:
        return parts[0]
    positions = [p.positions for p in parts]
    firsts = np.cumsum([0, *(len(p) for p in positions)]).tolist()
    joined = Positions(
        np.concatenate([p.partitions for p in positions]),
        np.concatenate([p.offsets for p in positions]),
        min(p.earliest_ingest_ms for p in positions),
        {partition: complete_to for p in positions for partition, complete_to in p.idle.items()},
    )
    counted = list(zip(parts, firsts, strict=False))
    return Checked(
        joined,
        pl.concat(p.values.with_columns(pl.col(ROW) + first) for p, first in counted),
        [replace(r, row=r.row + first) for p, first in counted for r in p.rejected],
        {row + first: record for p, first in counted for row, record in p.raw.items()},
    )


@dataclass
class _Limit:
    """Dead letters of one partition over the contract's span of time."""

    seconds: int
    limit: int
    noted: deque[tuple[float, int]] = field(default_factory=deque[tuple[float, int]])

    def left(self, now: float) -> int:
        while self.noted and self.noted[0][0] <= now - self.seconds:
            self.noted.popleft()
        return self.limit - sum(n for _, n in self.noted)


class Pipeline:
    """One worker's share of a stream: the partitions it owns, and their open minutes."""

    def __init__(self, contract: Contract, schema_of: SchemaOf, clock: Callable[[], float] = time.monotonic) -> None:
        self.contract = contract
        self.states: dict[int, PartitionState] = {}
        self.reference = Reference.empty(contract.reference) if contract.reference else None
        self._clock = clock
        self._limits: dict[int, _Limit] = {}
        self._decoder = Decoder(contract, schema_of, picked(contract))
        self._rules = violations(contract)
        self._plan = RollupPlan(contract, flat=True)
        rollup = contract.rollup
        quantiles = [m.name for m in rollup.measures if m.quantiles]
        self._sketched: dict[str, tuple[str, Add]] = {
            **{f"{d.name}_hll": (d.name, add_distinct) for d in rollup.distinct},
            **{f"{name}_kll": (name, add_quantiles) for name in quantiles},
        }
        self._tops = {t.name: partial(add_frequent, exact_keys=t.exactKeys) for t in rollup.top}
        self.sketches = {column: OpenMinutes() for column in self._sketched}
        """By column of the minutes table; rows are named by their dimensions."""
        self.tops = {name: OpenMinutes() for name in self._tops}
        """By the top-N's name."""

    def take_over(self, progress: Progress, *, paused: bool = False) -> None:
        horizon_ms = self.contract.time.duplicateHorizonSeconds * 1000
        self.states[progress.partition] = PartitionState(progress, horizon_ms // GENERATIONS, paused=paused)
        limit = self.contract.dead_letters
        self._limits[progress.partition] = _Limit(limit.perSeconds, limit.limit)

    def open_from(self, progress: Progress) -> int | None:
        """The first minute (epoch ms) whose measures this partition can still change; None before its first event."""
        if progress.watermark is None:
            return None
        return (progress.watermark - self.contract.lateness_ms) // MINUTE_MS * MINUTE_MS

    def check(self, records: Records) -> Checked:
        """The part that needs no state, and may run ahead in a thread of its own. Raises RegistryUnavailable."""
        decoded = self._decoder.decode(records.payloads)
        events, broken = self._validate(decoded.frame, decoded.bounds, records)
        rejected = sorted(decoded.rejected + broken, key=lambda r: r.row)
        reference = self.reference
        values = (reference.enrich(events) if reference else events).select(
            ROW,
            pl.col(self.contract.event_id).hash().alias(_HASH),
            pl.col(self.contract.event_time).to_physical().alias(_TIME),
            *self._plan.values,
        )
        distinct = [pl.Series(d.name, coupons(values[d.name])) for d in self.contract.rollup.distinct]
        values = values.with_columns(distinct)
        return Checked(records.positions, values, rejected, {r.row: records.raw(r.row) for r in rejected})

    def judge(self, checked: Checked) -> Delta:
        """What becomes of each record. Batches must be given in the order in which they were read."""
        values, rejected, records = checked.values, checked.rejected, checked.positions
        rejected_rows = np.array([r.row for r in rejected], np.int64)
        rows = values[ROW].to_numpy().astype(np.int64)
        hashes, times = values[_HASH].to_numpy(), values[_TIME].to_numpy()
        verdicts = np.zeros((3, len(rows)), np.bool_)
        partitions: list[PartitionDelta] = []
        kept_rejected: list[int] = []
        earliest: int | None = None
        for partition in sorted(first_rows(records.partitions)):
            state = self.states.get(partition)
            if state is None or state.paused:
                continue
            mine = records.partitions == partition
            new = mine & (records.offsets >= state.progress.next_offset)
            dead = np.flatnonzero(new[rejected_rows]) if len(rejected_rows) else rejected_rows
            pause, dead = self._apply_limit(state, dead, rejected_rows, new)
            kept_rejected += dead.tolist()
            valid = np.flatnonzero(mine[rows])
            replayed = valid[records.offsets[rows[valid]] < state.progress.next_offset]
            state.remember(hashes[replayed], records.offsets[rows[replayed]])
            valid = valid[new[rows[valid]]]
            if not new.any() and pause is None:
                continue
            earliest = records.earliest_ingest_ms
            verdict = judge(state, hashes[valid], times[valid], self.contract.lateness_ms)
            verdicts[0, valid] = ~(verdict.duplicate | verdict.late)
            verdicts[1, valid] = verdict.late
            verdicts[2, valid] = verdict.duplicate
            before, seen = state.progress, int(new.sum())
            end = int(records.offsets[new][-1]) + 1 if seen else before.next_offset
            after = state.advance(end, verdict.watermark, records.offsets[rows[valid]], verdict.generations)
            partitions.append(
                PartitionDelta(
                    before,
                    after,
                    counted=int(verdicts[0, valid].sum()),
                    late=int(verdict.late.sum()),
                    duplicates=int(verdict.duplicate.sum()),
                    dead_letters=len(dead),
                    skipped=after.next_offset - before.next_offset - seen,
                    pause=pause,
                )
            )
        partitions += self._advance_idle(records.idle, {p.after.partition for p in partitions})
        minutes, tops = self._roll_up(values, records.partitions[rows], verdicts)
        self._close_minutes()
        return Delta(
            partitions,
            minutes,
            tops,
            [DeadLetter(checked.raw[r.row], r.reason, r.detail) for r in (rejected[i] for i in sorted(kept_rejected))],
            earliest,
        )

    def _validate(self, frame: pl.DataFrame, known: Bounds, records: Records) -> tuple[pl.DataFrame, list[Rejected]]:
        """Splits off the rows that break a rule of the contract or come from the future."""
        event_time = pl.col(self.contract.event_time).to_physical()
        tolerated = self.contract.time.futureToleranceSeconds * 1000
        asked = [r.anywhere for r in self._rules if not r.kept_by(known)]
        broken, latest = frame.select(pl.any_horizontal(False, *asked).alias("broken"), event_time.max()).row(0)
        rejected: list[Rejected] = []
        if broken:
            flags = frame.select(ROW, *(r.expr.alias(str(i)) for i, r in enumerate(self._rules)))
            bad = flags.filter(pl.any_horizontal(pl.exclude(ROW)))
            for row, *broke in bad.iter_rows():
                rejected.append(Rejected(row, "contract", self._rules[broke.index(True)].name))
        earliest = records.positions.earliest_ingest_ms
        if latest is not None and latest > earliest + tolerated:
            wrong = [r.row for r in rejected]
            ahead = frame.filter(event_time > earliest + tolerated, ~pl.col(ROW).is_in(wrong))
            rows = ahead[ROW].to_numpy().astype(np.int64)
            excess = ahead.select(event_time).to_series().to_numpy() - records.ingest_ms(rows) - tolerated
            for row, ms in zip(rows[excess > 0].tolist(), excess[excess > 0].tolist(), strict=True):
                detail = f"{self.contract.event_time} is {ms} ms past what the broker's clock allows"
                rejected.append(Rejected(row, "future", detail))
        if rejected:
            frame = frame.filter(~pl.col(ROW).is_in([r.row for r in rejected]))
        return frame, rejected

    def _apply_limit(
        self, state: PartitionState, dead: Int64s, rejected_rows: Int64s, new: Bools
    ) -> tuple[str | None, Int64s]:
        """Pauses the partition before the first dead letter over the limit: the rows from there on are no longer
        new.
        """
        limit, now = self._limits[state.progress.partition], self._clock()
        left = limit.left(now)
        pause = None
        if len(dead) > left:
            new[rejected_rows[dead[left]] :] = False
            dead = dead[:left]
            state.paused = True
            pause = f"more than {limit.limit} dead letters in {limit.seconds} s"
        if len(dead):
            limit.noted.append((now, len(dead)))
        return pause, dead

    def _advance_idle(self, idle: dict[int, int], done: set[int]) -> list[PartitionDelta]:
        deltas: list[PartitionDelta] = []
        nothing = np.array([], np.int64)
        for partition, complete_to in idle.items():
            state = self.states.get(partition)
            if state is None or partition in done or state.paused:
                continue
            before = state.progress
            if before.watermark is not None and complete_to > before.watermark:
                deltas.append(PartitionDelta(before, state.advance(before.next_offset, complete_to, nothing, nothing)))
        return deltas

    def _roll_up(
        self, values: pl.DataFrame, partitions: Int64s, verdicts: Any
    ) -> tuple[pl.DataFrame, list[tuple[int, int, str, bytes]]]:
        judged = values.with_columns(
            pl.Series(PARTITION, partitions),
            *(pl.Series(name, verdicts[i]) for i, name in enumerate((COUNTED, LATE, DUPLICATE))),
        )
        if not verdicts.any(axis=0).all():
            judged = judged.filter(pl.any_horizontal(COUNTED, LATE, DUPLICATE))
        rolled = self._plan.roll_up_values(judged)
        minutes = rolled.minutes
        keys = minutes.select(PARTITION, MINUTE, *self.contract.dimension_names).rows()
        columns: list[pl.Series] = []
        for column, (name, add) in self._sketched.items():
            opened = self.sketches[column]
            new = add(opened.get(keys), minutes[VALUES + name])
            opened.put(keys, new)
            columns.append(pl.Series(column, new, dtype=pl.Binary))
        wanted = [c for c in minutes.columns if not c.startswith(VALUES)]
        made = minutes.select(wanted).with_columns(columns)
        return made.sort(MINUTE, *self.contract.dimension_names, PARTITION), self._roll_up_tops(rolled.tops)

    def _roll_up_tops(self, rolled: dict[str, pl.DataFrame]) -> list[tuple[int, int, str, bytes]]:
        tops: list[tuple[int, int, str, bytes]] = []
        for name, table in rolled.items():
            keys, opened = table.select(PARTITION, MINUTE).rows(), self.tops[name]
            new = self._tops[name](opened.get(keys), table[KEYS], table[WEIGHTS])
            opened.put(keys, new)
            tops += [
                (minute, partition, name, data)
                for (partition, minute), data in zip(keys, new, strict=True)
                if data is not None
            ]
        return tops

    def _close_minutes(self) -> None:
        opened_from = {partition: self.open_from(state.progress) for partition, state in self.states.items()}
        firsts = {partition: first for partition, first in opened_from.items() if first is not None}
        for opened in (*self.sketches.values(), *self.tops.values()):
            opened.close_before(firsts)
