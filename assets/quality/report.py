"""The daily data-quality report as an asset: a page beside the lake, and its gist in Dagster."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from assets.automation import daily_condition
from assets.partitions import DAILY_RUNS, Partitions, upstream
from assets.resources import BatchResource
from assets.specs import asset_spec, daily_freshness, table_columns
from quality.report.gather import gather
from quality.report.markdown import markdown
from quality.report.page import render
from streamgauge.contract.model import Contract
from streamgauge.dagster import keys as asset_keys
from streamgauge.dagster.hours import DAY_FORMAT
from streamgauge.settings import lake_root
from streamgauge.stores.reports import Reports
from streamgauge.stores.tables.quality import CHECK_RESULTS


def make_report(contract: Contract, partitions: Partitions) -> dg.AssetsDefinition:
    path = asset_keys.report(contract)
    key = dg.AssetKey(path)

    @dg.multi_asset(
        name=f"{contract.stream}_report",
        specs=[
            asset_spec(
                contract,
                path,
                description="Data quality of a day: each check hour by hour with what was expected and observed, rows "
                "that failed with their place in Kafka and masked fields, what was quarantined and how to send it "
                "again, and the books of both layers.",
                kinds={"html", "jinja"},
                layer="quality",
                uri=f"{lake_root()}/reports/{contract.stream}",
                columns=table_columns(CHECK_RESULTS),
                freshness=daily_freshness(contract),
                code=["assets.quality.report", "quality.report"],
                deps=[upstream(asset_keys.facts(contract)), upstream(asset_keys.reconciliation(contract))],
                partitions=partitions.event_days,
                condition=daily_condition(),
            )
        ],
        backfill_policy=DAILY_RUNS,
    )
    def report(context: dg.AssetExecutionContext, batch: BatchResource) -> Iterator[dg.MaterializeResult[Any]]:
        reports = Reports(batch.settings.lake)
        for day in context.partition_keys:
            with batch.connect(autocommit=True) as connection:
                start = datetime.strptime(day, DAY_FORMAT).replace(tzinfo=UTC)
                gathered = gather(connection, contract, batch.settings.lake, start)
            where = reports.write(contract.stream, day, render(gathered))
            metadata = {**gathered.figures(), "page": where, "report": dg.MetadataValue.md(markdown(gathered))}
            context.add_asset_metadata(metadata, asset_key=key, partition_key=day)
        yield dg.MaterializeResult(asset_key=key)

    return report
