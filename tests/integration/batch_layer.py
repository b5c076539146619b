"""The batch layer of a test that is about what comes after it, made as Dagster's runs make it."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import polars as pl

from assets.facts.asset import build
from assets.lake.load import load_hour
from assets.partitions import ALL
from assets.reconciliation import CHECK, make_reconciliation
from assets.resources import BatchResource
from assets.rollups.asset import roll_hours
from streamgauge.contract.model import Contract
from streamgauge.dagster import keys as asset_keys
from streamgauge.dagster.hours import HOUR, hour_key, hour_start
from streamgauge.settings import batch_start
from tests.integration.running import Running, events

RUN = "test"


def fill_lake(contract: Contract, hours: Iterable[datetime] | None = None) -> int:
    """Takes the hours of ingest time, by default this one and the one before. Returns how many records they have."""
    batch, now = BatchResource(), datetime.now(UTC)
    loaded = 0
    with batch.connect(autocommit=True) as connection:
        for hour in hours or (hour_start(now) - HOUR, hour_start(now)):
            built = load_hour(batch.settings, contract, connection, hour, now=now, start=batch_start(), run_id=RUN)
            loaded += built.stored.rows
    return loaded


def fill_batch(contract: Contract, hours: Sequence[datetime]) -> None:
    """Facts and rollups of the hours of event time."""
    build(BatchResource(), contract, hours, RUN)
    roll_up(contract, hours)


def roll_up(contract: Contract, hours: Sequence[datetime]) -> None:
    roll_hours(BatchResource(), contract, hours, RUN)


def send(contract: Contract, running: Running, numbers: range, start: datetime, end: datetime) -> None:
    """Events of these numbers, evenly over the time."""
    frame = events(contract, len(numbers), start=numbers.start)
    step = (end - start) / len(numbers)
    times = [int((start + i * step).timestamp() * 1000) for i in range(len(numbers))]
    running.send(frame.with_columns(pl.Series(contract.event_time, times).cast(frame.schema[contract.event_time])))


def reconcile(contract: Contract, hours: Sequence[datetime]) -> dict[str | None, dg.AssetCheckEvaluation]:
    """By the asset; the check's evaluations by partition, that of the whole run under None."""
    instance = dg.DagsterInstance.ephemeral()  # pyright: ignore[reportUnknownMemberType]
    keys = [hour_key(h) for h in hours]
    tags = {"dagster/asset_partition_range_start": keys[0], "dagster/asset_partition_range_end": keys[-1]}
    result = dg.materialize(
        [make_reconciliation(contract, ALL)],
        instance=instance,
        resources={"batch": BatchResource()},
        partition_key=keys[0] if len(keys) == 1 else None,
        tags=tags if len(keys) > 1 else None,
    )
    assert result.success
    key = dg.AssetCheckKey(dg.AssetKey(asset_keys.reconciliation(contract)), CHECK)
    found: dict[str | None, dg.AssetCheckEvaluation] = {}
    for event in instance.all_logs(result.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION):
        evaluation: Any = event.get_dagster_event().event_specific_data
        assert evaluation.asset_check_key == key
        found[evaluation.partition] = evaluation
    return found
