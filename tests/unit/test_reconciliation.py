"""Both layers made from one list of events: what the oracle makes of it is the speed layer, what a plain loop makes of
it the batch layer. Left alone they reconcile; one bucket or one fact changed is named, and nothing else.
"""

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import polars as pl
from hypothesis import assume, given
from hypothesis import strategies as st

from quality.reconciliation.compare import Bucket, HourState
from quality.reconciliation.coverage import Missing, WorkerPart, missing
from quality.reconciliation.evidence import Figures, unreachable
from quality.reconciliation.finality import settled
from quality.reconciliation.gather import gather
from quality.reconciliation.layers import SPEED_COUNTERS, rolled_up, schema
from quality.reconciliation.verdict import HourResult, LayerMinutes, evaluate
from streamgauge.contract.load import find_contract, load_contracts
from streamgauge.contract.measures import EVENTS
from streamgauge.contract.model import TimeSpec
from streamgauge.dagster.hours import HOUR
from streamgauge.records.avro import avro_schema, frame, parse, write_record
from streamgauge.rollup.measure_kinds import possible
from streamgauge.rollup.pseudonyms import Pseudonyms
from streamgauge.settings import CHECKOUT
from streamgauge.stores.lake import MILLISECONDS, contract_columns
from tests.every_kind import every_kind
from tests.examples import examples
from tests.oracle import SECRET, LogRecord, Minute, play

LATENESS = timedelta(seconds=60)
CONTRACT = replace(
    every_kind(find_contract(load_contracts(CHECKOUT / "platform" / "contracts"), "user_events")),
    time=TimeSpec(
        allowedLatenessSeconds=60, futureToleranceSeconds=300, duplicateHorizonSeconds=3600, idleAfterSeconds=10
    ),
)
PSEUDONYMS = Pseudonyms(SECRET, CONTRACT.stream)
SCHEMA = avro_schema(CONTRACT)
PARSED = parse(SCHEMA)
START = datetime(2023, 11, 14, 22, tzinfo=UTC)
START_MS = int(START.timestamp()) * 1000
REFERENCE = {"u1": {"kind": "bot", "organisation": "acme"}, "u2": {"kind": "human", "organisation": "acme"}}
UNKNOWN = {"kind": "unknown", "organisation": "unknown"}
NOTHING_MISSING = HourState(settled=True)


@dataclass(frozen=True)
class Event:
    """`number` names it: the same number is the same event sent again."""

    number: int
    second: int
    user: str
    type: str
    size: str

    def as_row(self) -> dict[str, Any]:
        return {
            "event_id": f"e{self.number}",
            "user_id": self.user,
            "event_type": self.type,
            "timestamp": START_MS + self.second * 1000,
            "properties": {"size": self.size},
            "metadata": {},
            "schema_version": 1,
        }


def event(number: int) -> Event:
    """Content follows from the number: spread over six minutes of two hours."""
    return Event(
        number,
        3600 - 180 + number * 37 % 360,
        ("u1", "u2", "u3")[number % 3],
        ("Push", "Fork")[number // 3 % 2],
        ("1", "2.5", "many", "-7", "100")[number % 5],
    )


sent = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 2)), min_size=1, max_size=50)
"""Numbers of events, and the partition of each."""


@dataclass
class Reconciled:
    layers: LayerMinutes
    facts: pl.DataFrame
    duplicates: pl.DataFrame

    @property
    def buckets(self) -> list[Bucket]:
        width = len(CONTRACT.dimension_names)
        return [(r[0], r[1 : 1 + width]) for r in self.layers.speed.iter_rows()]

    def results(self, state: HourState = NOTHING_MISSING) -> list[HourResult]:
        return evaluate(
            CONTRACT,
            [START, START + HOUR],
            self.layers,
            lambda differing: gather(CONTRACT, PSEUDONYMS, self.facts.lazy(), self.duplicates.lazy(), differing),
            lambda hour, came_in: state,
            lambda hour: None,
        )

    def unexplained(self, state: HourState = NOTHING_MISSING) -> set[Bucket]:
        return {d.bucket for r in self.results(state) for d in r.differences if not d.explained}

    def roll_up(self) -> pl.DataFrame:
        return rolled_up(CONTRACT, PSEUDONYMS, self.facts.lazy(), self.duplicates.lazy()).collect()


def make(log: list[tuple[int, int]], *, in_lake: int | None = None) -> Reconciled:
    """`in_lake`: how many records the batch layer has; all by default."""
    offsets: dict[int, int] = defaultdict(int)
    records: list[LogRecord] = []
    rows: list[dict[str, Any]] = []
    for n, (number, partition) in enumerate(log):
        row = event(number).as_row()
        body = BytesIO()
        body.write(frame(7))
        write_record(body, PARSED, row)
        ingest = START_MS + 7_200_000 + n
        records.append(LogRecord(partition, offsets[partition], body.getvalue(), ingest))
        offsets[partition] += 1
        reference = REFERENCE.get(row["user_id"], UNKNOWN)
        maps = {m: [{"key": k, "value": v} for k, v in row[m].items()] for m in ("properties", "metadata")}
        rows.append({**row, **maps, **reference, "partition": partition, "ingest_time": ingest})
    expected = play(CONTRACT, records, {7: SCHEMA}, REFERENCE)
    seen: set[str] = set()
    kept: tuple[list[dict[str, Any]], list[dict[str, Any]]] = [], []
    for row in rows[:in_lake]:
        kept[row["event_id"] in seen].append(row)
        seen.add(row["event_id"])
    facts, duplicates = (_lake_frame(part) for part in kept)
    batch = rolled_up(CONTRACT, PSEUDONYMS, facts.lazy(), duplicates.lazy()).collect()
    return Reconciled(LayerMinutes(_speed(expected.minutes_of_stream()), batch, batch), facts, duplicates)


def _lake_frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    columns = {
        **contract_columns(CONTRACT),
        "kind": pl.String(),
        "organisation": pl.String(),
        "partition": pl.Int32(),
        "ingest_time": MILLISECONDS,
    }
    return pl.DataFrame(rows, schema=columns)


def _speed(minutes: dict[tuple[int, tuple[str, ...]], Minute]) -> pl.DataFrame:
    rows: list[tuple[Any, ...]] = []
    for (minute, dimensions), row in minutes.items():
        values = row.values.get("commits", [])
        totals = (len(values), sum(values), min(values, default=None), max(values, default=None))
        at = datetime.fromtimestamp(minute / 1000, UTC)
        rows.append((at, *dimensions, row.count, row.late, row.duplicates, *totals, *row.last("commits")))
    return pl.DataFrame(rows, schema=schema(CONTRACT, SPEED_COUNTERS), orient="row")


@examples(150)
@given(sent)
def test_layers_of_the_same_events_reconcile(log: list[tuple[int, int]]) -> None:
    built = make(log)
    assert built.unexplained() == set()
    for result in built.results():
        assert result.passed
        assert result.counted + result.late + result.duplicates == result.facts + result.batch_duplicates
    assert sum(r.facts + r.batch_duplicates for r in built.results()) == len(log)


CORRUPTIONS: list[tuple[str, float]] = [
    ("count", 1),
    ("count", -1),
    ("late", 1),
    ("duplicates", 1),
    ("commits_n", 1000),
    ("commits_sum", 12_345.5),
    ("commits_min", -50_000.0),
    ("commits_max", 50_000.0),
    ("commits_last", 50_000.0),
    ("commits_last_ms", -86_400_000),
]


@examples(150)
@given(sent, st.sampled_from(CORRUPTIONS), st.data())
def test_a_changed_bucket_is_named_and_no_other(
    log: list[tuple[int, int]], change: tuple[str, float], data: st.DataObject
) -> None:
    built = make(log)
    column, by = change
    at = data.draw(st.integers(0, len(built.buckets) - 1))
    before = built.layers.speed[column][at]
    assume(before is not None)
    changed = pl.Series(column, [before + by], dtype=built.layers.speed.schema[column])
    column_after = pl.concat([built.layers.speed[column][:at], changed, built.layers.speed[column][at + 1 :]])
    built.layers = replace(built.layers, speed=built.layers.speed.with_columns(column_after))
    assert built.unexplained() == {built.buckets[at]}
    named = next(r for r in built.results() if not r.passed)
    assert named.unexplained == 1


@examples(80)
@given(sent, st.booleans(), st.data())
def test_a_changed_fact_is_named_and_no_other(log: list[tuple[int, int]], gone: bool, data: st.DataObject) -> None:
    """Gone, and the rollups made again without it; or another value than the rollups were made of."""
    built = make(log)
    at = data.draw(st.integers(0, built.facts.height - 1))
    row = built.facts.row(at, named=True)
    rows = built.facts.rows(named=True)
    if gone:
        built.facts = _lake_frame([*rows[:at], *rows[at + 1 :]])
        batch = built.roll_up()
        built.layers = replace(built.layers, batch=batch, facts=batch)
    else:
        row["properties"] = [{"key": "size", "value": "77"}]
        built.facts = _lake_frame([*rows[:at], row, *rows[at + 1 :]])
        built.layers = replace(built.layers, facts=built.roll_up())
    minute = row["timestamp"].replace(second=0, microsecond=0)
    assert built.unexplained() == {(minute, (row["event_type"], row["kind"]))}
    samples = {i for r in built.results() for d in r.differences for i in d.sample_event_ids}
    held = pl.concat([built.facts, built.duplicates]).filter(
        pl.col("timestamp").dt.truncate("1m") == minute, event_type=row["event_type"], kind=row["kind"]
    )
    assert samples <= set(held["event_id"])
    assert samples or held.is_empty()


@examples(80)
@given(sent, st.data())
def test_what_the_lake_has_not_yet_explains_its_number_and_no_more(
    log: list[tuple[int, int]], data: st.DataObject
) -> None:
    stored = data.draw(st.integers(0, len(log) - 1))
    built = make(log, in_lake=stored)
    behind = HourState(missing=Missing(tail=len(log) - stored))
    assert built.unexplained(behind) == set()
    assert any(d.waits for r in built.results(behind) for d in r.differences)
    assert built.unexplained() != set()
    if len({(event(n).second // 60, event(n).type, event(n).user) for n, _ in log[stored:]}) == 1:
        assert built.unexplained(replace(behind, missing=Missing(tail=len(log) - stored - 1))) != set()


def test_a_moved_attribute_is_explained_by_a_change_of_the_reference_table_only() -> None:
    built = make([(0, 0), (3, 0), (9, 1)])
    other = built.layers.speed.with_columns(pl.lit("robot").alias("actor_kind"))
    built.layers = replace(built.layers, speed=other)
    assert built.unexplained()
    assert not built.unexplained(replace(NOTHING_MISSING, reference_changed=True))


def test_a_hole_in_the_lake_is_explained_and_waited_for() -> None:
    built = make([(1, 0), (2, 0)], in_lake=1)
    results = built.results(HourState(missing=Missing(holes=1), settled=True))
    assert all(r.passed for r in results)
    assert [r.waits_for for r in results if r.waits_for] == ["1 of 1 records that the lake lacks"]


def test_records_deleted_with_their_topic_are_not_waited_for_and_need_a_person() -> None:
    built = make([(1, 0), (2, 0)], in_lake=1)
    results = built.results(HourState(missing=Missing(deleted=1), settled=True))
    (difference,) = (d for r in results if not r.passed for d in r.differences)
    assert "1 were deleted with their topic" in difference.explanation
    assert not difference.waits


def test_records_lost_by_the_worker_are_explained() -> None:
    built = make([(1, 0), (2, 0)])
    built.layers = replace(built.layers, speed=built.layers.speed[:1])
    assert built.unexplained()
    assert not built.unexplained(HourState(missing=Missing(lost=1), settled=True))


def test_an_hour_that_is_being_rebuilt_waits() -> None:
    built = make([(1, 0), (2, 0)])
    built.layers = replace(built.layers, facts=built.layers.facts[:1])
    assert built.unexplained()
    results = built.results(HourState(pending=True))
    assert {r.waits_for for r in results if r.differences} == {"the hour is being rebuilt"}


@examples(200)
@given(st.lists(st.integers(-3, 9), max_size=8), st.data())
def test_whatever_is_left_out_is_found_possible(values: list[int], data: st.DataObject) -> None:
    facts = sorted(map(float, values))
    late = data.draw(st.integers(0, len(facts)))
    kept = sorted(data.draw(st.permutations(facts))[late:])
    speed = Figures(len(kept), sum(kept), min(kept, default=None), max(kept, default=None))
    assert unreachable(speed, facts, [], late, 0, 1e-9) == set()
    assert "sum" in unreachable(replace(speed, sum=speed.sum + 1000), facts, [], late, 0, 1e-9)
    if late:
        assert "n" in unreachable(speed, facts, [], late - 1, 0, 1e-9)


def test_a_count_may_lack_what_was_late_and_have_what_came_twice() -> None:
    facts, twice = [(1.0, 0)] * 5, [(1.0, 0)] * 2
    reported = [possible(EVENTS, [n], facts, twice, 3) for n in range(10)]
    assert reported == [2 <= n <= 7 for n in range(10)]


def test_offsets_that_one_layer_lacks() -> None:
    worker = {0: WorkerPart(10, 100, gaps=((40, 50),)), 1: WorkerPart(0, 5)}
    assert missing(worker, {0: [(10, 100)], 1: [(0, 5)]}) == Missing(lost=10)
    assert missing(worker, {0: [(10, 40), (50, 60)], 1: [(0, 5)]}) == Missing(tail=40)
    assert missing(worker, {0: [(20, 40), (50, 100)], 1: [(0, 7)]}) == Missing(holes=10, unread=2)
    assert missing(worker, {}) == Missing(tail=85)


def test_offsets_deleted_with_their_topic_are_neither_a_hole_nor_still_to_come() -> None:
    worker = {0: WorkerPart(0, 100, first=60)}
    assert missing(worker, {}) == Missing(deleted=60, tail=40)
    assert missing(worker, {0: [(0, 30)]}) == Missing(deleted=30, tail=40)
    assert missing(worker, {0: [(0, 30), (70, 100)]}) == Missing(deleted=30, holes=10)


def test_an_hour_is_settled_when_worker_and_lake_are_past_it() -> None:
    hour, end = START, START + HOUR + LATENESS
    part = WorkerPart(0, 100, watermark=end)
    before = end - timedelta(milliseconds=1)
    assert settled({0: part}, {0: 100}, {}).waits_for(hour, LATENESS) is None
    assert "watermark" in str(settled({0: replace(part, watermark=before)}, {0: 100}, {}).waits_for(hour, LATENESS))
    assert "lake" in str(settled({0: part}, {0: 99}, {}).waits_for(hour, LATENESS))
    assert "lake" in str(settled({0: part}, {0: 99}, {0: before}).waits_for(hour, LATENESS))
    assert settled({0: part}, {0: 99}, {0: end}).waits_for(hour, LATENESS) is None
    assert "lake" in str(settled({0: part, 1: part}, {0: 100}, {}).waits_for(hour, LATENESS))
    without_events = WorkerPart(0, 9)
    assert settled({0: part, 1: without_events}, {0: 100}, {}).waits_for(hour, LATENESS) is None
    assert settled({1: without_events}, {}, {}).waits_for(hour, LATENESS) is not None
