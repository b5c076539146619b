"""The pipeline against the oracle: any log, cut into any batches, with restarts, crashes and rebalances anywhere."""

import math
from collections import defaultdict
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamgauge.contract.load import find_contract, load_contracts
from streamgauge.contract.model import TimeSpec
from streamgauge.records.avro import avro_schema, frame, parse, write_record
from streamgauge.records.fetcher import RawRecord
from streamgauge.records.payloads import Payloads
from streamgauge.rollup import sketches
from streamgauge.rollup.enrich import Reference
from streamgauge.rollup.pseudonyms import Pseudonyms
from streamgauge.settings import CHECKOUT
from streamgauge.state.arrivals import AHEAD, ALL, LATE, MISPLACED
from streamgauge.telemetry.tracing import PRODUCER
from streaming.worker.arrivals import AHEAD_MS, Arrivals
from streaming.worker.minute_rows import MinuteRows
from streaming.worker.open_minutes import OpenSketches
from streaming.worker.partition import Progress
from streaming.worker.pipeline import Delta, Pipeline
from streaming.worker.records import Positions, Records
from streaming.worker.rollup import sketch_columns
from tests.every_kind import every_kind
from tests.examples import examples
from tests.oracle import SECRET, Expected, Idle, LogRecord, decode, java_partition, play
from tests.personal import with_person

T0 = 1_700_000_040_000
PARTITIONS = range(3)
SCHEMA_ID = 7
CONTRACT = replace(
    with_person(every_kind(find_contract(load_contracts(CHECKOUT / "platform" / "contracts"), "user_events"))),
    time=TimeSpec(
        allowedLatenessSeconds=60, futureToleranceSeconds=300, duplicateHorizonSeconds=240, idleAfterSeconds=10
    ),
)
PSEUDONYMS = Pseudonyms(SECRET, CONTRACT.stream)
SCHEMA = avro_schema(CONTRACT)
PARSED = parse(SCHEMA)
REFERENCE = {"u1": {"kind": "bot", "organisation": "acme"}, "u2": {"kind": "human", "organisation": "acme"}}
assert CONTRACT.reference is not None
REFERENCE_TABLE = Reference(
    CONTRACT.reference, pl.DataFrame([{"key": key, **columns} for key, columns in REFERENCE.items()])
)


def encode(event_id: str, second: int, user: str, event_type: str, size: str) -> bytes:
    stream = BytesIO()
    event = {
        "event_id": event_id,
        "user_id": user,
        "event_type": event_type,
        "timestamp": T0 + second * 1000,
        "properties": {"size": size, "repo": "a/b"},
        "metadata": {},
        "schema_version": 1,
    }
    write_record(stream, PARSED, event)
    return frame(SCHEMA_ID) + stream.getvalue()


GOOD = encode("good", 0, "u1", "Push", "1")
BAD = [
    None,
    b"",
    b"\x00\x00",
    b"\x01" + GOOD[1:],
    frame(99) + GOOD[5:],
    GOOD[:-1],
    GOOD + b"\x00",
    GOOD.replace(b"good", b"\xff\xfe\xff\xfe"),
    encode("", 0, "u1", "Push", "1"),
    encode("x", 0, "u1", "push", "1"),
    encode("x", -T0 // 1000, "u1", "Push", "1"),
    encode("x", -2 * T0 // 1000, "u1", "Push", "1"),
    encode("x", 10_000_000, "u1", "Push", "1"),
    encode("x", 0, "u\0", "Push", "1"),
]


@dataclass(frozen=True)
class Send:
    """`ingest_second`: when the broker appended it, by a clock that may step back."""

    partition: int
    value: bytes | None
    ingest_second: int = 1_500


@dataclass(frozen=True)
class Batch:
    """Each worker takes what it has not yet taken, checked in so many parts that share a transaction; `lost` says its
    commit never reaches Postgres, and it dies.
    """

    lost: bool = False
    parts: int = 1


@dataclass(frozen=True)
class Rebalance:
    owners: tuple[int, ...]


@dataclass(frozen=True)
class Silence:
    partition: int
    second: int


events = st.builds(
    encode,
    st.sampled_from([f"id{i}" for i in range(8)]),
    st.integers(0, 420),
    st.sampled_from(["u1", "u2", "u3"]),
    st.sampled_from(["Push", "Fork"]),
    st.sampled_from(["1", "2.5", "many", ""]),
)
partitions = st.sampled_from(list(PARTITIONS))
appended = st.integers(-30, 450)
steps = st.lists(
    st.one_of(
        st.builds(Send, partitions, events, appended),
        st.builds(Send, partitions, events),
        st.builds(Send, partitions, st.sampled_from(BAD), appended),
        st.builds(Batch, st.booleans(), st.integers(1, 3)),
        st.builds(Rebalance, st.tuples(*(st.integers(0, 1) for _ in PARTITIONS))),
        st.builds(Silence, partitions, st.integers(0, 420)),
    ),
    max_size=60,
)


@dataclass
class Postgres:
    """What the tables hold, kept as the worker's transaction keeps it: counts added, sketches replaced."""

    progress: dict[int, Progress] = field(default_factory=lambda: {p: Progress(p, 0, 0, None) for p in PARTITIONS})
    totals: dict[int, list[int]] = field(default_factory=lambda: {p: [0, 0, 0, 0] for p in PARTITIONS})
    minutes: dict[tuple[Any, ...], dict[str, Any]] = field(default_factory=dict[tuple[Any, ...], dict[str, Any]])
    tops: dict[tuple[int, str, int], bytes] = field(default_factory=dict[tuple[int, str, int], bytes])
    arrived: dict[tuple[int, str], Arrivals] = field(default_factory=dict[tuple[int, str], Arrivals])
    dead: dict[tuple[int, int], str] = field(default_factory=dict[tuple[int, int], str])

    def commit(self, delta: Delta) -> None:
        for p in delta.partitions:
            assert p.before == self.progress[p.before.partition]
            self.progress[p.after.partition] = p.after
            moved = (p.counted, p.late, p.duplicates, p.dead_letters)
            self.totals[p.after.partition] = [a + b for a, b in zip(self.totals[p.after.partition], moved, strict=True)]
        for a in delta.arrivals:
            place = a.partition, a.kind
            self.arrived[place] = self.arrived[place].then(a) if place in self.arrived else a
        new_after = {p.before.partition: p.before.latest for p in delta.partitions}
        for row in delta.minutes.iter_rows(named=True):
            key = (row["minute"], tuple(row[d] for d in CONTRACT.dimension_names), row["partition"])
            latest = new_after[row["partition"]]
            assert key not in self.minutes or (latest is not None and row["minute"] <= latest)
            held = self.minutes.setdefault(key, {})
            before, after = ((r.get("commits_last_ms"), r.get("commits_last")) for r in (held, row))
            if None not in before and (None in after or before > after):
                row |= {"commits_last_ms": before[0], "commits_last": before[1]}
            for name, value in row.items():
                if name in ("count", "late", "duplicates") or name.endswith(("_n", "_sum")):
                    held[name] = held.get(name, 0) + value
                elif value is None:
                    held.setdefault(name, None)
                elif name.endswith("_min"):
                    held[name] = min(value, math.inf if held.get(name) is None else held[name])
                elif name.endswith("_max"):
                    held[name] = max(value, -math.inf if held.get(name) is None else held[name])
                else:
                    held[name] = value
        for minute, partition, top, data in delta.tops:
            self.tops[minute, top, partition] = data
        for letter in delta.dead_letters:
            position = letter.record.partition, letter.record.offset
            assert position not in self.dead
            self.dead[position] = letter.reason

    def open_sketches(self, partition: int, first: int) -> OpenSketches:
        held = OpenSketches()
        for (minute, dimensions, of), row in self.minutes.items():
            if of == partition and minute >= first:
                for column in sketch_columns(CONTRACT):
                    held.columns[column].append(((partition, minute), dimensions, row[column]))
        for (minute, top, of), data in self.tops.items():
            if of == partition and minute >= first:
                held.tops[top].append(((partition, minute), (), data))
        return held


class Workers:
    """Workers that share the partitions, each owned by the one of that number, and the log they read."""

    def __init__(self, owners: tuple[int, ...] = (0, 0, 1)) -> None:
        self.postgres = Postgres()
        self.log: dict[int, list[LogRecord]] = {p: [] for p in PARTITIONS}
        self.entries: dict[int, list[LogRecord | Idle]] = defaultdict(list)
        self.owners = owners
        self._count = max(owners) + 1
        self.start()

    def start(self) -> None:
        self.pipelines = [
            Pipeline(CONTRACT, lambda i: SCHEMA if i == SCHEMA_ID else None, PSEUDONYMS) for _ in range(self._count)
        ]
        self.position: dict[int, int] = {}
        for pipeline in self.pipelines:
            pipeline.enrich_by(REFERENCE_TABLE)
        for partition, owner in enumerate(self.owners):
            progress = replace(self.postgres.progress[partition], epoch=self.postgres.progress[partition].epoch + 1)
            self.postgres.progress[partition] = progress
            first = self.pipelines[owner].open_from(progress)
            held = None if first is None else self.postgres.open_sketches(partition, first)
            self.pipelines[owner].take_over(progress, held)
            self.position[partition] = progress.read_from

    def send(self, partition: int, value: bytes | None, ingest_second: int = 1_500) -> None:
        offset = len(self.log[partition])
        record = LogRecord(partition, offset, value, T0 + ingest_second * 1000 + offset)
        self.log[partition].append(record)
        self.entries[partition].append(record)

    def batch(self, *, lost: bool = False, parts: int = 1, idle: dict[int, int] | None = None) -> None:
        for number, pipeline in enumerate(self.pipelines):
            mine = [p for p in PARTITIONS if self.owners[p] == number]
            used = [r for p in mine for r in self.log[p][self.position[p] :]]
            self.position |= {p: len(self.log[p]) for p in mine}
            reported = {p: t for p, t in (idle or {}).items() if p in mine}
            if idle and not reported:
                continue
            size = max(1, -(-len(used) // parts))
            cut = [records(used[i : i + size], reported) for i in range(0, max(1, len(used)), size)]
            delta = pipeline.aggregate([pipeline.check(part) for part in cut])
            if not lost:
                self.postgres.commit(delta)
        if lost:
            self.start()

    def silence(self, partition: int, second: int) -> None:
        self.batch()
        at = T0 + second * 1000
        self.batch(idle={partition: at})
        self.entries[partition].append(Idle(partition, at))


def key_of(record: LogRecord) -> bytes | None:
    return None if record.offset % 7 == 6 else f"key {record.offset}".encode()


def producer_of(record: LogRecord) -> str:
    return f"producer {record.offset % 3}"


def process(pipeline: Pipeline, used: Records) -> Delta:
    return pipeline.aggregate([pipeline.check(used)])


def records(used: list[LogRecord], idle: dict[int, int]) -> Records:
    def raw(row: int) -> RawRecord:
        r = used[row]
        return RawRecord(r.partition, r.offset, None, r.value, [], r.ingest_ms)

    def headers(row: int) -> list[tuple[str, bytes | None]]:
        return [(PRODUCER, producer_of(used[row]).encode())]

    return Records(
        Positions(
            partitions=np.array([r.partition for r in used], np.int64),
            offsets=np.array([r.offset for r in used], np.int64),
            ingest_ms=np.array([r.ingest_ms for r in used], np.int64),
            idle=idle,
        ),
        keys=Payloads.of([key_of(r) for r in used]),
        payloads=Payloads.of([r.value for r in used]),
        raw=raw,
        headers=headers,
        sampled=lambda rows: np.zeros(len(rows), np.bool_),
    )


@examples(300)
@given(steps)
def test_any_cut_of_any_log_gives_what_a_plain_loop_gives(used: list[Send | Batch | Rebalance | Silence]) -> None:
    workers = Workers()
    for step in used:
        match step:
            case Send(partition, value, ingest_second):
                workers.send(partition, value, ingest_second)
            case Batch(lost, parts):
                workers.batch(lost=lost, parts=parts)
            case Rebalance(owners):
                workers.owners = owners
                workers.start()
            case Silence(partition, second):
                workers.silence(partition, second)
    workers.batch()

    log = [entry for p in PARTITIONS for entry in workers.entries[p]]
    expected = play(CONTRACT, log, {SCHEMA_ID: SCHEMA}, REFERENCE)
    postgres = workers.postgres
    for p, totals in expected.partitions.items():
        assert postgres.progress[p].next_offset == totals.next_offset
        assert postgres.progress[p].watermark == totals.watermark
        assert postgres.totals[p] == [totals.counted, totals.late, totals.duplicates, totals.dead_letters]
    assert {at: replace(a, producers=()) for at, a in postgres.arrived.items()} == arrivals_of(workers.log, expected)
    passed = ("counted", "late", "duplicate")
    assert postgres.dead == {at: v for at, v in expected.verdicts.items() if v not in passed}
    assert postgres.minutes.keys() == expected.minutes.keys()
    for key, row in postgres.minutes.items():
        minute = expected.minutes[key]
        assert (row["count"], row["late"], row["duplicates"]) == (minute.count, minute.late, minute.duplicates)
        values = minute.values["commits"]
        assert (row["commits_n"], row["commits_sum"]) == (len(values), sum(values))
        assert (row["commits_min"], row["commits_max"]) == (min(values, default=None), max(values, default=None))
        assert (row["commits_last"], row["commits_last_ms"]) == minute.last("commits")
        if values:
            assert sketches.load_kll(row["commits_kll"]).n == len(values)
        if minute.count:
            assert round(sketches.load_hll(row["users_hll"]).get_estimate()) == len(minute.distinct["users"])
    found = {
        key: {r.key: r.count for r in sketches.ranked(sketches.load_frequent(data))}
        for key, data in postgres.tops.items()
    }
    assert found == {key: dict(counts) for key, counts in expected.tops.items()}


def arrivals_of(log: dict[int, list[LogRecord]], expected: Expected) -> dict[tuple[int, str], Arrivals]:
    """By a look at each record. Producers are a sample, and so not held to anything here."""
    kinds: dict[tuple[int, str], list[int]] = defaultdict(list)
    for record in (r for records in log.values() for r in records):
        verdict = expected.verdicts[record.partition, record.offset]
        kinds[record.partition, ALL].append(record.offset)
        if verdict == "late":
            kinds[record.partition, LATE].append(record.offset)
        if verdict in ("counted", "late", "duplicate"):
            event = decode(CONTRACT, record, {SCHEMA_ID: SCHEMA})
            assert not isinstance(event, str)
            if event["timestamp"] > record.ingest_ms + AHEAD_MS:
                kinds[record.partition, AHEAD].append(record.offset)
        key = key_of(record)
        if key is None or java_partition(key, CONTRACT.topic_spec.partitions) != record.partition:
            kinds[record.partition, MISPLACED].append(record.offset)
    return {(p, kind): Arrivals(p, kind, len(o), o[0], o[-1]) for (p, kind), o in kinds.items()}


def test_a_clock_that_is_ahead_makes_nobody_late_and_is_named() -> None:
    pipeline = Pipeline(CONTRACT, lambda i: SCHEMA if i == SCHEMA_ID else None, PSEUDONYMS)
    pipeline.take_over(Progress(0, 0, 1, None))
    log = [LogRecord(0, 0, encode("ahead", 299, "u1", "Push", "1"), T0)]
    log += [LogRecord(0, n, encode(f"e{n}", n, "u1", "Push", "1"), T0 + n * 1000 + 500) for n in range(1, 100)]
    delta = process(pipeline, records(log, {}))
    (step,) = delta.partitions
    assert (step.counted, step.late) == (100, 0)
    assert step.after.watermark == T0 + 99_000
    assert [a for a in delta.arrivals if a.kind == AHEAD] == [Arrivals(0, AHEAD, 1, 0, 0, ("producer 0",))]


def test_late_events_are_reported_with_their_offsets_and_producers() -> None:
    pipeline = Pipeline(CONTRACT, lambda i: SCHEMA if i == SCHEMA_ID else None, PSEUDONYMS)
    pipeline.take_over(Progress(0, 0, 1, None))
    log = [LogRecord(0, n, encode(f"e{n}", 1000, "u1", "Push", "1"), T0 + 1_000_000) for n in range(3)]
    log += [LogRecord(0, n, encode(f"e{n}", n, "u1", "Push", "1"), T0 + 1_000_000) for n in range(3, 8)]
    delta = process(pipeline, records(log, {}))
    assert [a for a in delta.arrivals if a.kind == LATE] == [Arrivals(0, LATE, 5, 3, 7, ("producer 0", "producer 1"))]


@pytest.mark.parametrize("generations", range(8))
def test_a_restart_forgets_neither_more_nor_less(generations: int) -> None:
    workers = Workers()
    for n in range(generations + 1):
        workers.send(0, encode(f"on the way {n}", 60 * n, "u1", "Push", "1"))
        workers.send(0, encode("twice", 0, "u1", "Push", "1")) if n == 0 else None
        workers.batch()
    workers.start()
    workers.send(0, encode("twice", 60 * generations, "u1", "Push", "1"))
    workers.batch()
    duplicates = workers.postgres.totals[0][2]
    assert duplicates == (1 if generations <= 4 else 0)


@examples(150)
@given(st.lists(st.tuples(st.integers(0, 6), st.sampled_from("abc"), st.booleans()), min_size=3, max_size=24))
@example([(0, "a", False), (3, "a", False), (2, "a", True)])
def test_what_is_a_duplicate_hangs_on_no_restart(used: list[tuple[int, str, bool]]) -> None:
    """Ids that come again and again, some generations later each time, with restarts before some of them."""
    # one worker each: the ids are all in one partition
    undisturbed, restarted, generation = Workers((0, 0, 0)), Workers((0, 0, 0)), 0
    for later, event_id, restart in used:
        generation += later
        # one that moves the watermark on, and then the id with its own time
        for name, second in ((f"at {generation}", 60 * generation), (event_id, 0)):
            for workers in (undisturbed, restarted):
                workers.send(0, encode(name, second, "u1", "Push", "1"), 60 * generation + 30)
        if restart:
            restarted.batch()
            restarted.start()
    for workers in (undisturbed, restarted):
        workers.batch()
    assert restarted.postgres.totals == undisturbed.postgres.totals
    expected = play(CONTRACT, undisturbed.log[0], {SCHEMA_ID: SCHEMA}, REFERENCE)
    assert undisturbed.postgres.totals[0][2] == expected.partitions[0].duplicates


def test_the_dead_letter_limit_pauses_before_the_first_one_too_many() -> None:
    contract = replace(CONTRACT, dead_letters=CONTRACT.dead_letters.model_copy(update={"limit": 2}))
    pipeline = Pipeline(contract, lambda i: SCHEMA if i == SCHEMA_ID else None, PSEUDONYMS, clock=lambda: 0.0)
    pipeline.take_over(Progress(0, 0, 1, None))
    values = [GOOD, b"", b"", encode("next", 1, "u1", "Push", "1"), b"", encode("after", 2, "u1", "Push", "1")]
    log = [LogRecord(0, i, v, T0) for i, v in enumerate(values)]
    (step,) = process(pipeline, records(log, {})).partitions
    assert (step.counted, step.dead_letters, step.after.next_offset) == (2, 2, 4)
    assert step.pause is not None
    assert process(pipeline, records(log[4:], {})).partitions == []


def test_offsets_without_a_record_are_skipped_not_lost() -> None:
    pipeline = Pipeline(CONTRACT, lambda i: SCHEMA if i == SCHEMA_ID else None, PSEUDONYMS)
    pipeline.take_over(Progress(0, 0, 1, None))
    (step,) = process(pipeline, records([LogRecord(0, 3, GOOD, T0)], {})).partitions
    assert (step.counted, step.skipped, step.after.next_offset) == (1, 3, 4)


def test_the_upsert_names_every_column_that_a_delta_has() -> None:
    pipeline = Pipeline(CONTRACT, lambda i: SCHEMA if i == SCHEMA_ID else None, PSEUDONYMS)
    pipeline.take_over(Progress(0, 0, 1, None))
    delta = process(pipeline, records([LogRecord(0, 0, GOOD, T0)], {}))
    assert set(MinuteRows(CONTRACT).columns) == {*delta.minutes.columns, "upto"}
