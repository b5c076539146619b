"""Looking for an event in the log itself, behind the lake's end."""

from collections.abc import Mapping

import polars as pl

from streamgauge.contract.model import Contract
from streamgauge.errors import UserError
from streamgauge.records.decode import ROW
from streamgauge.records.log_spans import LogRecords, LogSpans
from streamgauge.records.record_decoder import RecordDecoder
from streamgauge.records.registry import registry
from streamgauge.settings import Settings
from streamgauge.state.topics import expected_first_positions
from streamgauge.stores.kafka import admin_client
from streamgauge.stores.lake import ERROR, INGEST_TIME, MILLISECONDS, OFFSET, PARTITION
from streamgauge.stores.postgres import Connection
from streamgauge.text import number

MOST = 5_000_000
"""Records that are looked through at most: more are the lake's business."""


def search_log(
    settings: Settings, connection: Connection, contract: Contract, event_id: str, ends: Mapping[int, int]
) -> pl.DataFrame:
    """The records with this id from the positions `ends` on, as rows of the lake, with no hour of the lake's.

    Raises UserError where more than MOST records would have to be read.
    """
    decoder = RecordDecoder(contract, registry(settings).find_schema)
    found = [pl.DataFrame(schema={PARTITION: pl.Int32})]
    topic = expected_first_positions(connection, admin_client(settings), contract)
    with LogSpans(settings, contract, topic) as log:
        spans = {p: (max(low, ends.get(p, low)), high) for p, (low, high) in log.ends().items()}
        behind = sum(high - first for first, high in spans.values())
        if behind > MOST:
            raise UserError(
                f"the lake of {contract.stream} is {number(behind)} records behind the log, too many to look through",
                "let Dagster take the hour: streamgauge backfill lake",
            )
        for records in log.read(spans):
            decoded = decoder.decode(records.payloads, records.partitions, records.offsets).frame
            found.append(_as_in_lake(decoded.filter(pl.col(contract.event_id) == event_id), records))
    return pl.concat(found, how="diagonal")


def _as_in_lake(rows: pl.DataFrame, records: LogRecords) -> pl.DataFrame:
    at = rows[ROW].to_numpy()
    return rows.drop(ROW).with_columns(
        pl.Series(PARTITION, records.partitions[at], dtype=pl.Int32),
        pl.Series(OFFSET, records.offsets[at], dtype=pl.Int64),
        pl.Series(INGEST_TIME, records.ingest_ms[at]).cast(MILLISECONDS),
        pl.lit(None, pl.String).alias(ERROR),
    )
