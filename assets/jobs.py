"""What is run together for hours of event time."""

from collections.abc import Iterable

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from streamgauge.contract.model import Contract
from streamgauge.dagster import keys as asset_keys
from streamgauge.dagster.keys import AssetPath


def event_hours_job(contract: Contract) -> UnresolvedAssetJobDefinition:
    """From the lake's rows to the verdict on the hour, with every check on the way."""
    made = (asset_keys.facts(contract), asset_keys.rollups_hourly(contract), asset_keys.reconciliation(contract))
    return _job(asset_keys.event_hours_job(contract), made, "Facts, rollups and reconciliation of hours of event time.")


def reconcile_job(contract: Contract) -> UnresolvedAssetJobDefinition:
    made = (asset_keys.reconciliation(contract),)
    return _job(asset_keys.reconcile_job(contract), made, "Compares hours of event time once more.")


def _job(name: str, paths: Iterable[AssetPath], description: str) -> UnresolvedAssetJobDefinition:
    return dg.define_asset_job(  # pyright: ignore[reportUnknownMemberType]
        name,
        selection=dg.AssetSelection.assets(*(dg.AssetKey(p) for p in paths)),
        description=description,
        executor_def=dg.in_process_executor,
    )
