"""Is every record accounted for? Counted by their positions in Kafka, so that two mistakes can't cancel out."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from quality.masking import Masker
from quality.outcome import SAMPLES, CheckOutcome, Sample, verdict
from streamgauge.contract.model import Contract
from streamgauge.stores.lake import OFFSET, PARTITION
from streamgauge.text import number, plural

COMPLETENESS, OFFSETS, BOOKS = "completeness", "offsets", "books"
_POSITION = (PARTITION, OFFSET)


@dataclass(frozen=True)
class Outputs:
    """Positions of what was made of an hour of event time."""

    facts: pl.DataFrame
    duplicates: pl.DataFrame
    quarantine: pl.DataFrame


def check_completeness(
    contract: Contract, lake: pl.DataFrame, outputs: Outputs, late: int, masker: Masker, *, moving: bool
) -> CheckOutcome:
    """`lake`: positions of all records that the hour answers for. `late`: those of them the speed layer left to us.
    `moving`: the lake got more of them since the facts were built, and the hour will be built again.
    """
    spec = contract.checks.completeness
    columns = [pl.col(PARTITION).cast(pl.Int32), pl.col(OFFSET).cast(pl.Int64)]
    parts = (outputs.facts, outputs.duplicates, outputs.quarantine)
    built = pl.concat([part.select(columns) for part in parts])
    expected = lake.select(columns)
    missing = expected.join(built, on=_POSITION, how="anti")
    foreign = built.join(expected, on=_POSITION, how="anti")
    twice = built.filter(built.is_duplicated()).unique()
    kept = expected.height - missing.height
    ratio = kept / expected.height if expected.height else 1.0
    wrong = {"missing": missing, "not in the lake": foreign, "in two places": twice}
    samples = [s for rule, rows in wrong.items() for s in masker.samples(rows.sort(_POSITION), rule)]
    passed = ratio >= spec.minimum and foreign.is_empty() and twice.is_empty()
    return CheckOutcome(
        COMPLETENESS,
        "unknown" if moving and not passed else verdict(passed),
        spec.severity,
        observed=f"{ratio:.4%} of the lake's records"
        + "".join(f", {r.height} {n}" for n, r in wrong.items() if r.height),
        expected=f"at least {spec.minimum:.4%}, each once",
        failing=missing.height + foreign.height + twice.height,
        denominator=expected.height,
        samples=tuple(samples[:SAMPLES]),
        details={
            "facts": outputs.facts.height,
            "duplicates": outputs.duplicates.height,
            "quarantined": outputs.quarantine.height,
            "late for the speed layer": late,
        },
    )


@dataclass(frozen=True)
class HourBook:
    """An hour of ingest time of one partition, as `lake_hours` has it. `follows`: where the hours before it ended."""

    partition: int
    from_offset: int
    to_offset: int
    follows: int | None


def check_offsets(contract: Contract, lake: pl.DataFrame, books: Iterable[HourBook]) -> CheckOutcome:
    """Every offset that the broker gave out in this hour is in the lake once, and no offset lies between two hours."""
    by_partition = {b.partition: b for b in books}
    found = lake.group_by(PARTITION).agg(
        pl.len().alias("rows"),
        pl.col(OFFSET).n_unique().alias("unique"),
        pl.min(OFFSET).alias("first"),
        pl.max(OFFSET).alias("last"),
    )
    rows = {partition: rest for partition, *rest in found.rows()}
    failing = 0
    samples: list[Sample] = []

    def fault(rule: str, partition: int, offset: int, count: int) -> None:
        nonlocal failing
        failing += count
        samples.append(Sample(rule, contract.topic, partition, offset))

    for partition in sorted(by_partition.keys() | rows.keys()):
        book = by_partition.get(partition)
        count, unique, first, last = rows.get(partition, [0, 0, None, None])
        if book is None:
            fault("in the lake and not in the books", partition, first or 0, count)
            continue
        expected = book.to_offset - book.from_offset
        if book.follows is not None and book.from_offset > book.follows:
            fault("offsets left out before this hour", partition, book.follows, book.from_offset - book.follows)
        if count > unique:
            fault("offsets twice in the lake", partition, book.from_offset, count - unique)
        if unique != expected:
            fault("offsets missing or too many", partition, book.from_offset, abs(expected - unique))
        elif expected and (first != book.from_offset or last != book.to_offset - 1):
            fault("other offsets than the books say", partition, book.from_offset, expected)
    acknowledged = sum(b.to_offset - b.from_offset for b in by_partition.values())
    return CheckOutcome(
        OFFSETS,
        verdict(not failing),
        contract.checks.offsets.severity,
        observed=f"{lake.height} records in {len(rows)} partitions" + (f", {failing} offsets wrong" if failing else ""),
        expected=f"{acknowledged} records, the broker's offsets of this hour, each once",
        failing=failing,
        denominator=acknowledged,
        samples=tuple(samples[:SAMPLES]),
    )


@dataclass(frozen=True)
class Books:
    """A stream's books in one moment, in both layers."""

    consumed: int
    counted: int
    late: int
    duplicates: int
    dead_letters: int
    lake: int
    gaps: int
    """Offsets between the lake's first and last that it hasn't."""
    facts: int
    batch_duplicates: int
    quarantined: int
    due_hours: int
    """Hours of event time whose facts are not built from all of their lake rows yet."""
    lake_until: datetime | None = None
    """The end of the lake's last hour of ingest time."""

    @property
    def not_in_lake(self) -> int:
        """Records that the worker has read and the lake has not taken yet."""
        return max(0, self.consumed - self.lake)


def check_books(contract: Contract, books: Books) -> CheckOutcome:
    """acknowledged = counted + late + duplicates + dead letters, and the lake's = facts + duplicates + quarantine."""
    spec = contract.checks.books
    speed = books.counted + books.late + books.duplicates + books.dead_letters
    batch = books.facts + books.batch_duplicates + books.quarantined
    off = [abs(books.consumed - speed), books.gaps, 0 if books.due_hours else abs(books.lake - batch)]
    unknown = books.due_hours and not any(off)
    holes = f", {books.gaps} missing in the lake" if books.gaps else ""
    waiting = f"; {plural(books.due_hours, 'hour')} not built yet" if books.due_hours else ""
    if books.not_in_lake:
        waiting += f"; {plural(books.not_in_lake, 'record')} not in the lake yet"
    until = f"{books.lake_until:%Y-%m-%d %H:%M} UTC" if books.lake_until else ""
    return CheckOutcome(
        BOOKS,
        "unknown" if unknown else verdict(not any(off)),
        spec.severity,
        observed=f"speed {number(speed)} of {number(books.consumed)}, batch {number(batch)} of {number(books.lake)}"
        f"{holes}{waiting}",
        expected="both layers account for every record that they have taken in",
        failing=sum(off),
        denominator=books.consumed + books.lake,
        details={
            "acknowledged to the worker": books.consumed,
            "counted": books.counted,
            "late": books.late,
            "duplicates": books.duplicates,
            "dead letters": books.dead_letters,
            "in the lake": books.lake,
            "facts": books.facts,
            "duplicates of the batch layer": books.batch_duplicates,
            "quarantined": books.quarantined,
            "hours not built": books.due_hours,
            "not in the lake yet": books.not_in_lake,
            "lake until": until,
        },
    )
