"""The rows of a partition's minutes and top-N, replaced in the caller's transaction."""

import polars as pl
from psycopg import sql

from assets.rebuild.contributions import Contributions
from assets.rebuild.records import Times
from streamgauge.contract.model import Contract
from streamgauge.rollup.plan import MINUTE
from streamgauge.stores.postgres import Connection


def replace(
    connection: Connection, contract: Contract, partition: int, times: Times, contributed: Contributions, upto: int
) -> pl.DataFrame:
    """Returns the keys and counters of the rows that were there."""
    columns = [*contract.dimension_names, "count", "late", "duplicates"]
    deleted = connection.execute(
        sql.SQL(
            "DELETE FROM {} WHERE partition = %s AND minute >= %s AND minute < %s"
            " RETURNING (extract(epoch FROM minute) * 1000)::bigint, {}"
        ).format(sql.Identifier(contract.minutes_table), sql.SQL(", ").join(map(sql.Identifier, columns))),
        (partition, times.start, times.end),
    ).fetchall()
    connection.execute(
        sql.SQL("DELETE FROM {} WHERE partition = %s AND minute >= %s AND minute < %s").format(
            sql.Identifier(contract.top_table)
        ),
        (partition, times.start, times.end),
    )
    for table, rows in ((contract.minutes_table, contributed.minutes), (contract.top_table, contributed.tops)):
        _copy(connection, table, rows.with_columns(pl.lit(upto, pl.Int64).alias("upto")))
    schema = {
        MINUTE: pl.Int64(),
        **dict.fromkeys(contract.dimension_names, pl.String()),
        **dict.fromkeys(columns[-3:], pl.Int64()),
    }
    return pl.DataFrame(deleted, schema=schema, orient="row")


def _copy(connection: Connection, table: str, rows: pl.DataFrame) -> None:
    timed = rows.with_columns(pl.from_epoch(MINUTE, time_unit="ms").dt.replace_time_zone("UTC"))
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, timed.columns))
    )
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in timed.iter_rows():
            copy.write_row(row)
