"""Speed against batch, hour by hour of event time: the result in Postgres and as a check, and hours made final."""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from assets import event_hours
from assets.compare_hours import compare_hours
from assets.evaluations import Verdict, log_evaluations
from assets.partitions import HOURLY_RUNS, Partitions, PartitionsOf, hours_of
from assets.resources import BatchResource
from assets.specs import asset_spec, hourly_freshness, postgres_uri, table_columns
from assets.tracing import asset_span
from quality.reconciliation.compare import Difference
from quality.reconciliation.verdict import FIGURES, HourResult
from quality.reconciliation.write import HourStatus
from streamgauge.contract.model import Contract
from streamgauge.dagster import keys as asset_keys
from streamgauge.dagster.hours import HOUR, hour_key
from streamgauge.dagster.names import PARTITION_ROW_COUNT
from streamgauge.stores.tables.reconciliation import TABLES
from streamgauge.telemetry.catalog import attributes as a
from streamgauge.text import number

CHECK = "layers_agree"

_LISTED = 20


def definitions(contracts: Sequence[Contract], partitions_of: PartitionsOf) -> dg.Definitions:
    return dg.Definitions(assets=[make_reconciliation(c, partitions_of(c)) for c in contracts])


def make_reconciliation(contract: Contract, partitions: Partitions) -> dg.AssetsDefinition:
    path = asset_keys.reconciliation(contract)
    key = dg.AssetKey(path)

    @dg.multi_asset(
        name=f"{contract.stream}_reconciliation",
        specs=[
            asset_spec(
                contract,
                path,
                description="Counts and sums of the speed layer against those of the batch layer, for each minute and "
                "its dimensions. Every difference is explained by late events and duplicates, or named. An hour that "
                "agrees, and for which nothing more can come on time, becomes final.",
                kinds={"timescaledb", "polars"},
                layer="reconciliation",
                uri=postgres_uri("reconciliations"),
                columns=table_columns(TABLES[0]),
                freshness=hourly_freshness(contract),
                code=["assets.reconciliation", "assets.compare_hours", "quality.reconciliation"],
                deps=[asset_keys.rollups_hourly(contract), asset_keys.facts(contract), asset_keys.minutes(contract)],
                partitions=partitions.event_hours,
            )
        ],
        check_specs=[
            dg.AssetCheckSpec(
                CHECK,
                asset=key,
                description="Every difference between the layers is explained by late events, duplicates, or records "
                "that only one layer has.",
                partitions_def=partitions.event_hours,
            )
        ],
        backfill_policy=HOURLY_RUNS,
    )
    def reconciliation(
        context: dg.AssetExecutionContext, batch: BatchResource
    ) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
        hours = hours_of(context)
        with asset_span(context, contract, path, event_hours.runs(batch, contract, hours)) as making:
            results, standings = compare_hours(batch, contract, hours, context.run.run_id)
            making.set_attribute(a.ROWS.name, sum(result.buckets for result in results))
        verdicts: list[Verdict] = []
        for result in results:
            partition, metadata = hour_key(result.hour), _metadata(contract, result, standings[result.hour])
            context.add_asset_metadata(metadata, asset_key=key, partition_key=partition)
            verdicts.append((partition, _result(key, result.passed, _why(result), metadata)))
        yield dg.MaterializeResult(asset_key=key)
        if context.has_partition_key:
            yield verdicts[0][1]
        else:
            log_evaluations(context, key, verdicts)
            yield _overall(key, results)

    return reconciliation


def _metadata(contract: Contract, result: HourResult, standing: HourStatus) -> dict[str, Any]:
    """Numbers and minutes only: dimensions and event ids stay in Postgres, where the command finds them."""
    begin, end = hour_key(result.hour), hour_key(result.hour + HOUR)
    metadata: dict[str, Any] = {
        PARTITION_ROW_COUNT: result.buckets,
        **{f: getattr(result, f) for f in FIGURES},
        "status": standing.status,
        "command": f"streamgauge reconcile {contract.stream} --from {begin} --to {end} --explained",
    }
    if standing.accepted:
        metadata["accepted"] = True
    if standing.revision is not None:
        metadata["revision"] = standing.revision
    elif result.waits_for:
        metadata["waits for"] = result.waits_for
    unexplained = [d for d in result.differences if not d.explained]
    if unexplained:
        metadata["unexplained differences"] = dg.MetadataValue.md(_listed(unexplained))
    return metadata


def _listed(differences: Sequence[Difference]) -> str:
    rows = [
        f"| {d.bucket[0]:%H:%M} | {d.measure} | {number(d.speed)} | {number(d.batch)} | {d.explanation} |"
        for d in differences[:_LISTED]
    ]
    return "\n".join(("| minute | figure | speed | batch | why |", "|---|---|---:|---:|---|", *rows))


def _why(result: HourResult) -> str:
    if not result.buckets:
        return "the hour is empty in both layers"
    if result.passed:
        return (
            f"{result.buckets} buckets agree, {result.explained} of them by late events, duplicates or missing offsets"
        )
    return f"{result.unexplained} of {result.buckets} buckets differ, and nothing explains it"


def _overall(key: dg.AssetKey, results: Sequence[HourResult]) -> dg.AssetCheckResult:
    failed = [r for r in results if not r.passed]
    metadata = {
        **{f: sum(getattr(r, f) for r in results) for f in FIGURES},
        "hours": len(results),
        "hours that differ": ", ".join(hour_key(r.hour) for r in failed) or "none",
    }
    return _result(key, not failed, f"{len(failed)} of {len(results)} hours differ", metadata)


def _result(key: dg.AssetKey, passed: bool, why: str, metadata: dict[str, Any]) -> dg.AssetCheckResult:
    severity = dg.AssetCheckSeverity.ERROR
    return dg.AssetCheckResult(
        asset_key=key, check_name=CHECK, passed=passed, severity=severity, description=why, metadata=metadata
    )
