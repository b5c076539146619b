"""Any long of milliseconds as an event's time, through every layer: it is a fact, or kept whole in quarantine."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from quality.checks.completeness import Outputs, check_completeness
from quality.checks.contract import check_contract
from quality.checks.quarantine import check_quarantine
from quality.masking import Masker
from quality.reconciliation.layers import MINUTE, rolled_up
from streamgauge.contract.times import EARLIEST_MS, LATEST_MS, outside_rule
from streamgauge.dagster.hours import hour_key
from streamgauge.records.fetcher import RawRecord
from streamgauge.records.payloads import Payloads
from streamgauge.rollup.pseudonyms import Pseudonyms
from streamgauge.settings import batch_start
from streamgauge.stores.fact_tables import RULE, duplicates_table, facts_table, quarantine_table
from streamgauge.stores.lake import EVENT_HOUR, OFFSET, PARTITION, RECORD, lake_table
from streamgauge.stores.owning_hour import start_ms
from streaming.worker.pipeline import Pipeline
from streaming.worker.records import Positions, Records
from tests.examples import examples
from tests.oracle import SECRET, LogRecord, read
from tests.unit.test_facts import CONTRACT, SCHEMAS, T0, build, encode, fill_lake

LONGS = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(EARLIEST_MS - 5, EARLIEST_MS + 5),
    st.integers(LATEST_MS - 5, LATEST_MS + 5),
    st.integers(T0 - 10_000, T0 + 10_000),
)
UNBOUNDED = replace(
    CONTRACT, fields=tuple(replace(f, minimum=None) if f.name == CONTRACT.event_time else f for f in CONTRACT.fields)
)
"""Without a least event time of its own, it is the range alone that counts."""
PSEUDONYMS = Pseudonyms(SECRET, UNBOUNDED.stream)
INGEST = T0 + 20_000
HOUR = hour_key(datetime.fromtimestamp(T0 / 1000, UTC))


def verdict(record: LogRecord) -> dict[str, Any] | str:
    return read(UNBOUNDED, record, SCHEMAS)


def records_of(log: Sequence[LogRecord]) -> Records:
    return Records(
        Positions(
            np.zeros(len(log), np.int64),
            np.array([r.offset for r in log], np.int64),
            np.full(len(log), INGEST, np.int64),
        ),
        Payloads.of([None] * len(log)),
        Payloads.of([r.value for r in log]),
        lambda row: RawRecord(0, log[row].offset, None, log[row].value, [], log[row].ingest_ms),
        lambda _: [],
        lambda rows: np.zeros(len(rows), np.bool_),
    )


@examples(40)
@given(times=st.lists(LONGS, min_size=1, max_size=12))
@example(times=[9_300_000_000_000_000, 2**62, 253_402_300_800_000, 0, -1, -(2**63), 2**63 - 1, T0])
def test_any_time_through_the_batch_layer(tmp_path_factory: pytest.TempPathFactory, times: list[int]) -> None:
    root = str(tmp_path_factory.mktemp("lake"))
    log = [LogRecord(0, i, encode(f"e{i}", at), INGEST) for i, at in enumerate(times)]
    fill_lake(root, UNBOUNDED, log, SCHEMAS)
    lake = lake_table(root, UNBOUNDED).read().sort(OFFSET)
    assert lake[OFFSET].to_list() == list(range(len(times)))
    hours = lake[EVENT_HOUR].unique().sort().to_list()
    built = build(root, UNBOUNDED, hours, {})
    assert sum(b.facts + b.duplicates + b.quarantined for b in built) == len(times)
    facts, duplicates, quarantine = (
        t(root, UNBOUNDED).read() for t in (facts_table, duplicates_table, quarantine_table)
    )
    first_day = start_ms(batch_start())
    usable = [i for i, at in enumerate(times) if not isinstance(verdict(log[i]), str) and at >= first_day]
    assert sorted(facts[OFFSET].to_list()) == usable
    exceeding = [i for i, at in enumerate(times) if not EARLIEST_MS <= at <= LATEST_MS]
    rows = quarantine.filter(pl.col(RULE) == f"contract: {outside_rule(CONTRACT.event_time)}").sort(OFFSET)
    assert rows[OFFSET].to_list() == exceeding
    # the raw record, and with it the raw time, is kept; and every field that can be shown
    assert rows[RECORD].to_list() == [log[i].value for i in exceeding]
    assert rows["event_id"].to_list() == [f"e{i}" for i in exceeding]
    assert set(rows[EVENT_HOUR]) <= {HOUR}
    # what reads these rows: checks, the report, reconciliation
    masker = Masker(UNBOUNDED)
    assert check_contract(UNBOUNDED, facts, masker).status == "passed"
    assert check_quarantine(UNBOUNDED, facts.height, quarantine, masker).failing == len(times) - len(usable)
    positions = lake.select(PARTITION, OFFSET, pl.col(EVENT_HOUR).dt.strftime("%Y-%m-%d-%H"))
    outcome = check_completeness(UNBOUNDED, positions, Outputs(facts, duplicates, quarantine), 0, masker, moving=False)
    assert outcome.status == "passed"
    for rule in quarantine[RULE].unique():
        assert masker.samples(quarantine.filter(pl.col(RULE) == rule), rule)
    minutes = rolled_up(UNBOUNDED, PSEUDONYMS, facts.lazy(), duplicates.lazy()).collect()
    assert minutes["count"].sum() == len(usable)
    assert set(minutes[MINUTE].dt.epoch("ms")) == {times[i] // 60_000 * 60_000 for i in usable}


@examples(200)
@given(times=st.lists(LONGS, min_size=1, max_size=20))
@example(times=[9_300_000_000_000_000, 2**62, 253_402_300_800_000, 0, -1, -(2**63), 2**63 - 1, T0])
def test_any_time_through_the_worker(times: list[int]) -> None:
    log = [LogRecord(0, i, encode(f"e{i}", at), INGEST) for i, at in enumerate(times)]
    checked = Pipeline(UNBOUNDED, SCHEMAS.get, PSEUDONYMS).check(records_of(log))
    expected = {i: reason for i, r in enumerate(log) if isinstance(reason := verdict(r), str)}
    assert {r.row: r.reason for r in checked.rejected} == expected
    assert checked.rows.tolist() == [i for i in range(len(times)) if i not in expected]
