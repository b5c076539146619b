"""Housekeeping: what is over goes, what is needed stays."""

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from assets.housekeeping.event_log import Pruned, prune
from assets.housekeeping.lake import DEAD_HOURS, tend
from assets.housekeeping.policy import Kept, hypertables, lake_tables
from lineage.emit import delete_events, events_folder
from streamgauge.contract.load import load_contract
from streamgauge.dagster.hours import hour_key
from streamgauge.settings import CHECKOUT, Settings
from streamgauge.stores.lake import LakeTable, table_at

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DAY_MS = 86_400_000
CONTRACT = load_contract(CHECKOUT / "platform" / "contracts" / "user_events.yaml")
SCHEMA = pl.Schema({"hour": pl.String, "n": pl.Int64})


@pytest.fixture
def table(tmp_path: Path) -> LakeTable:
    return table_at(str(tmp_path), "some/table", SCHEMA, "hour")


def rows(key: str, *numbers: int) -> pl.DataFrame:
    return pl.DataFrame({"hour": [key] * len(numbers), "n": numbers}, schema=SCHEMA)


def parquet_files(table: LakeTable) -> set[Path]:
    return set(Path(table.url).rglob("*.parquet"))


def age(files: set[Path], hours: float) -> None:
    then = time.time() - hours * 3600
    for file in files:
        os.utime(file, (then, then))


def test_partitions_past_their_retention_go_and_the_others_stay(table: LakeTable) -> None:
    for key in ("2025-12-31-23", "2026-01-01-00", "2026-01-01-01"):
        table.replace([key], rows(key, 1, 2))
    done = tend(Kept(table, "2026-01-01-00"), NOW)
    assert done is not None
    assert done.partitions == 1
    assert set(table.stored()) == {"2026-01-01-00", "2026-01-01-01"}


def test_without_a_policy_nothing_goes(table: LakeTable) -> None:
    table.replace(["2013-10-01-00"], rows("2013-10-01-00", 1))
    tend(Kept(table, None), NOW)
    assert table.read()["n"].to_list() == [1]


def test_small_files_of_a_settled_partition_become_one_with_the_same_rows(table: LakeTable) -> None:
    now = datetime.now(UTC)
    old, new = hour_key(now - timedelta(days=3)), hour_key(now)
    for n in range(5):
        table.append(rows(old, n))
        table.append(rows(new, n))
    done = tend(Kept(table, None), now)
    assert done is not None
    assert done.compacted == 1
    stored = table.stored()
    # the new one may be replaced at any moment
    assert (stored[old].files, stored[new].files) == (1, 5)
    assert sorted(table.read([old])["n"]) == list(range(5))


def test_files_of_killed_runs_and_of_old_versions_go_once_nobody_can_need_them(table: LakeTable) -> None:
    table.replace(["2026-01-01-00"], rows("2026-01-01-00", 1))
    orphan = Path(table.url) / "hour=2026-01-01-00" / "part-00000-killed-c000.snappy.parquet"
    orphan.write_bytes(b"half a file")
    assert tend(Kept(table, None), NOW) is not None
    assert orphan.exists(), "a run that is still writing would lose its file"
    age({orphan}, DEAD_HOURS + 1)
    done = tend(Kept(table, None), NOW)
    assert done is not None
    assert (done.files, orphan.exists()) == (1, False)
    assert table.read()["n"].to_list() == [1]


def test_files_of_lineage_events_go_after_their_last_event(tmp_path: Path) -> None:
    settings = Settings.model_construct(data_dir=tmp_path)
    assert delete_events(settings, NOW) == 0
    folder = events_folder(settings)
    folder.mkdir()
    old, new, other = (folder / n for n in ("events-2026-01-30.ndjson", "events-2026-03-01.ndjson", "notes.txt"))
    for file in (old, new, other):
        file.write_text("{}\n")
    for file in (old, other):
        os.utime(file, (NOW.timestamp() - 1, NOW.timestamp() - 1))
    assert delete_events(settings, NOW) == 1
    assert set(folder.iterdir()) == {new, other}


def test_a_table_that_is_not_there_yet_is_no_error(table: LakeTable) -> None:
    assert tend(Kept(table, "2026-01-01-00"), NOW) is None


def test_the_contract_says_how_long_each_layer_keeps() -> None:
    contract = replace(CONTRACT, lake_retention_ms=10 * DAY_MS, facts_retention_ms=20 * DAY_MS)
    kept = {k.table.url.removeprefix("/lake/"): k.first for k in lake_tables("/lake", [contract], NOW)}
    assert kept["lake/user_events"] == "2026-02-19-00"
    facts = {kept[f"{layer}/user_events"] for layer in ("facts", "duplicates", "quarantine")}
    assert facts == {"2026-02-09-00"}
    assert kept["rollups/user_events_hourly"] is None
    assert kept["dims/date"] is None


def test_minutes_are_dropped_only_where_the_contract_says_when() -> None:
    assert hypertables([replace(CONTRACT, minutes_retention_ms=None)], NOW) == []
    kept = hypertables([replace(CONTRACT, minutes_retention_ms=DAY_MS)], NOW)
    assert {k.first for k in kept} == {NOW - timedelta(days=1)}
    assert {k.table for k in kept} == {"user_events_minutes", "user_events_top_minutes", "user_events_batch_minutes"}


def test_dagster_forgets_what_is_old_but_not_which_partitions_there_are() -> None:
    partitions = dg.StaticPartitionsDefinition(["a", "b"])

    @dg.asset(partitions_def=partitions)
    def thing() -> None: ...

    check = dg.AssetCheckKey(thing.key, "checked")

    def names(keys: Sequence[str]) -> set[str]:
        return set(instance.get_materialized_partitions(thing.key)) & set(keys)

    with dg.DagsterInstance.ephemeral() as instance:  # pyright: ignore[reportUnknownMemberType]
        first, again, other = (
            dg.materialize([thing], instance=instance, partition_key=key).run_id for key in ("a", "a", "b")
        )
        for _ in range(3):
            instance.report_runless_asset_event(dg.AssetObservation(thing.key))
            instance.report_runless_asset_event(_evaluation(check, None))
        for key in ("a", "b"):
            instance.report_runless_asset_event(_evaluation(check, key))
        assert prune(instance, datetime.now(UTC) - timedelta(hours=1)) == Pruned(0, 0, 0)
        done = prune(instance, datetime.now(UTC) + timedelta(hours=1))
        assert done.events > 20
        assert (done.checks, done.runs) == (2, 1)
        results = instance.event_log_storage.get_asset_check_execution_history(check, limit=10)
        assert sorted(r.partition or "" for r in results) == ["", "a", "b"]
        # the first run's partition was made again by the second
        assert instance.get_run_by_id(first) is None
        assert instance.get_run_by_id(again) is not None
        assert instance.get_run_by_id(other) is not None
        assert names(["a", "b"]) == {"a", "b"}
        kept = [e.dagster_event_type for e in instance.all_logs(other)]
        assert kept == [dg.DagsterEventType.ASSET_MATERIALIZATION]
        assert not instance.fetch_observations(thing.key, limit=5).records


def _evaluation(check: dg.AssetCheckKey, partition: str | None) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(asset_key=check.asset_key, check_name=check.name, passed=True, partition=partition)
