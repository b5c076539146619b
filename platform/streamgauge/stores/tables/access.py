"""Who may ask the API."""

from streamgauge.stores.ddl import API, TIME, UPSERT, Column, Table

TABLES: tuple[Table, ...] = (
    # Only a hash of a key's secret part: who reads this table can't use what is in it.
    Table(
        "api_keys",
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
        rights={API: UPSERT},
        private=True,
    ),
    # The key under which personal values become pseudonyms: made once, or every pseudonym changes.
    Table(
        "api_secrets",
        (Column("name", "text"), Column("value", "bytea")),
        ("name",),
        rights={API: ("SELECT", "INSERT")},
        private=True,
    ),
)
