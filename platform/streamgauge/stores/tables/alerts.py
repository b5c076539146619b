"""What the alert sensors remember between ticks, and the messages they owe."""

from streamgauge.stores.ddl import TIME, Column, Index, Table

TABLES: tuple[Table, ...] = (
    # One row an incident: `cause` fires at most once at a time.
    Table(
        "alerts",
        "alerts",
        (
            Column("id", "text"),
            Column("cause", "text"),
            Column("name", "text"),
            Column("severity", "text"),
            Column("stream", "text"),
            Column("asset", "text"),
            Column("owner", "text"),
            Column("summary", "text"),
            Column("description", "text"),
            Column("downstream", "text[]", default="'{}'"),
            Column("asset_url", "text", null=True),
            Column("runbook_url", "text"),
            Column("since", TIME),
            Column("raised_at", TIME),
            Column("warned_at", TIME, null=True),
            Column("escalated_at", TIME, null=True),
            Column("resolved_at", TIME, null=True),
            # A person took the failure for settled: who, when and why.
            Column("accepted_at", TIME, null=True),
            Column("accepted_by", "text", null=True),
            Column("accepted_because", "text", null=True),
        ),
        ("id",),
        indexes=(
            Index("alerts_firing", ("cause",), "resolved_at IS NULL"),
            Index("alerts_accepted", ("asset",), "accepted_at IS NOT NULL"),
        ),
    ),
    # What is to be said of an alert, to each target: kept until it is taken.
    Table(
        "alert_messages",
        "alerts",
        (
            Column("alert", "text"),
            Column("number", "integer"),
            Column("target", "text"),
            Column("status", "text"),
            Column("severity", "text"),
            Column("made_at", TIME),
            Column("attempts", "integer", default="0"),
            Column("next_at", TIME),
            Column("error", "text", null=True),
            Column("delivered_at", TIME, null=True),
        ),
        ("alert", "number", "target"),
        indexes=(Index("alert_messages_owed", ("next_at",), "delivered_at IS NULL"),),
    ),
    # What the state machine knows of each subject it judges.
    Table(
        "alert_memory",
        "alerts",
        (Column("subject", "text"), Column("memory", "jsonb"), Column("updated_at", TIME, default="now()")),
        ("subject",),
    ),
    Table(
        "sensor_heartbeats",
        "heartbeats",
        (Column("sensor", "text"), Column("at", TIME, default="now()")),
        ("sensor",),
    ),
)
