"""The batch layer's part of a test that is about what comes after it: every record of the log, as of now."""

from collections.abc import Sequence
from datetime import UTC, datetime

import polars as pl
from confluent_kafka import Message
from psycopg import sql

from quality.reconciliation.layers import rolled_up
from quality.reconciliation.reconcile import lake_part
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


def fill_batch(contract: Contract, hours: Sequence[datetime]) -> None:
    """Facts, duplicates and minute rollups of the hours, from the lake: the first record of an event id is the fact.
    All records must be valid, and the reference table empty.
    """
    settings = Settings.for_role("batch")
    keys = [hour_key(h) for h in hours]
    rows = lake_table(settings.lake, contract).read()
    assert contract.reference is not None
    unknown = {c: pl.lit(contract.reference.unknown) for c in contract.reference.columns}
    valid = rows.sort("ingest_time", "partition", "offset").with_columns(
        **unknown, event_hour=pl.col(contract.event_time).dt.strftime("%Y-%m-%d-%H")
    )
    in_hours = valid.filter(pl.col("event_hour").is_in(keys))
    first = pl.col(contract.event_id).is_first_distinct()
    facts, duplicates = in_hours.filter(first), in_hours.filter(~first)
    lake_part(settings.lake, contract, "facts").replace(keys, facts)
    lake_part(settings.lake, contract, "duplicates").replace(keys, duplicates)
    roll_up(contract, hours)


def roll_up(contract: Contract, hours: Sequence[datetime]) -> None:
    settings = Settings.for_role("batch")
    keys = [hour_key(h) for h in hours]
    facts, duplicates = (lake_part(settings.lake, contract, name).scan(keys) for name in ("facts", "duplicates"))
    minutes = rolled_up(contract, facts, duplicates).collect().rename({"minute": "window_start"})
    table = sql.Identifier(f"{contract.stream}_batch_minutes")
    with connect(settings) as connection, connection.cursor() as cursor:
        cursor.execute(
            sql.SQL("delete from {} where date_trunc('hour', window_start) = any(%s)").format(table), (list(hours),)
        )
        columns = sql.SQL(", ").join(map(sql.Identifier, minutes.columns))
        with cursor.copy(sql.SQL("copy {} ({}) from stdin").format(table, columns)) as copy:
            for row in minutes.iter_rows():
                copy.write_row(row)
