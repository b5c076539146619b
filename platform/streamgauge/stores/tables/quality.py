"""What the quality checks found, each time they ran: for the report, the API, and whoever asks how it was before."""

from streamgauge.stores.ddl import TIME, Column, Index, Table

CHECK_RESULTS = Table(
    "check_results",
    "checks",
    (
        Column("stream", "text"),
        Column("asset", "text"),
        Column("check_name", "text"),
        # Dagster's key of the hour or day that was checked.
        Column("partition", "text"),
        Column("at", TIME, default="now()"),
        # passed, failed, or unknown where there is not enough to judge by.
        Column("status", "text"),
        Column("severity", "text"),
        Column("observed", "text"),
        Column("expected", "text"),
        Column("failing", "bigint"),
        Column("denominator", "bigint"),
        # Failing rows: position in Kafka, rule, and the fields as far as their classification lets them be shown.
        Column("samples", "jsonb", default="'[]'"),
        Column("details", "jsonb", default="'{}'"),
        Column("run_id", "text"),
    ),
    ("stream", "asset", "check_name", "partition", "at"),
    indexes=(Index("check_results_latest", ("stream", "partition")),),
    time="at",
)
TABLES = (CHECK_RESULTS,)
