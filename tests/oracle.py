"""What a stream's log means, in a plain loop: slow, and meant to be obviously right.

The worker must come to the same whatever the batch borders, restarts and rebalances were. Shares no code with it:
records are read by fastavro, and the contract's rules are written out once more.
"""

import hashlib
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from typing import Any, cast

import polars as pl

from streamgauge.contract.model import NO_VALUE, Contract, FieldSpec, Source
from streamgauge.records.avro import parse, read_record

MINUTE_MS = 60_000
GENERATIONS = 4
EARLIEST = int(datetime(1, 1, 1, tzinfo=UTC).timestamp()) * 1000
LATEST = int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()) * 1000 + 999

SECRET = "what the pseudonyms of tests come of"

Reference = Mapping[str, Mapping[str, str]]
"""The columns of a contract's reference table, by its key."""

Key = tuple[int, tuple[str, ...], int]
"""Minute (epoch ms), dimensions in the contract's order, partition."""


@dataclass(frozen=True)
class LogRecord:
    partition: int
    offset: int
    value: bytes | None
    ingest_ms: int


@dataclass(frozen=True)
class Idle:
    """The partition was read to its end and found idle: believed complete up to `complete_to_ms`."""

    partition: int
    complete_to_ms: int


@dataclass
class Minute:
    """One row of the minutes table. `values` by measure, with the `times` (epoch ms) of their events, and `distinct` by
    name hold everything that was counted.
    """

    count: int = 0
    late: int = 0
    duplicates: int = 0
    values: dict[str, list[float]] = field(default_factory=lambda: defaultdict[str, list[float]](list))
    times: dict[str, list[int]] = field(default_factory=lambda: defaultdict[str, list[int]](list))
    distinct: dict[str, set[str]] = field(default_factory=lambda: defaultdict[str, set[str]](set))

    def last(self, measure: str) -> tuple[float | None, int | None]:
        """The value of the latest event that has one, of several the greatest; and that event's time."""
        pairs = zip(self.times.get(measure, []), self.values.get(measure, []), strict=True)
        time, value = max(pairs, default=(None, None))
        return value, time

    def add(self, other: "Minute") -> None:
        self.count += other.count
        self.late += other.late
        self.duplicates += other.duplicates
        for name, values in other.values.items():
            self.values[name] += values
            self.times[name] += other.times[name]
        for name, members in other.distinct.items():
            self.distinct[name] |= members


@dataclass
class Totals:
    """What became of one partition's records."""

    next_offset: int = 0
    counted: int = 0
    late: int = 0
    duplicates: int = 0
    dead_letters: int = 0
    watermark: int | None = None


@dataclass
class Expected:
    minutes: dict[Key, Minute] = field(default_factory=lambda: defaultdict[Key, Minute](Minute))
    tops: dict[tuple[int, str, int], Counter[str]] = field(
        default_factory=lambda: defaultdict[tuple[int, str, int], Counter[str]](Counter)
    )
    """By minute (epoch ms), name of the top-N and partition."""
    partitions: dict[int, Totals] = field(default_factory=lambda: defaultdict[int, Totals](Totals))
    verdicts: dict[tuple[int, int], str] = field(default_factory=dict[tuple[int, int], str])
    """By partition and offset: counted, late, duplicate, or a dead letter's reason."""

    @property
    def watermark(self) -> int | None:
        """The stream's: the earliest of the partitions that ever had an event."""
        return min((t.watermark for t in self.partitions.values() if t.watermark is not None), default=None)

    def minutes_of_stream(self) -> dict[tuple[int, tuple[str, ...]], Minute]:
        summed: dict[tuple[int, tuple[str, ...]], Minute] = defaultdict(Minute)
        for (minute, dimensions, _), row in self.minutes.items():
            summed[minute, dimensions].add(row)
        return dict(summed)

    def tops_of_stream(self) -> dict[tuple[int, str], Counter[str]]:
        summed: dict[tuple[int, str], Counter[str]] = defaultdict(Counter)
        for (minute, name, _), counts in self.tops.items():
            summed[minute, name] += counts
        return dict(summed)

    def total(self, verdict: str) -> int:
        """`counted`, `late`, `duplicates` or `dead_letters`, over all partitions."""
        return sum(getattr(t, verdict) for t in self.partitions.values())


def from_ledger(ledger: pl.DataFrame) -> list[LogRecord]:
    """The log that a ledger stands for: it holds all that was acknowledged."""
    columns = ledger.sort("partition", "offset").select("partition", "offset", "value", "ingest_ms")
    return [LogRecord(*row) for row in columns.iter_rows()]


def play(
    contract: Contract,
    log: Iterable[LogRecord | Idle],
    schemas: Mapping[int, dict[str, Any]],
    reference: Reference | None = None,
    secret: str = SECRET,
) -> Expected:
    """Plays a log through the contract.

    `log`: each partition's records in offset order; how partitions are interleaved makes no difference. `schemas`: the
    registry's schemas by id, as dicts. `reference`: the columns of the contract's reference table by its key. `secret`:
    what pseudonyms come of. The dead-letter limit is not played: no partition pauses. Gaps between offsets are taken as
    they are.
    """
    expected = Expected()
    seen: dict[int, dict[str, int]] = defaultdict(dict)
    generation_ms = contract.time.duplicateHorizonSeconds * 1000 // GENERATIONS
    for entry in log:
        totals = expected.partitions[entry.partition]
        if isinstance(entry, Idle):
            if totals.watermark is not None:
                totals.watermark = max(totals.watermark, entry.complete_to_ms)
            continue
        totals.next_offset = entry.offset + 1
        position = entry.partition, entry.offset
        event = read(contract, entry, schemas)
        if isinstance(event, str):
            totals.dead_letters += 1
            expected.verdicts[position] = event
            continue

        at, before = event[contract.event_time], totals.watermark
        moves_to = min(at, entry.ingest_ms)
        watermark = moves_to if before is None else max(before, moves_to)
        totals.watermark = watermark
        generation = watermark // generation_ms
        last_seen = seen[entry.partition].get(event[contract.event_id])
        seen[entry.partition][event[contract.event_id]] = generation
        row = expected.minutes[_key(contract, event, reference, entry.partition, secret)]
        if last_seen is not None and generation - last_seen <= GENERATIONS:
            totals.duplicates += 1
            row.duplicates += 1
            expected.verdicts[position] = "duplicate"
            continue
        if before is not None and at < before - contract.lateness_ms:
            totals.late += 1
            row.late += 1
            expected.verdicts[position] = "late"
            continue
        totals.counted += 1
        expected.verdicts[position] = "counted"
        _count(contract, event, reference, row, expected, entry.partition, secret)
    return expected


def _key(contract: Contract, event: dict[str, Any], reference: Reference | None, partition: int, secret: str) -> Key:
    dimensions = tuple(
        NO_VALUE if (v := shown_of(contract, event, d, reference, secret)) is None else v
        for d in contract.rollup.dimensions
    )
    return event[contract.event_time] // MINUTE_MS * MINUTE_MS, dimensions, partition


def _count(
    contract: Contract,
    event: dict[str, Any],
    reference: Reference | None,
    row: Minute,
    expected: Expected,
    partition: int,
    secret: str,
) -> None:
    row.count += 1
    for d in contract.rollup.distinct:
        value = value_of(contract, event, d, reference)
        if value is not None:
            row.distinct[d.name].add(str(value))
    for m in contract.rollup.measures:
        number = number_of(value_of(contract, event, m, reference))
        if number is not None:
            row.values[m.name].append(number)
            row.times[m.name].append(event[contract.event_time])
    minute = event[contract.event_time] // MINUTE_MS * MINUTE_MS
    for t in contract.rollup.top:
        key = shown_of(contract, event, t, reference, secret)
        if key is not None:
            expected.tops[minute, t.name, partition][key] += 1


def shown_of(
    contract: Contract, event: dict[str, Any], source: Source, reference: Reference | None, secret: str
) -> str | None:
    """As rollups and top lists have it: what is personal as a pseudonym."""
    value = value_of(contract, event, source, reference)
    if value is None:
        return None
    f = contract.field.get(source.source.partition(".")[0])
    personal = f is not None and f.classification == "personal"
    return pseudonym(secret, contract.stream, str(value)) if personal else str(value)


def pseudonym(secret: str, stream: str, value: str) -> str:
    whole = hashlib.sha512(secret.encode()).digest()
    key = hashlib.blake2b(stream.encode(), key=whole, person=b"pseudonyms").digest()
    return "~" + hashlib.blake2b(value.encode(), key=key, digest_size=10).hexdigest()


def value_of(contract: Contract, event: dict[str, Any], source: Source, reference: Reference | None) -> Any:
    head, _, tail = source.source.partition(".")
    if not tail:
        return event[head]
    if head != "reference":
        text = cast(dict[str, str], event[head] or {}).get(tail)
        return None if text is None else text.replace("\0", "\ufffd")[:200]
    assert contract.reference is not None
    row = (reference or {}).get(event[contract.reference.key])
    return contract.reference.unknown if row is None else row[tail]


def number_of(value: Any) -> float | None:
    """Text from a map counts where it is a plain decimal number."""
    if value is None:
        return None
    if isinstance(value, str) and not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", value, re.ASCII):
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def read(contract: Contract, record: LogRecord, schemas: Mapping[int, dict[str, Any]]) -> dict[str, Any] | str:
    """The event, its time in epoch ms, or the reason why the record is a dead letter."""
    event = decode(contract, record, schemas)
    if isinstance(event, str):
        return event
    if any(not keeps(f, event[f.name]) for f in contract.fields):
        return "contract"
    if any(len({event[name] is None for name in rule.fields}) > 1 for rule in contract.together):
        return "contract"
    if event[contract.event_time] > record.ingest_ms + contract.time.futureToleranceSeconds * 1000:
        return "future"
    return event


def decode(contract: Contract, record: LogRecord, schemas: Mapping[int, dict[str, Any]]) -> dict[str, Any] | str:
    """The same before any rule is asked."""
    value = record.value
    if not value:
        return "empty"
    if len(value) < 5 or value[0] != 0:
        return "undecodable"
    schema = schemas.get(int.from_bytes(value[1:5], "big"))
    if schema is None:
        return "unknown_schema"
    stream = BytesIO(value[5:])
    try:
        written = read_record(stream, _parsed(schema))
    except Exception:
        return "undecodable"
    if stream.read(1):
        return "undecodable"
    event: dict[str, Any] = {}
    for f in contract.fields:
        if f.name not in written and f.required and f.default is None:
            return "undecodable"
        event[f.name] = written.get(f.name, f.default)
        if f.type == "string" and event[f.name] is not None and not isinstance(event[f.name], str):
            return "undecodable"
        if f.type == "int" and event[f.name] is not None and not -(2**31) <= event[f.name] < 2**31:
            return "undecodable"
    return event


_known: dict[int, tuple[Any, Any]] = {}
"""By identity: a schema, which is kept so that no other takes its place, and what it was parsed to."""


def _parsed(schema: dict[str, Any]) -> Any:
    if id(schema) not in _known:
        _known[id(schema)] = schema, parse(_without_logical_types(schema))
    return _known[id(schema)][1]


def _without_logical_types(node: Any) -> Any:
    """Else fastavro makes datetimes, which end in the year 9999."""
    if isinstance(node, list):
        return [_without_logical_types(n) for n in cast(list[Any], node)]
    if isinstance(node, dict):
        return {k: _without_logical_types(v) for k, v in cast(dict[str, Any], node).items() if k != "logicalType"}
    return node


def keeps(f: FieldSpec, value: Any) -> bool:
    """Does the value keep the field's rules? `$` in a pattern is the text's very end."""
    if value is None:
        return not f.required
    return not (
        (f.type == "timestamp-millis" and not EARLIEST <= value <= LATEST)
        or (f.type == "string" and "\0" in value)
        or (f.finite and not math.isfinite(value))
        or (f.min_length is not None and len(value) < f.min_length)
        or (f.max_length is not None and len(value) > f.max_length)
        or (f.pattern is not None and re.search(f.pattern.replace("$", r"\Z"), value) is None)
        or (f.minimum is not None and value < f.minimum)
        or (f.maximum is not None and value > f.maximum)
        or (f.allowed and value not in f.allowed)
    )


def java_partition(key: bytes, partitions: int) -> int:
    """Where the Java clients put a key."""
    return _murmur2(key) % partitions


def _murmur2(data: bytes) -> int:
    """org.apache.kafka.common.utils.Utils.murmur2"""
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    h = 0x9747B28C ^ len(data)
    whole = len(data) // 4 * 4
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * m & mask
        h = h * m & mask ^ (k ^ k >> 24) * m & mask
    if rest := data[whole:]:
        h = (h ^ int.from_bytes(rest, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return (h ^ h >> 15) & 0x7FFFFFFF
