"""Who may ask the API, and who did."""

from streamgauge.stores.ddl import TIME, Column, Table

TABLES: tuple[Table, ...] = (
    # Only a hash of a key's secret part: who reads this table can't use what is in it.
    Table(
        "api_keys",
        "api-keys",
        (
            Column("id", "text"),
            Column("name", "text"),
            Column("hash", "bytea"),
            Column("scopes", "text[]"),
            Column("created_at", TIME, default="now()"),
            Column("expires_at", TIME, null=True),
            Column("revoked_at", TIME, null=True),
        ),
        ("id",),
    ),
    Table(
        "stream_readers",
        "readers",
        (
            Column("stream", "text"),
            Column("day", "date"),
            # The id of a key, or who asked without one.
            Column("caller", "text"),
            Column("requests", "bigint"),
            Column("last_at", TIME),
        ),
        ("stream", "day", "caller"),
    ),
)
