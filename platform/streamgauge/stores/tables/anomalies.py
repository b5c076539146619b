"""Anomalies, and what is known of each series so that the next minute can be judged."""

from streamgauge.stores.ddl import TIME, Column, Index, Table

TABLES: tuple[Table, ...] = (
    # From `began` until `ended` (null while it goes on). The numbers are of its worst minute, as means of the `minutes`
    # up to and including it. `dimensions` is {} for the whole stream; what is personal in it is a pseudonym.
    Table(
        "anomalies",
        "anomalies",
        (
            Column("id", "text"),
            Column("stream", "text"),
            Column("figure", "text"),
            Column("dimensions", "jsonb"),
            # peak or gap
            Column("kind", "text"),
            # up or down
            Column("direction", "text"),
            Column("began", TIME),
            Column("ended", TIME, null=True),
            # What it did then was taken for the new level.
            Column("shifted", "boolean", default="false"),
            Column("minute", TIME),
            Column("minutes", "integer"),
            Column("observed", "double precision"),
            Column("expected", "double precision"),
            Column("low", "double precision"),
            Column("high", "double precision"),
            Column("score", "double precision"),
            Column("found_at", TIME, default="now()"),
            # acknowledged or expected, where a person said so, and who, when and why
            Column("verdict", "text", null=True),
            Column("verdict_at", TIME, null=True),
            Column("verdict_by", "text", null=True),
            Column("verdict_because", "text", null=True),
            # The model has what the person said.
            Column("learned", "boolean", default="false"),
        ),
        ("id",),
        indexes=(
            Index("anomalies_of_stream", ("stream", "began")),
            Index("anomalies_under_way", ("stream",), "ended IS NULL"),
            Index("anomalies_with_verdict", ("stream",), "verdict_at IS NOT NULL"),
        ),
    ),
    # What was expected of the stream's count, minute by minute.
    Table(
        "anomaly_bands",
        "anomalies",
        (
            Column("stream", "text"),
            Column("minute", TIME),
            Column("expected", "double precision"),
            Column("low", "double precision"),
            Column("high", "double precision"),
        ),
        ("stream", "minute"),
    ),
    # Up to where each stream was judged: every minute before it once, and none from it on.
    Table(
        "anomaly_progress",
        "anomalies",
        (
            Column("stream", "text"),
            Column("until", TIME),
            # The latest minute that had an event.
            Column("latest", TIME),
            # Series that were left out, because there are too many.
            Column("left_out", "integer", default="0"),
        ),
        ("stream",),
    ),
    # Kind: counts or means. Series are pairs of a figure and its dimensions, in the order of the arrays' columns.
    Table(
        "anomaly_models",
        "anomaly-models",
        (
            Column("stream", "text"),
            Column("kind", "text"),
            Column("series", "jsonb"),
            Column("recent", "bytea"),
        ),
        ("stream", "kind"),
    ),
    Table(
        "anomaly_slots",
        "anomaly-models",
        (
            Column("stream", "text"),
            Column("kind", "text"),
            Column("slot", "integer"),
            Column("known", "bytea"),
        ),
        ("stream", "kind", "slot"),
    ),
)
