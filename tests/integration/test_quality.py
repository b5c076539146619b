"""Checks and report on the real servers: from records in Kafka to Dagster's event log, Postgres and the page."""

import html
import json
import re
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import polars as pl
from typer.testing import CliRunner

from assets.facts.asset import make_facts
from assets.lake import make_lake
from assets.partitions import ALL
from assets.quality.checks import make_books_check, make_facts_checks, make_lake_checks
from assets.quality.report import make_report
from assets.resources import BatchResource
from quality.results import Result, latest
from streamgauge.cli.dead_letters import app
from streamgauge.contract.model import Contract
from streamgauge.dagster import keys as asset_keys
from streamgauge.dagster.hours import HOUR, hour_key, hour_start
from streamgauge.producer.producer import find_schema_id
from streamgauge.records.avro import avro_schema
from streamgauge.settings import Settings
from streamgauge.stores.fact_tables import facts_table
from streamgauge.stores.postgres import connect
from streamgauge.stores.reports import Reports
from tests.integration.running import Running, encoded, events, one, rows_of, started

SECRET = "mary.sue@example.org"
EVENTS, TWICE, BROKEN = 300, 20, 2


def filled(running: Running) -> datetime:
    """Good events, some of them twice, and records that can't be facts, all of one hour, which is returned."""
    running.apply()
    started(running)
    at = hour_start(datetime.now(UTC)) - HOUR / 2
    good = events(running.contract, EVENTS, at=int(at.timestamp() * 1000), user_id=SECRET)
    running.send(good)
    running.send(good.head(TWICE))
    schema, schema_id = avro_schema(running.contract), find_schema_id(Settings.for_role("producer"), running.contract)
    broken = one(running.contract, user_id=SECRET, event_type=f"of {SECRET}", timestamp=int(at.timestamp() * 1000))
    running.send_raw((None, encoded(schema, schema_id, broken)), (None, b"\0no frame of " + SECRET.encode()))
    started(running)
    return hour_start(at)


def materialize(instance: dg.DagsterInstance, hours: Sequence[datetime], *assets: Any, succeeds: bool = True) -> Any:
    tags = {
        "dagster/asset_partition_range_start": hour_key(min(hours)),
        "dagster/asset_partition_range_end": hour_key(max(hours)),
    }
    one_hour = hour_key(hours[0]) if len(hours) == 1 else None
    result = dg.materialize(  # pyright: ignore[reportUnknownMemberType]
        assets,
        instance=instance,
        resources={"batch": BatchResource()},
        raise_on_error=False,
        partition_key=one_hour,
        tags=None if one_hour else tags,
    )
    assert result.success == succeeds
    return result


def results(contract: Contract, hours: Sequence[datetime]) -> dict[str, list[Result]]:
    found: dict[str, list[Result]] = {}
    with connect(Settings.for_role("reader")) as connection:
        for result in latest(connection, contract, hours):
            found.setdefault(result.check, []).append(result)
    return found


def evaluations(instance: dg.DagsterInstance, contract: Contract, check: str) -> list[tuple[str | None, bool]]:
    key = dg.AssetCheckKey(dg.AssetKey(asset_keys.facts(contract)), check)
    found: Any = instance.event_log_storage.get_asset_check_execution_history(key, limit=100)
    evaluated = {"SUCCEEDED": True, "FAILED": False}
    return sorted(
        (r.partition, evaluated[r.status.value]) for r in found if r.partition and r.status.value in evaluated
    )


def all_texts(instance: dg.DagsterInstance) -> str:
    """Every event of every run, as Dagster keeps it."""
    return "\n".join(
        record.event_log_entry.to_json()
        for run in instance.get_runs()
        for record in instance.get_records_for_run(run.run_id).records
    )


def test_from_records_to_verdicts_and_the_page(running: Running, caplog: Any) -> None:
    hour = filled(running)
    contract = running.contract
    now = hour_start(datetime.now(UTC))
    with dg.instance_for_test() as instance:
        materialize(instance, [now - HOUR, now], make_lake(contract, ALL), make_lake_checks(contract, ALL))
        materialize(instance, [hour], make_facts(contract, ALL), make_facts_checks(contract, ALL))
        daily = [make_report(contract, ALL), make_books_check(contract, ALL)]
        # the day before last: what was found of the day after is none of its hours
        for day in (hour, hour - 24 * HOUR):
            result = dg.materialize(  # pyright: ignore[reportUnknownMemberType]
                daily, instance=instance, resources={"batch": BatchResource()}, partition_key=f"{day:%Y-%m-%d}"
            )
            assert result.success
        assert evaluations(instance, contract, "completeness") == [(hour_key(hour), True)]
        # no history and so no verdict: Dagster gets no pass
        assert evaluations(instance, contract, "volume") == []
        message = all_texts(instance)
    assert contract.stream in message
    assert SECRET not in message
    assert SECRET not in caplog.text

    found = results(contract, [hour])
    assert {check: [r.status for r in rs] for check, rs in found.items() if rs[0].asset.startswith("facts/")} == {
        "contract": ["passed"],
        "quarantine": ["passed"],
        "completeness": ["passed"],
        "volume": ["unknown"],
        "skew": ["passed"],
        "references": ["passed"],
    }
    # the record that can't be decoded belongs to the hour in which it came in
    assert found["completeness"][0].details["facts"] == EVENTS
    assert found["completeness"][0].details["duplicates"] == TWICE
    offsets = results(contract, [now - HOUR, now])["offsets"]
    assert sum(r.denominator for r in offsets) == EVENTS + TWICE + BROKEN
    assert {r.status for r in offsets} == {"passed"}

    page = Reports(Settings.for_role("api").lake).read(contract.stream, f"{hour:%Y-%m-%d}")
    assert page is not None
    assert SECRET not in page
    text = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())
    assert "event_type: doesn't match" in text
    assert f"{EVENTS + TWICE + BROKEN} acknowledged to the worker" in text

    # the command on the page is the one that does it
    command = next(m for m in re.findall(r"streamgauge dead-letters requeue app-\S+", text))
    assert CliRunner().invoke(app, shlex.split(command)[2:]).exit_code == 0
    position = command.rpartition(" ")[2]
    requeued = dict(
        rows_of("dead_letters", "concat_ws('/', topic, partition, \"offset\"), requeued_at is not null", contract)
    )
    assert requeued[position]


def test_a_fact_lost_or_spoilt_by_hand_is_named_and_stops_what_follows(running: Running) -> None:
    hour = filled(running)
    contract = running.contract
    now = hour_start(datetime.now(UTC))
    settings = Settings.for_role("batch")
    table = facts_table(settings.lake, contract)
    came_after: list[str] = []
    with dg.instance_for_test() as instance:
        materialize(instance, [now - HOUR, now], make_lake(contract, ALL))
        materialize(instance, [hour], make_facts(contract, ALL))
        facts = table.read([hour_key(hour)]).sort("partition", "offset")
        lost, spoilt = facts.row(0, named=True), facts.row(1, named=True)
        at = (pl.col("partition") == spoilt["partition"]) & (pl.col("offset") == spoilt["offset"])

        @dg.asset(key=dg.AssetKey(asset_keys.facts(contract)), partitions_def=ALL.event_hours)
        def spoil() -> None:
            """In the place of the facts, or they would be mended before they are checked."""
            table.replace(
                [hour_key(hour)],
                facts.tail(-1).with_columns(
                    pl.when(at).then(pl.lit(SECRET + " ")).otherwise(pl.col("event_type")).alias("event_type"),
                    pl.when(at).then(pl.lit(-1)).otherwise(pl.col("user_key")).alias("user_key"),
                ),
            )

        @dg.asset(deps=[spoil], partitions_def=ALL.event_hours)
        def after() -> None:
            came_after.append("ran")

        materialize(instance, [hour], spoil, make_facts_checks(contract, ALL), after, succeeds=False)
        found = {check: rs[0] for check, rs in results(contract, [hour]).items() if rs[0].asset.startswith("facts/")}
        assert came_after == []
        assert evaluations(instance, contract, "contract") == [(hour_key(hour), False)]
        materialize(instance, [hour], make_facts(contract, ALL), make_facts_checks(contract, ALL), after)
        assert came_after == ["ran"]
        again = evaluations(instance, contract, "contract")
    assert again == [(hour_key(hour), False), (hour_key(hour), True)]
    for check, row, rule in (
        ("completeness", lost, "missing"),
        ("contract", spoilt, "event_type: doesn't match"),
        ("references", spoilt, "user_key: not in its dimension"),
    ):
        assert (found[check].status, found[check].failing) == ("failed", 1), check
        (sample,) = found[check].samples
        assert sample["position"] == f"{contract.topic}/{row['partition']}/{row['offset']}"
        assert sample["rule"].startswith(rule)
    assert SECRET not in json.dumps(found["references"].samples)
