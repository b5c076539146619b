"""Who may ask the API, who did, and what they ask again and again."""

from streamgauge.stores.ddl import TIME, Column, Index, Table

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
    Table(
        "saved_views",
        "saved-views",
        (
            Column("id", "text"),
            # The id of a key.
            Column("owner", "text"),
            Column("name", "text"),
            Column("stream", "text"),
            Column("question", "text"),
            Column("shared", "boolean"),
            Column("created_at", TIME, default="now()"),
            Column("changed_at", TIME, default="now()"),
        ),
        ("id",),
        indexes=(Index("saved_views_of", ("owner",)),),
    ),
)
