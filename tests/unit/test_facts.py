"""Facts, dimensions and rollups against the oracle: any log, in any ingest hours, built in any groups of hours."""

import contextlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.dims.history import History
from assets.dims.keys import key_of
from assets.facts import lake_rows
from assets.facts.build import Built, FactsBuilder
from assets.lake.rows import LakeRowsOf
from assets.rollups.hourly import roll
from assets.rollups.roll import Windows, merged
from streamgauge.contract.load import find_contract, load_contracts
from streamgauge.contract.model import Contract, TimeSpec
from streamgauge.dagster.hours import HOUR, hour_key
from streamgauge.records.avro import avro_schema, frame, parse, write_record
from streamgauge.records.log_spans import LogRecords
from streamgauge.records.payloads import Payloads
from streamgauge.rollup.enrich import KEY
from streamgauge.rollup.pseudonyms import Pseudonyms
from streamgauge.settings import CHECKOUT, batch_start
from streamgauge.stores.dimension_tables import MICROSECONDS, VALID_FROM
from streamgauge.stores.fact_tables import duplicates_table, facts_table, quarantine_table
from streamgauge.stores.lake import lake_table
from tests.batch_layer import assert_facts, assert_rollups
from tests.batch_oracle import HOUR_MS, Batch, Versions, make
from tests.examples import examples
from tests.oracle import SECRET, LogRecord
from tests.personal import with_person

CONTRACTS = load_contracts(CHECKOUT / "platform" / "contracts")
CONTRACT = with_person(find_contract(CONTRACTS, "user_events"))
T0 = 1_772_409_600_000
"""The start of an hour, and of no day."""
SCHEMA_ID = 7
SCHEMA = avro_schema(CONTRACT)
PARSED = parse(SCHEMA)
SCHEMAS = {SCHEMA_ID: SCHEMA}
USERS = ("u0", "u1", "u2")


def encode(event_id: str, at_ms: int, user: str = "u1", event_type: str = "Push", size: str = "1") -> bytes:
    stream = BytesIO()
    event = {
        "event_id": event_id,
        "user_id": user,
        "event_type": event_type,
        "timestamp": at_ms,
        "properties": {"size": size, "repo": "a/b"},
        "metadata": {},
        "schema_version": 1,
    }
    write_record(stream, PARSED, event)
    return frame(SCHEMA_ID) + stream.getvalue()


def second(n: int) -> int:
    return T0 + n * 1000


GOOD = encode("good", T0)
BAD = (
    None,
    b"",
    b"\x01" + GOOD[1:],
    frame(99) + GOOD[5:],
    GOOD[:-1],
    GOOD + b"\x00",
    encode("", second(1800)),
    encode("x", second(5000), event_type="push"),
    encode("x", -1),
    encode("x", second(10_000_000)),
    encode("x", second(0), user="u\0"),
    encode("old", 1_100_000_000_000),
    encode("x", 253_402_300_800_000),
    encode("x", 9_300_000_000_000_000),
    encode("x", 2**62),
    encode("x", -(2**63)),
)


@dataclass(frozen=True)
class Sent:
    value: bytes | None
    partition: int
    delay: int
    """Seconds between the sending of the record before it and its own."""


@st.composite
def sent(draw: st.DrawFn) -> Sent:
    """Times over some hours around T0; few ids, so that many come twice, at the same time or another."""
    if draw(st.integers(0, 7)) == 0:
        value = draw(st.sampled_from(BAD))
    else:
        at = draw(st.sampled_from((0, 1, 3599, 3600, 5400, 7200, 10_800, 14_399))) + draw(st.integers(-900, 900))
        value = encode(
            f"e{draw(st.integers(0, 5))}",
            second(at),
            draw(st.sampled_from(USERS)),
            draw(st.sampled_from(("Push", "Fork"))),
            draw(st.sampled_from(("1", "2.5", "many"))),
        )
    return Sent(value, draw(st.integers(0, 2)), draw(st.sampled_from((0, 0, 0, 1, 60, 3000))))


def log_of(records: Sequence[Sent], begin_ms: int) -> list[LogRecord]:
    offsets: dict[int, int] = defaultdict(int)
    built: list[LogRecord] = []
    now = begin_ms
    for s in records:
        now += s.delay * 1000
        built.append(LogRecord(s.partition, offsets[s.partition], s.value, now))
        offsets[s.partition] += 1
    return built


def fill_lake(root: str, contract: Contract, log: Sequence[LogRecord], schemas: dict[int, Any]) -> None:
    rows_of = LakeRowsOf(contract, schemas.get, batch_start())
    by_hour: dict[int, list[LogRecord]] = defaultdict(list)
    for record in log:
        by_hour[record.ingest_ms // HOUR_MS * HOUR_MS].append(record)
    table = lake_table(root, contract)
    for ms, records in by_hour.items():
        key = hour_key(datetime.fromtimestamp(ms / 1000, UTC))
        columns = LogRecords(
            Payloads.of([r.value for r in records]),
            np.array([r.partition for r in records], np.int64),
            np.array([r.offset for r in records], np.int64),
            np.array([r.ingest_ms for r in records], np.int64),
        )
        table.replace([key], rows_of.rows(columns, key).select(list(table.schema)))


def history_of(contract: Contract, versions: Versions) -> History | None:
    spec = contract.reference
    if spec is None:
        return None
    rows = [
        {KEY: key, **columns, VALID_FROM: datetime.fromtimestamp(since / 1000, UTC)}
        for key, text in versions.items()
        for since, columns in text
    ]
    schema = {KEY: pl.String, **dict.fromkeys(spec.columns, pl.String), VALID_FROM: MICROSECONDS}
    return History.of(spec, pl.DataFrame(rows, schema=schema))


def build(root: str, contract: Contract, hours: Sequence[datetime], versions: Versions) -> list[Built]:
    history = history_of(contract, versions)
    return list(FactsBuilder(root, contract, history, batch_start(), lambda _: contextlib.nullcontext()).build(hours))


def hours_of(expected: Batch) -> list[datetime]:
    """Every hour from the first that has a record to the last, those without events too."""
    first, last = min(expected.hours.values()), max(expected.hours.values())
    return [datetime.fromtimestamp(ms / 1000, UTC) for ms in range(first, last + 1, HOUR_MS)]


def rolled(root: str, contract: Contract, hours: Sequence[datetime]) -> tuple[Windows, Windows, Windows]:
    parts = list(roll(root, contract, Pseudonyms(SECRET, contract.stream), hours))
    minutes, by_hour = (
        Windows(pl.concat([w.rows for w in windows]), pl.concat([w.tops for w in windows]))
        for windows in ([p.minutes for p in parts], [p.hourly for p in parts])
    )
    return minutes, by_hour, merged(contract, by_hour, "1d")


def assert_as_expected(root: str, contract: Contract, hours: Sequence[datetime], expected: Batch) -> None:
    assert_facts(root, contract, expected)
    found = rolled(root, contract, hours)
    for windows, wanted in zip(found, (expected.minutes, expected.by_hour, expected.by_day), strict=True):
        assert_rollups(contract, windows, wanted)


changes = st.lists(st.tuples(st.sampled_from(USERS[1:]), st.integers(-10, 20)), max_size=3, unique=True)


@examples(25)
@given(
    records=st.lists(sent(), min_size=1, max_size=40),
    begin=st.sampled_from((second(0), second(7000), second(100_000))),
    horizon=st.sampled_from((60, 2400, 3600, 7200)),
    changed=changes,
    group_rows=st.sampled_from((1, 10, 1000)),
    order=st.randoms(use_true_random=False),
)
def test_any_log_in_any_groups_of_hours(
    tmp_path_factory: pytest.TempPathFactory,
    records: list[Sent],
    begin: int,
    horizon: int,
    changed: list[tuple[str, int]],
    group_rows: int,
    order: Any,
) -> None:
    root = str(tmp_path_factory.mktemp("lake"))
    contract = replace(
        CONTRACT,
        time=TimeSpec(
            allowedLatenessSeconds=60,
            futureToleranceSeconds=30_000,
            duplicateHorizonSeconds=horizon,
            idleAfterSeconds=10,
        ),
    )
    log = log_of(records, begin)
    versions: dict[str, list[tuple[int, dict[str, str]]]] = defaultdict(list)
    for n, (user, minutes) in enumerate(sorted(changed, key=lambda c: c[1])):
        versions[user].append((begin + minutes * 600_000, {"kind": f"kind{n}", "organisation": f"org{n % 2}"}))
    expected = make(contract, log, SCHEMAS, versions)
    fill_lake(root, contract, log, SCHEMAS)
    hours = hours_of(expected)
    if len(hours) > 500:  # what is bad may be years away
        hours = sorted({datetime.fromtimestamp(ms / 1000, UTC) for ms in expected.hours.values()})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lake_rows, "GROUP_ROWS", group_rows)
        cut = order.randint(0, len(hours))
        built = [b for part in (hours[cut:], hours[:cut]) if part for b in build(root, contract, part, versions)]
        assert_as_expected(root, contract, hours, expected)
    assert sum(b.facts + b.duplicates + b.quarantined for b in built) == len(log)
    before = [t(root, contract).read().sort("partition", "offset") for t in _TABLES]
    build(root, contract, hours, versions)
    assert all(
        t(root, contract).read().sort("partition", "offset").equals(b) for t, b in zip(_TABLES, before, strict=True)
    )


_TABLES = (facts_table, duplicates_table, quarantine_table)


def test_an_hour_without_events_is_empty_and_holds_nothing_back(tmp_path: Path) -> None:
    log = [
        LogRecord(0, 0, encode("a", second(10)), second(20)),
        LogRecord(0, 1, encode("b", second(7210)), second(7220)),
    ]
    fill_lake(str(tmp_path), CONTRACT, log, SCHEMAS)
    first = datetime.fromtimestamp(T0 / 1000, UTC)
    built = build(str(tmp_path), CONTRACT, [first, first + HOUR, first + 2 * HOUR], {})
    assert [(b.facts, b.duplicates, b.quarantined) for b in built] == [(1, 0, 0), (0, 0, 0), (1, 0, 0)]


def test_an_earlier_record_that_comes_into_the_lake_later_takes_the_place_of_the_fact(tmp_path: Path) -> None:
    first = datetime.fromtimestamp(T0 / 1000, UTC)
    early = LogRecord(1, 5, encode("a", second(10), user="u1"), second(3_000))
    late = LogRecord(0, 0, encode("a", second(10), user="u2"), second(4_000))
    fill_lake(str(tmp_path), CONTRACT, [late], SCHEMAS)
    build(str(tmp_path), CONTRACT, [first], {})
    assert facts_table(str(tmp_path), CONTRACT).read()["user_id"].to_list() == ["u2"]
    fill_lake(str(tmp_path), CONTRACT, [early], SCHEMAS)
    build(str(tmp_path), CONTRACT, [first], {})
    assert facts_table(str(tmp_path), CONTRACT).read()["user_id"].to_list() == ["u1"]
    assert duplicates_table(str(tmp_path), CONTRACT).read()["user_id"].to_list() == ["u2"]


def test_keys_are_the_same_in_every_rebuild(tmp_path: Path) -> None:
    # the first eight bytes of md5('PushEvent'), as `select ('x' || left(md5('PushEvent'), 16))::bit(64)::bigint` has it
    assert key_of("PushEvent") == 3467765948542117564
    log = [LogRecord(0, i, encode(f"e{i}", second(i), user=f"u{i}"), second(60)) for i in range(4)]
    keys: list[list[int]] = []
    for name in ("one", "other"):
        root = str(tmp_path / name)
        fill_lake(root, CONTRACT, log if name == "one" else log[::-1], SCHEMAS)
        build(root, CONTRACT, [datetime.fromtimestamp(T0 / 1000, UTC)], {"u1": [(second(0), _ACME)]})
        keys.append(facts_table(root, CONTRACT).read().sort("offset")["user_key"].to_list())
    assert keys[0] == keys[1]


_ACME = {"kind": "bot", "organisation": "acme"}
