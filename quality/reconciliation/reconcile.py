"""Compares the hours of a stream as they are now."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from quality.reconciliation.gather import Gathered, gather
from quality.reconciliation.layers import rolled_up
from quality.reconciliation.read import Snapshot, read_snapshot
from quality.reconciliation.verdict import HourResult, LayerMinutes, evaluate
from streamgauge.contract.model import Contract
from streamgauge.dagster.hours import hour_key
from streamgauge.rollup.pseudonyms import Pseudonyms
from streamgauge.stores.fact_tables import duplicates_table, facts_table
from streamgauge.stores.postgres import Connection


@dataclass(frozen=True)
class Compared:
    snapshot: Snapshot
    results: list[HourResult]


def compare(
    connection: Connection, contract: Contract, pseudonyms: Pseudonyms, lake: str, hours: Sequence[datetime]
) -> Compared:
    """Each layer is read once for all hours; the lake's single values only of buckets that differ. Writes nothing."""
    keys = [hour_key(h) for h in hours]
    built, left_out = (table(lake, contract).scan(keys) for table in (facts_table, duplicates_table))
    snapshot = read_snapshot(connection, contract, hours)
    layers = LayerMinutes(
        snapshot.speed, snapshot.batch, rolled_up(contract, pseudonyms, built, left_out).collect(engine="streaming")
    )

    def look_up(differing: pl.DataFrame) -> Gathered:
        return gather(contract, pseudonyms, built, left_out, differing)

    results = evaluate(
        contract,
        hours,
        layers,
        look_up,
        lambda hour, came_in: snapshot.state_of(contract, hour, came_in),
        lambda hour: snapshot.waits_for(contract, hour),
    )
    return Compared(snapshot, results)
