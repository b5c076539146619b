"""Compares hours under the locks of all that is compared: for the asset, and for a generation that was just filled."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from assets.locks import partition_lock
from assets.proof.collect import final_hours, note_evidence
from assets.resources import BatchResource
from quality.reconciliation.reconcile import compare
from quality.reconciliation.verdict import HourResult
from quality.reconciliation.write import HourStatus, write
from streamgauge.contract.model import Contract
from streamgauge.dagster import keys as asset_keys
from streamgauge.rollup.pseudonyms import pseudonyms_of


def compare_hours(
    batch: BatchResource, contract: Contract, hours: Sequence[datetime], run_id: str
) -> tuple[Sequence[HourResult], Mapping[datetime, HourStatus]]:
    """Writes the results, makes hours final, and notes the evidence of those that are."""
    with (
        # what is compared must not be replaced before the verdict on it is written
        partition_lock(batch, asset_keys.facts(contract), hours),
        partition_lock(batch, asset_keys.rollups_hourly(contract), hours),
        partition_lock(batch, asset_keys.reconciliation(contract), hours) as lock,
        batch.connect(autocommit=True) as connection,
    ):
        pseudonyms = pseudonyms_of(batch.settings, contract)
        compared = compare(connection, contract, pseudonyms, batch.settings.lake, hours)
        lock.check()
        standings = write(connection, contract, compared.results, compared.snapshot.progress, run_id)
        lock.check()
        good = final_hours((r, standings[r.hour]) for r in compared.results)
        note_evidence(connection, batch.settings, contract, run_id, good)
    return compared.results, standings
