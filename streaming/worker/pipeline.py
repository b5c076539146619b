"""The speed layer's logic, from records to what one transaction writes. Talks to nothing but the schema registry's
cache.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from streamgauge.contract.model import Contract
from streamgauge.contract.rules import violations
from streamgauge.contract.text_bounds import Bounds
from streamgauge.records.decode import ROW, Decoded, Rejected, SchemaOf
from streamgauge.records.fetcher import RawRecord
from streamgauge.records.partitioner import misplaced
from streamgauge.records.record_decoder import RecordDecoder
from streamgauge.rollup.enrich import Reference
from streamgauge.rollup.plan import MINUTE_MS, picked
from streamgauge.rollup.pseudonyms import Pseudonyms
from streamgauge.state.arrivals import AHEAD, MISPLACED
from streamgauge.state.arrivals import LATE as ARRIVED_LATE
from streamgauge.telemetry.catalog import attributes as a
from streamgauge.telemetry.tracing import span
from streamgauge.types import Int64s, UInt8s, UInt64s
from streaming.worker import arrivals
from streaming.worker.arrivals import Arrivals, Observed
from streaming.worker.lookup import Lookup
from streaming.worker.open_minutes import OpenSketches
from streaming.worker.partition import PartitionState, Progress, Step, classify
from streaming.worker.records import Positions, Records
from streaming.worker.rollup import COUNTED, DUPLICATE, LATE, SKIPPED, Rollup, RollupInput, TopRow
from streaming.worker.seen import GENERATIONS


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

    def then(self, next_: "PartitionDelta") -> "PartitionDelta":
        """Both steps as one."""
        return PartitionDelta(
            self.before,
            next_.after,
            self.counted + next_.counted,
            self.late + next_.late,
            self.duplicates + next_.duplicates,
            self.dead_letters + next_.dead_letters,
            self.skipped + next_.skipped,
            next_.pause,
        )


@dataclass(frozen=True)
class Delta:
    """What one transaction adds.

    `minutes` has a column for each of the minutes table but `upto`; `minute` in epoch ms, sketches as bytes or
    null.
    """

    partitions: list[PartitionDelta]
    minutes: pl.DataFrame
    tops: list[TopRow]
    dead_letters: list[DeadLetter]
    arrivals: list[Arrivals]
    earliest_ingest_ms: int | None
    """Of the new records; None where there was none."""


@dataclass(frozen=True)
class Checked:
    """What is left of a batch when its bytes are no longer needed.

    Of each valid event: its row in the batch, its id's hash, its time (epoch ms), and what the rollup needs of it.
    """

    positions: Positions
    rows: Int64s
    hashes: UInt64s
    times: Int64s
    rollup_input: RollupInput
    rejected: list[Rejected]
    raw: dict[int, RawRecord]
    observed: Observed


@dataclass(frozen=True)
class _Pause:
    """`row` is the first that is left where it is."""

    row: int
    reason: str


@dataclass
class _DeadLetterLimit:
    """Dead letters of one partition over the contract's span of time."""

    seconds: int
    limit: int
    recent: deque[tuple[float, int]] = field(default_factory=deque[tuple[float, int]])

    def left(self, now: float) -> int:
        while self.recent and self.recent[0][0] <= now - self.seconds:
            self.recent.popleft()
        return self.limit - sum(n for _, n in self.recent)


@dataclass(frozen=True)
class StateSize:
    """What a pipeline remembers: event ids (those that the next growth drops included), and the sketches of minutes
    that may still change.
    """

    ids: int
    id_bytes: int
    minutes: int
    sketches: int
    sketch_bytes: int


_NO_ROWS = slice(0, 0)


class Pipeline:
    """One worker's share of a stream: the partitions it owns, and their open minutes."""

    def __init__(
        self,
        contract: Contract,
        schema_of: SchemaOf,
        pseudonyms: Pseudonyms,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.contract = contract
        self.states: dict[int, PartitionState] = {}
        self.rollup = Rollup(contract, pseudonyms)
        self._clock = clock
        self._limits: dict[int, _DeadLetterLimit] = {}
        self._decoder = RecordDecoder(contract, schema_of, picked(contract))
        self._rules = violations(contract)
        self._lookup = Lookup(Reference.empty(contract.reference)) if contract.reference else None

    def enrich_by(self, reference: Reference | None) -> None:
        """From the next batch on."""
        self._lookup = None if reference is None else Lookup(reference)

    def take_over(self, progress: Progress, held: OpenSketches | None = None, *, paused: bool = False) -> None:
        """`held` are the stored sketches of the partition's minutes from `open_from` on."""
        horizon_ms = self.contract.time.duplicateHorizonSeconds * 1000
        self.states[progress.partition] = PartitionState(progress, horizon_ms // GENERATIONS, paused=paused)
        limit = self.contract.dead_letters
        self._limits[progress.partition] = _DeadLetterLimit(limit.perSeconds, limit.limit)
        if held is not None:
            self.rollup.restore(held)

    def open_from(self, progress: Progress) -> int | None:
        """The first minute (epoch ms) whose measures this partition can still change; None before its first event."""
        if progress.watermark is None:
            return None
        return (progress.watermark - self.contract.lateness_ms) // MINUTE_MS * MINUTE_MS

    def state_size(self) -> StateSize:
        """May be asked from another thread, while the pipeline works."""
        seen = [state.seen for state in list(self.states.values())]
        opened = [o.size() for o in (*self.rollup.sketches.values(), *self.rollup.tops.values())]
        return StateSize(
            ids=sum(s.ids for s in seen),
            id_bytes=sum(s.bytes for s in seen),
            minutes=max((cells for cells, _, _ in opened), default=0),
            sketches=sum(sketches for _, sketches, _ in opened),
            sketch_bytes=sum(size for _, _, size in opened),
        )

    def check(self, records: Records) -> Checked:
        """The part that needs no state, and may run ahead in a thread of its own. Raises RegistryUnavailable."""
        given = {a.RECORDS.name: len(records.positions), a.BYTES.name: records.payloads.bytes}
        with span("decode", given):
            decoded = self._decoder.decode(records.payloads, records.positions.partitions, records.positions.offsets)
        with span("check", {a.RECORDS.name: decoded.frame.height}) as checking:
            checked = self._check(records, decoded)
            verdicts = {a.EVENTS.name: len(checked.rows), a.DEAD_LETTERS.name: len(checked.rejected)}
            checking.set_attributes(verdicts)
        return checked

    def _check(self, records: Records, decoded: Decoded) -> Checked:
        events, broken = self._validate(decoded.frame, decoded.bounds, records)
        rejected = sorted(decoded.rejected + broken, key=lambda r: r.row)
        rows = events[ROW].to_numpy().astype(np.int64)
        times = events[self.contract.event_time].to_physical().to_numpy()
        partitions = records.positions.partitions
        return Checked(
            records.positions,
            rows,
            events[self.contract.event_id].hash().to_numpy(),
            times,
            self.rollup.extract(events, times, partitions[rows], self._lookup),
            rejected,
            {r.row: records.raw(r.row) for r in rejected},
            arrivals.observe(self._found(records, rows, times), partitions, records.headers),
        )

    def _found(self, records: Records, rows: Int64s, times: Int64s) -> dict[str, Int64s]:
        """Rows by what is observed of how they arrived; of late ones, those that may be."""
        ingest = records.positions.ingest_ms[rows]
        found = {
            AHEAD: rows[times > ingest + arrivals.AHEAD_MS],
            ARRIVED_LATE: rows[times + self.contract.lateness_ms < ingest],
        }
        if self.contract.own_topic is not None:
            count = self.contract.own_topic.partitions
            found[MISPLACED] = np.flatnonzero(misplaced(records.keys, records.positions.partitions, count))
        return found

    def aggregate(self, parts: Sequence[Checked]) -> Delta:
        """What becomes of the records of batches that follow each other. They must be given in the order in which they
        were read.
        """
        deltas: dict[int, PartitionDelta] = {}
        letters: list[DeadLetter] = []
        verdicts: list[UInt8s] = []
        arrived: list[Arrivals] = []
        earliest: list[int] = []
        for part in parts:
            verdict = np.full(len(part.rows), SKIPPED, np.uint8)
            verdicts.append(verdict)
            for partition, rows in part.positions.slices():
                delta, new, dead = self._classify_partition(part, partition, rows, verdict)
                letters += dead
                if delta is not None:
                    deltas[partition] = delta if partition not in deltas else deltas[partition].then(delta)
                if new.stop > new.start:
                    late = arrivals.within(part.rows[verdict == LATE], new)
                    arrived += arrivals.arrivals(part.observed, partition, new, late, part.positions.offsets)
                    earliest.append(int(part.positions.ingest_ms[new].min()))
        idle = {partition: at for part in parts for partition, at in part.positions.idle.items()}
        moved = [*deltas.values(), *self._advance_idle(idle, deltas)]
        minutes, tops = self.rollup.add([part.rollup_input for part in parts], verdicts, self._open_from())
        return Delta(moved, minutes, tops, letters, arrivals.together(arrived), min(earliest, default=None))

    def _classify_partition(
        self, part: Checked, partition: int, rows: slice, verdict: UInt8s
    ) -> tuple[PartitionDelta | None, slice, list[DeadLetter]]:
        """One partition's records of a batch, and which rows of it are new. Fills its part of `verdict`; None where
        nothing changes.
        """
        state = self.states.get(partition)
        if state is None or state.paused:
            return None, _NO_ROWS, []
        offsets, before = part.positions.offsets, state.progress
        first = rows.start + int(np.searchsorted(offsets[rows], before.next_offset))
        dead = [r for r in part.rejected if first <= r.row < rows.stop]
        dead, pause = self._apply_limit(state, dead)
        stop = rows.stop if pause is None else pause.row
        begin, middle, end = np.searchsorted(part.rows, (rows.start, first, stop)).tolist()
        state.remember(part.hashes[begin:middle], offsets[part.rows[begin:middle]])
        if first == stop and pause is None:
            return None, _NO_ROWS, []
        new = slice(middle, end)
        ingest = part.positions.ingest_ms[part.rows[new]]
        if self.contract.source is not None:
            # a producer's clock that is ahead must not make everybody else's events late
            ingest = np.minimum(ingest, part.positions.read_ms)
        found = classify(state, part.hashes[new], part.times[new], ingest, self.contract.lateness_ms)
        verdict[new] = np.where(found.duplicate, DUPLICATE, np.where(found.late, LATE, COUNTED))
        next_offset = int(offsets[stop - 1]) + 1 if stop > first else before.next_offset
        after = state.advance(next_offset, found.step, offsets[part.rows[new]])
        late, duplicates = int(found.late.sum()), int(found.duplicate.sum())
        delta = PartitionDelta(
            before,
            after,
            counted=end - middle - late - duplicates,
            late=late,
            duplicates=duplicates,
            dead_letters=len(dead),
            skipped=after.next_offset - before.next_offset - (stop - first),
            pause=None if pause is None else pause.reason,
        )
        return delta, slice(first, stop), [DeadLetter(part.raw[r.row], r.reason, r.detail) for r in dead]

    def _validate(self, frame: pl.DataFrame, bounds: Bounds, records: Records) -> tuple[pl.DataFrame, list[Rejected]]:
        """Splits off the rows that break a rule of the contract or come from the future."""
        event_time = pl.col(self.contract.event_time).to_physical()
        tolerated = self.contract.time.futureToleranceSeconds * 1000
        asked = [r.anywhere for r in self._rules if not r.kept_by(bounds)]
        broken, latest = frame.select(pl.any_horizontal(False, *asked).alias("broken"), event_time.max()).row(0)
        rejected: list[Rejected] = []
        if broken:
            flags = frame.select(ROW, *(r.expr.alias(str(i)) for i, r in enumerate(self._rules)))
            bad = flags.filter(pl.any_horizontal(pl.exclude(ROW)))
            for row, *broke in bad.iter_rows():
                rejected.append(Rejected(row, "contract", self._rules[broke.index(True)].name))
        ingest_ms = records.positions.ingest_ms
        earliest = int(ingest_ms.min(initial=2**62))
        if latest is not None and latest > earliest + tolerated:
            wrong = [r.row for r in rejected]
            ahead = frame.filter(event_time > earliest + tolerated, ~pl.col(ROW).is_in(wrong))
            rows = ahead[ROW].to_numpy().astype(np.int64)
            excess = ahead.select(event_time).to_series().to_numpy() - ingest_ms[rows] - tolerated
            for row, ms in zip(rows[excess > 0].tolist(), excess[excess > 0].tolist(), strict=True):
                detail = f"{self.contract.event_time} is {ms} ms past what the broker's clock allows"
                rejected.append(Rejected(row, "future", detail))
        if rejected:
            frame = frame.filter(~pl.col(ROW).is_in([r.row for r in rejected]))
        return frame, rejected

    def _apply_limit(self, state: PartitionState, dead: list[Rejected]) -> tuple[list[Rejected], "_Pause | None"]:
        """Pauses the partition before the first dead letter over the limit."""
        limit, now = self._limits[state.progress.partition], self._clock()
        left = limit.left(now)
        pause = None
        if len(dead) > left:
            state.paused = True
            pause = _Pause(dead[left].row, f"more than {limit.limit} dead letters in {limit.seconds} s")
            dead = dead[:left]
        if dead:
            limit.recent.append((now, len(dead)))
        return dead, pause

    def _advance_idle(self, idle: Mapping[int, int], done: Mapping[int, PartitionDelta]) -> list[PartitionDelta]:
        deltas: list[PartitionDelta] = []
        for partition, complete_to in idle.items():
            state = self.states.get(partition)
            if state is None or partition in done or state.paused:
                continue
            before = state.progress
            if before.watermark is not None and complete_to > before.watermark:
                step = Step.idle(before, complete_to)
                deltas.append(PartitionDelta(before, state.advance(before.next_offset, step, step.generations)))
        return deltas

    def _open_from(self) -> dict[int, int]:
        opened_from = {partition: self.open_from(state.progress) for partition, state in self.states.items()}
        return {partition: first for partition, first in opened_from.items() if first is not None}
