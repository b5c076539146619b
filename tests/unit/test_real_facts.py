"""The real data sets through the batch layer, against the oracle."""

from pathlib import Path

import polars as pl
import pytest

from streamgauge.contract.load import load_contracts
from streamgauge.producer.encode import Encoder
from streamgauge.records.avro import avro_schema
from streamgauge.settings import CHECKOUT
from streaming.replay.dataset import read_dataset, shift
from streaming.replay.mapping import find_mapping
from streaming.replay.replay import MAPPINGS
from tests.batch_oracle import make
from tests.oracle import LogRecord
from tests.unit.test_facts import SCHEMA_ID, assert_as_expected, build, fill_lake, hours_of

CONTRACTS = load_contracts(CHECKOUT / "platform" / "contracts")
DATA = CHECKOUT / "examples" / "data"
END = 1_790_000_000_000
_DAYS = 20
"""Of the longest data set, its last ones: the oracle is slow."""


@pytest.mark.parametrize("name", sorted(p.name for p in DATA.glob("*.gz")))
def test_a_data_set_sent_twice(tmp_path: Path, name: str) -> None:
    mapping, contract = find_mapping(DATA / name, MAPPINGS, CONTRACTS)
    events = shift(read_dataset(DATA / name, mapping, contract).events, contract.event_time, END)
    events = events.filter(pl.col(contract.event_time).to_physical() > END - _DAYS * 86_400_000)
    assert events.height > 1000
    values = Encoder(contract, SCHEMA_ID).encode(events)
    again = values[::7]
    log = [LogRecord(i % 3, i // 3, value, END + i) for i, value in enumerate([*values, *again])]
    schemas = {SCHEMA_ID: avro_schema(contract)}
    versions = {}
    if contract.reference is not None:
        users = events[contract.reference.key].unique().sort().to_list()
        versions = {u: [(END + 2000, {"kind": "bot", "organisation": f"org {len(u)}"})] for u in users[::2]}
    expected = make(contract, log, schemas, versions)
    assert (len(expected.facts), len(expected.duplicates)) == (len(values), len(again))
    fill_lake(str(tmp_path), contract, log, schemas)
    hours = hours_of(expected)
    build(str(tmp_path), contract, hours, versions)
    assert_as_expected(str(tmp_path), contract, hours, expected)
