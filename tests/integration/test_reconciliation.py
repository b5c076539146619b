"""Hours reconciled on the real servers by the asset itself: what is wrong is named exactly, what is right is final."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import polars as pl
import pytest

from sensors.alerting.unexplained import unexplained_hours
from streamgauge.contract.model import Contract
from streamgauge.dagster.hours import HOUR, HourRange, hour_key, hour_start
from streamgauge.settings import PREFIX, Settings
from streamgauge.stores.fact_tables import facts_table
from streamgauge.stores.postgres import connect
from tests.integration.batch_layer import fill_batch, fill_lake, reconcile, roll_up, send
from tests.integration.running import Running
from tests.integration.workers import wait_until_read

EVENTS = 6_000


@pytest.fixture
def hours() -> HourRange:
    """Without the hour that ended last, of which events on time may still come."""
    now = hour_start(datetime.now(UTC))
    return HourRange(now - 4 * HOUR, now - 2 * HOUR)


@pytest.fixture
def filled(running: Running, hours: HourRange) -> Contract:
    """Three hours of events in both layers, of which some were late and some came twice, and more after them."""
    running.apply()
    running.workers.start()
    contract = running.contract
    end = hours.last + HOUR
    send(contract, running, range(EVENTS), hours.first, end)
    send(contract, running, range(EVENTS, EVENTS + 60), end, end + HOUR / 4)
    wait_until_read(contract)
    send(contract, running, range(20_000, 20_040), hours.first, hours.first + HOUR)
    send(contract, running, range(EVENTS - 100, EVENTS), end - 100 * (3 * HOUR / EVENTS), end)
    account = wait_until_read(contract)
    assert (account.late, account.duplicates) == (40, 100)
    fill_lake(contract)
    fill_batch(contract, hours.hours)
    return contract


def query(text: str, *values: Any) -> list[tuple[Any, ...]]:
    with connect(Settings.for_role("reader")) as connection:
        return connection.execute(text.encode(), values).fetchall()


def change(text: str, *values: Any) -> None:
    with connect(Settings.for_role("admin")) as connection:
        connection.execute(text.encode(), values)


def unexplained(contract: Contract) -> set[tuple[datetime, str]]:
    rows = query(
        "select minute, dimensions ->> 'event_type' from reconciliation_differences"
        " where stream = %s and not explained",
        contract.stream,
    )
    return set(rows)


def final(contract: Contract) -> dict[datetime, tuple[int, bool]]:
    rows = query("select hour, revision, checked from final_hours where stream = %s", contract.stream)
    return {hour: (revision, checked) for hour, revision, checked in rows}


def reconcile_command(running: Running, *arguments: str) -> Any:
    """Which finds something unexplained."""
    done = command(running, running.contract.stream, *arguments)
    assert done.returncode == 1, done.stderr + done.stdout
    return json.loads(done.stdout)


def command(running: Running, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "streamgauge.cli", "reconcile", *arguments],
        env={**os.environ, f"{PREFIX}CONTRACTS_DIR": str(running.own.folder), "COLUMNS": "300"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def alerted(contract: Contract) -> list[str]:
    with connect(Settings.for_role("batch")) as connection:
        return [p.stream for p in unexplained_hours(connection, [contract])]


@pytest.mark.timeout(200)
def test_hours_become_final_and_stay_so(running: Running, filled: Contract, hours: HourRange) -> None:
    contract = filled
    found = reconcile(contract, hours.hours)
    assert found.keys() == {None, *hours.keys}
    assert all(e.passed for e in found.values())
    assert final(contract) == dict.fromkeys(hours.hours, (1, True))
    first = found[hours.keys[0]].metadata
    assert (first["late"].value, first["unexplained"].value) == (40, 0)
    explained = query(
        "select sum(batch - speed)::bigint from reconciliation_differences"
        " where stream = %s and measure = 'count' and explained",
        contract.stream,
    )
    assert explained == [(40,)]

    # one bucket of the speed layer
    minute = hours.first + HOUR / 2
    column = f"{contract.minutes_table}.count"
    where = "minute = %s and event_type = 'PushEvent' and partition = 0"
    change(f"update {contract.minutes_table} set count = {column} + 1 where {where}", minute)
    found = reconcile(contract, [hours.first])
    assert {hour: e.passed for hour, e in found.items()} == {hour_key(hours.first): False}
    assert {e.severity for e in found.values()} == {dg.AssetCheckSeverity.ERROR}
    assert unexplained(contract) == {(minute, "PushEvent")}
    samples = query(
        "select sample_event_ids from reconciliation_differences where stream = %s and not explained", contract.stream
    )
    assert all(len(ids) == 5 for (ids,) in samples)
    assert final(contract)[hours.first] == (1, False)
    message = reconcile_command(running, "--json")
    assert [h["passed"] for h in message["hours"]] == [False, True, True]
    assert {d["minute"] for d in message["differences"]} == {minute.isoformat()}
    now = reconcile_command(running, "--json", "--check", "--from", hours.keys[0], "--to", hour_key(hours.last + HOUR))
    assert [h["passed"] for h in now["hours"]] == [False, True, True]
    assert now["differences"] == [{k: v for k, v in d.items() if k != "hour"} for d in message["differences"]]

    # an alert until a person accepts just this difference
    assert alerted(contract) == [contract.stream]
    reason = ("--reason", "counted by hand", "--by", "ann")
    accepted = command(running, "accept", contract.stream, hours.keys[0], *reason)
    assert accepted.returncode == 0, accepted.stderr
    assert alerted(contract) == []
    assert final(contract)[hours.first] == (1, True)
    assert not reconcile(contract, [hours.first])[hour_key(hours.first)].passed
    assert (final(contract)[hours.first], alerted(contract)) == ((1, True), [])
    assert command(running, contract.stream).returncode == 0
    assert "accepted by ann: counted by hand" in " ".join(command(running, contract.stream).stdout.split())
    change(f"update {contract.minutes_table} set count = {column} + 1 where {where}", minute)
    assert not reconcile(contract, [hours.first])[hour_key(hours.first)].passed
    assert (final(contract)[hours.first], alerted(contract)) == ((1, False), [contract.stream])

    change(f"update {contract.minutes_table} set count = {column} - 2 where {where}", minute)
    assert all(e.passed for e in reconcile(contract, [hours.first]).values())
    assert (final(contract)[hours.first], alerted(contract)) == ((1, True), [])
    refused = command(running, "accept", contract.stream, hours.keys[0], *reason)
    assert refused.returncode == 1
    assert "no unexplained difference" in refused.stderr


def test_one_changed_fact_is_named(filled: Contract, hours: HourRange) -> None:
    contract = filled
    table = facts_table(Settings.for_role("batch").lake, contract)
    key = hours.keys[1]
    rows = table.read([key])
    at = rows.row(777, named=True)
    changed = pl.when(pl.col(contract.event_id) == at[contract.event_id]).then(
        pl.lit([{"key": "size", "value": "1000"}], dtype=rows.schema["properties"])
    )
    table.replace([key], rows.with_columns(changed.otherwise("properties").alias("properties")))
    expected = {(at[contract.event_time].replace(second=0, microsecond=0), at["event_type"])}

    assert not reconcile(contract, hours.hours)[key].passed
    assert unexplained(contract) == expected
    assert hours.hours[1] not in final(contract)
    roll_up(contract, [hours.hours[1]])
    assert not reconcile(contract, hours.hours)[key].passed
    assert unexplained(contract) == expected

    table.replace([key], rows)
    roll_up(contract, [hours.hours[1]])
    assert reconcile(contract, hours.hours)[key].passed
    assert unexplained(contract) == set()
    assert final(contract).keys() == set(hours.hours)


def test_an_hour_waits_for_the_lake(running: Running, filled: Contract, hours: HourRange) -> None:
    """Agreement alone is not enough: what came on time might still lie behind the lake's end."""
    contract = filled
    change(
        "update lake_hours set to_offset = 100 where stream = %s and partition = 2 and to_offset > 100", contract.stream
    )
    assert all(e.passed for e in reconcile(contract, hours.hours).values())
    assert not final(contract)
    assert query(
        "select distinct waits_for like 'the lake to hold%%' from reconciliations where stream = %s", contract.stream
    ) == [(True,)]
    fill_lake(contract)
    reconcile(contract, hours.hours)
    assert final(contract).keys() == set(hours.hours)

    # late events: explained while the batch layer doesn't know of them, and then a revision
    send(contract, running, range(30_000, 30_010), hours.first, hours.first + HOUR)
    wait_until_read(contract)
    assert all(e.passed for e in reconcile(contract, hours.hours).values())
    fill_lake(contract)
    outdated = "select touched > rolled, rolled = reconciled from event_hours where stream = %s and hour = %s"
    assert query(outdated, contract.stream, hours.first) == [(True, True)]
    assert all(e.passed for e in reconcile(contract, hours.hours).values())
    fill_batch(contract, [hours.first])
    assert final(contract)[hours.first] == (2, False)
    assert query(outdated, contract.stream, hours.first) == [(False, False)]
    assert reconcile(contract, [hours.first])[hour_key(hours.first)].passed
    assert final(contract)[hours.first] == (2, True)
    assert query(outdated, contract.stream, hours.first) == [(False, True)]
