"""What the batch layer publishes, and which hours it still owes."""

from streamgauge.contract.model import Contract
from streamgauge.stores.ddl import TIME, Column, Index, Table, checked
from streamgauge.stores.tables.speed import measure_columns


def stream_tables(contract: Contract) -> list[Table]:
    """Rollups by minute, hour and day, and the top-N of each. Written whole, a window at a time."""
    windows = [_windows_table(contract, size) for size in ROLLUPS]
    tops = Table(
        tops_table(contract),
        "batch-tops",
        (
            Column("size", "text"),
            Column("window_start", TIME),
            Column("top", "text"),
            Column("sketch", "bytea"),
        ),
        ("size", "window_start", "top"),
        time="window_start",
    )
    return [*windows, checked(contract, tops)]


def _windows_table(contract: Contract, size: str) -> Table:
    """`count` is of facts, `duplicates` of the records that were left out as such: as the speed layer counts them."""
    columns = (
        Column("window_start", TIME),
        *(Column(d.name, "text") for d in contract.rollup.dimensions),
        Column("count", "bigint", default="0"),
        Column("duplicates", "bigint", default="0"),
        *measure_columns(contract),
    )
    key = ("window_start", *contract.dimension_names)
    table = Table(rollups_table(contract, size), "batch-rollups", columns, key, time="window_start")
    return checked(contract, table)


ROLLUPS = {"1m": "batch_minutes", "1h": "batch_hours", "1d": "batch_days"}
"""The table of each window, behind the stream's name and its generation."""

TOPS = "batch_tops"


def rollups_table(contract: Contract, size: str) -> str:
    """Of windows of `size`: 1m, 1h or 1d."""
    return f"{contract.rollups}_{ROLLUPS[size]}"


def tops_table(contract: Contract) -> str:
    return f"{contract.rollups}_{TOPS}"


STATE_TABLES = (
    # What pseudonyms stand for, for those who may see personal values: sealed by a key that is not in the database.
    Table(
        "pseudonyms",
        "pseudonyms",
        (Column("stream", "text"), Column("pseudonym", "text"), Column("sealed", "bytea")),
        ("stream", "pseudonym"),
    ),
    # What the lake has, hour by hour of ingest time. The lake itself says so too: this copy is for those who ask often.
    Table(
        "lake_hours",
        "lake-hours",
        (
            Column("stream", "text"),
            Column("hour", TIME),
            Column("partition", "integer"),
            Column("from_offset", "bigint"),
            Column("to_offset", "bigint"),
            Column("rows", "bigint"),
            Column("closed", "boolean"),
            Column("version", "bigint"),
            Column("run_id", "text"),
            Column("written_at", TIME, default="now()"),
        ),
        ("stream", "hour", "partition"),
    ),
    # Where hours of ingest time begin in topics of somebody else's, once that is known.
    Table(
        "lake_boundaries",
        "lake-hours",
        (
            Column("stream", "text"),
            Column("partition", "integer"),
            Column("hour", TIME),
            Column("position", "bigint"),
        ),
        ("stream", "partition", "hour"),
    ),
    # An hour of event time is outdated while its lake moved on (touched) and what follows did not: its facts
    # (built), its rollups (rolled), its reconciliation (reconciled), each set to the value of the one before as it
    # was read. A step leaves those after it behind, so that they follow whoever ran it.
    Table(
        "event_hours",
        "event-hours",
        (
            Column("stream", "text"),
            Column("hour", TIME),
            Column("touched", "bigint", default="1"),
            Column("touched_at", TIME, default="now()"),
            Column("built", "bigint", default="0"),
            Column("built_at", TIME, null=True),
            Column("rolled", "bigint", default="0"),
            Column("reconciled", "bigint", default="0"),
            # The latest comparison; `differences` is the fingerprint of what it could not explain.
            Column("compared_at", TIME, null=True),
            Column("passed", "boolean", null=True),
            Column("waits_for", "text", null=True),
            Column("differences", "text", null=True),
            Column("facts", "bigint", default="0"),
            Column("duplicates", "bigint", default="0"),
            Column("quarantined", "bigint", default="0"),
            Column("run_id", "text", null=True),
        ),
        ("stream", "hour"),
        # For who asks every few seconds: of all hours there are many, of these a few.
        indexes=(
            Index("event_hours_pending", ("stream", "hour"), "LEAST(built, rolled) < touched"),
            Index("event_hours_failed", ("stream", "hour"), "NOT passed"),
            Index("event_hours_not_final", ("stream", "hour"), "passed IS NULL OR waits_for IS NOT NULL"),
        ),
    ),
)
