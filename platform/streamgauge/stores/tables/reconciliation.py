"""What reconciliation found, and which hours are final."""

from streamgauge.stores.ddl import TIME, Column, Index, Table, View

TABLES = (
    # One row for each time an hour was compared.
    Table(
        "reconciliations",
        "reconciliations",
        (
            Column("stream", "text"),
            Column("hour", TIME),
            Column("at", TIME, default="now()"),
            Column("run_id", "text"),
            Column("passed", "boolean"),
            Column("buckets", "bigint"),
            Column("explained", "bigint"),
            Column("unexplained", "bigint"),
            Column("facts", "bigint"),
            Column("counted", "bigint"),
            Column("late", "bigint"),
            Column("duplicates", "bigint"),
            Column("batch_duplicates", "bigint"),
            # Why a passed hour is not final yet.
            Column("waits_for", "text", null=True),
        ),
        ("stream", "hour", "at"),
    ),
    # The buckets of the latest comparison that differ.
    Table(
        "reconciliation_differences",
        "reconciliations",
        (
            Column("stream", "text"),
            Column("hour", TIME),
            Column("minute", TIME),
            Column("dimensions", "jsonb"),
            Column("measure", "text"),
            Column("speed", "double precision", null=True),
            Column("batch", "double precision", null=True),
            Column("late", "bigint"),
            Column("duplicates", "bigint"),
            Column("batch_duplicates", "bigint"),
            Column("explained", "boolean"),
            Column("explanation", "text"),
            Column("sample_event_ids", "text[]", default="'{}'"),
        ),
        ("stream", "hour", "minute", "dimensions", "measure"),
        indexes=(Index("reconciliation_unexplained", ("stream", "hour"), "NOT explained"),),
    ),
    # Differences that a person accepted, by their fingerprint: others of the same hour are an alert again.
    Table(
        "accepted_differences",
        "final-hours",
        (
            Column("stream", "text"),
            Column("hour", TIME),
            Column("differences", "text"),
            Column("at", TIME, default="now()"),
            Column("accepted_by", "text"),
            Column("reason", "text"),
        ),
        ("stream", "hour", "differences"),
    ),
    # Revision 1 made the hour final; each later one says why its numbers changed.
    Table(
        "hour_revisions",
        "final-hours",
        (
            Column("stream", "text"),
            Column("hour", TIME),
            Column("revision", "integer"),
            Column("at", TIME, default="now()"),
            Column("run_id", "text"),
            Column("facts", "bigint"),
            Column("reason", "text"),
            Column("checked", "boolean", default="false"),
        ),
        ("stream", "hour", "revision"),
    ),
    # What a final hour's numbers were made of, as it was last compared: text, because the signature covers its bytes.
    Table(
        "hour_evidence",
        "final-hours",
        (
            Column("stream", "text"),
            Column("hour", TIME),
            Column("body", "text"),
            Column("signature", "text"),
            Column("entry", "bigint"),
        ),
        ("stream", "hour"),
    ),
)

FINAL_HOURS = View(
    "final_hours",
    "final-hours",
    "SELECT stream, hour, max(revision) AS revision, min(at) AS final_since, max(at) AS revised_at,"
    " (array_agg(facts ORDER BY revision DESC))[1] AS facts,"
    " (array_agg(checked ORDER BY revision DESC))[1] AS checked"
    " FROM hour_revisions GROUP BY stream, hour",
)
