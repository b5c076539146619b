"""Where the lake has the events of an hour."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from serving.arrivals import hours_of_arrival
from streamgauge.contract.load import find_contract, load_contracts
from streamgauge.contract.model import Contract
from streamgauge.dagster.hours import HOUR, hour_key
from streamgauge.settings import CONTRACTS
from streamgauge.stores.lake import EVENT_HOUR, INGEST_HOUR, lake_table

NINE = datetime(2026, 3, 2, 9, tzinfo=UTC)
TEN, ELEVEN, NOON = (NINE + i * HOUR for i in (1, 2, 3))


@pytest.fixture
def contract() -> Contract:
    return find_contract(load_contracts(CONTRACTS), "user_events")


def fill(root: Path, contract: Contract, arrived: datetime, *hours: datetime) -> None:
    table = lake_table(str(root), contract)
    rows = pl.DataFrame({EVENT_HOUR: hours, INGEST_HOUR: [hour_key(arrived)] * len(hours)})
    missing = [pl.lit(None, kind).alias(n) for n, kind in table.schema.items() if n not in rows.columns]
    typed = rows.with_columns(pl.col(EVENT_HOUR).cast(table.schema[EVENT_HOUR]), *missing)
    table.replace([hour_key(arrived)], typed.select(list(table.schema)))


def test_late_events_are_where_they_came(tmp_path: Path, contract: Contract) -> None:
    fill(tmp_path, contract, TEN, NINE, TEN, TEN)
    fill(tmp_path, contract, ELEVEN, ELEVEN)
    fill(tmp_path, contract, NOON, TEN, NOON)
    found = [hours_of_arrival(str(tmp_path), contract, [hour]) for hour in (NINE, TEN, ELEVEN, NOON)]
    assert found == [[TEN], [TEN, NOON], [ELEVEN], [NOON]]
    assert hours_of_arrival(str(tmp_path), contract, [NINE, TEN]) == [TEN, NOON]
    assert hours_of_arrival(str(tmp_path), contract, [NOON + timedelta(days=1)]) == []


def test_without_a_lake_there_are_none_and_of_a_broken_one_nothing_is_known(tmp_path: Path, contract: Contract) -> None:
    assert hours_of_arrival(str(tmp_path), contract, [TEN]) == []
    fill(tmp_path, contract, TEN, TEN)
    for file in tmp_path.rglob("*.parquet"):
        file.write_bytes(b"broken")
    assert hours_of_arrival(str(tmp_path), contract, [TEN]) is None
