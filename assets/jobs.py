"""What is run together for hours of event time."""

from collections.abc import Iterable
from typing import Any

import dagster as dg

from streamgauge.contract.model import Contract
from streamgauge.dagster import keys as asset_keys
from streamgauge.dagster.keys import AssetPath

Job = Any
"""Dagster exports no name for what `define_asset_job` returns."""


def event_hours_job(contract: Contract) -> Job:
    """From the lake's rows to the verdict on the hour, with every check on the way."""
    targets = asset_keys.event_hours_assets(contract)
    return _job(
        asset_keys.event_hours_job(contract), targets, "Facts, rollups and reconciliation of hours of event time."
    )


def reconcile_job(contract: Contract) -> Job:
    targets = (asset_keys.reconciliation(contract),)
    return _job(asset_keys.reconcile_job(contract), targets, "Compares hours of event time once more.")


def lake_job(contract: Contract) -> Job:
    targets = (asset_keys.lake(contract),)
    return _job(
        asset_keys.lake_job(contract), targets, "Takes an hour of ingest time into the lake, also the open one."
    )


def _job(name: str, paths: Iterable[AssetPath], description: str) -> Job:
    return dg.define_asset_job(  # pyright: ignore[reportUnknownMemberType]
        name,
        selection=dg.AssetSelection.assets(*(dg.AssetKey(p) for p in paths)),
        description=description,
        executor_def=dg.in_process_executor,
    )
