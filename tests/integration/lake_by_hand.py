"""The lake's part of a test that is about what comes after it: every record of the log, as of now."""

from collections.abc import Sequence
from datetime import UTC, datetime

import polars as pl
from confluent_kafka import Message

from streamgauge.avro import avro_schema
from streamgauge.contracts import Contract
from streamgauge.decode import ROW, Decoder
from streamgauge.hours import hour_key, hour_start
from streamgauge.lake import MILLISECONDS, lake_table
from streamgauge.owning_hour import owning_hour
from streamgauge.postgres import connect
from streamgauge.settings import Settings, batch_start
from streaming.producer.producer import find_schema_id
from tests.integration.log import read_log


def fill_lake(contract: Contract) -> int:
    """Writes what the log holds now, and says so in `lake_hours`. Returns how many records there are."""
    messages = read_log(Settings.for_role("worker"), contract)
    rows = decoded(contract, messages)
    settings = Settings.for_role("batch")
    table = lake_table(settings.lake, contract)
    keys = rows["ingest_hour"].unique().to_list()
    table.replace(keys, rows)
    spans = rows.group_by("ingest_hour", "partition").agg(
        pl.col("offset").min().alias("low"), (pl.col("offset").max() + 1).alias("high"), pl.len().alias("rows")
    )
    with connect(settings) as connection:
        connection.execute("delete from lake_hours where stream = %s", (contract.stream,))
        for key, partition, low, high, count in spans.iter_rows():
            hour = datetime.strptime(key, "%Y-%m-%d-%H").replace(tzinfo=UTC)
            connection.execute(
                """insert into lake_hours
                (stream, hour, partition, from_offset, to_offset, rows, closed, version, run_id)
                values (%s, %s, %s, %s, %s, %s, false, 0, 'test')""",
                (contract.stream, hour, partition, low, high, count),
            )
    return len(messages)


def decoded(contract: Contract, messages: Sequence[Message]) -> pl.DataFrame:
    """Rows of the lake's schema."""
    own = find_schema_id(Settings.for_role("producer"), contract)
    result = Decoder(contract, lambda i: avro_schema(contract) if i == own else None).decode(
        [m.value() for m in messages]
    )
    positions = pl.DataFrame(
        {
            ROW: pl.Series(range(len(messages)), dtype=pl.UInt32),
            "partition": pl.Series([m.partition() for m in messages], dtype=pl.Int32),
            "offset": pl.Series([m.offset() for m in messages], dtype=pl.Int64),
            "ingest_time": pl.Series([m.timestamp()[1] for m in messages], dtype=pl.Int64).cast(MILLISECONDS),
            "ingest_hour": [
                hour_key(hour_start(datetime.fromtimestamp(m.timestamp()[1] / 1000, UTC))) for m in messages
            ],
            "record": pl.Series([m.value() for m in messages], dtype=pl.Binary),
        }
    )
    reasons = pl.DataFrame(
        [(r.row, r.reason) for r in result.rejected], schema={ROW: pl.UInt32, "error": pl.String}, orient="row"
    )
    rows = positions.join(result.frame, on=ROW, how="left").join(reasons, on=ROW, how="left")
    return rows.with_columns(
        owning_hour(contract, batch_start()).alias("event_hour"),
        pl.when(pl.col("error").is_not_null()).then("record").alias("record"),
    ).drop(ROW)
