"""What the speed layer keeps: minute rollups, top-N, its progress and its dead letters."""

from streamgauge.contract.model import Contract
from streamgauge.stores.ddl import TIME, Column, Index, Table, View, checked, literal

COUNTERS = ("count", "late", "duplicates")


def stream_tables(contract: Contract) -> list[Table]:
    return [minutes_table(contract), top_table(contract)]


def minutes_table(contract: Contract) -> Table:
    columns = [
        Column("minute", TIME),
        Column("partition", "integer"),
        *(Column(d.name, "text") for d in contract.rollup.dimensions),
        *(Column(c, "bigint", default="0") for c in COUNTERS),
        *measure_columns(contract),
    ]
    columns.append(Column("upto", "bigint"))
    return checked(
        contract,
        Table(
            contract.minutes_table,
            "minutes",
            tuple(columns),
            ("minute", *contract.dimension_names, "partition"),
            indexes=(Index(f"{contract.minutes_table}_upto", ("partition", "upto")),),
            time="minute",
        ),
    )


def measure_columns(contract: Contract) -> list[Column]:
    """Of every rollup, whatever its window and layer."""
    return [
        Column(c.name, c.type, default="0") if c.counter else Column(c.name, c.type, null=True)
        for c in contract.rollup.columns
    ]


def top_table(contract: Contract) -> Table:
    return checked(
        contract,
        Table(
            contract.top_table,
            "minute-tops",
            (
                Column("minute", TIME),
                Column("partition", "integer"),
                Column("top", "text"),
                Column("sketch", "bytea"),
                Column("upto", "bigint"),
            ),
            ("minute", "top", "partition"),
            indexes=(Index(f"{contract.top_table}_upto", ("partition", "upto")),),
            time="minute",
        ),
    )


def reference_table(contract: Contract) -> Table | None:
    spec = contract.reference
    if spec is None:
        return None
    return checked(
        contract,
        Table(
            spec.table,
            "references",
            (
                Column(spec.key, "text"),
                *(Column(c, "text", default=literal(spec.unknown)) for c in spec.columns),
                Column("updated_at", TIME, default="now()"),
            ),
            (spec.key,),
        ),
    )


def reference_history_table(contract: Contract) -> Table | None:
    """Every row that the reference table ever had, with the moment it came: facts are enriched as of their own."""
    spec = contract.reference
    if spec is None:
        return None
    columns = (
        Column(spec.key, "text"),
        *(Column(c, "text", default=literal(spec.unknown)) for c in spec.columns),
        Column("valid_from", TIME),
    )
    return checked(contract, Table(spec.history_table, "references", columns, (spec.key, "valid_from")))


_TALLY = tuple(
    Column(c, "bigint", default="0") for c in ("counted", "late", "duplicates", "dead_letters", "lost", "skipped")
)

STATE_TABLES = (
    # What `apply` has made so, which is what processes work by: streamgauge.contract.in_use.
    Table(
        "applied_contracts",
        "contracts",
        (
            Column("stream", "text"),
            Column("fingerprint", "text"),
            Column("first_applied_at", TIME, default="now()"),
            # Whole, for a process that begins while its file says something else, and for a plan to say what is new;
            # null where an earlier version applied it.
            Column("contract", "text", null=True),
            # Of the rollups that readers get: streamgauge.contract.generations.
            Column("generation", "integer", default="1"),
        ),
        ("stream",),
        former=("personal", "expressions"),
    ),
    # Whose rights `apply` has made so: who is no longer in the access file is found by it, and loses them.
    Table("applied_principals", "contracts", (Column("name", "text"),), ("name",)),
    Table(
        "stream_offsets",
        "offsets",
        (
            Column("topic", "text"),
            Column("partition", "integer"),
            Column("start_offset", "bigint"),
            Column("next_offset", "bigint"),
            Column("epoch", "bigint"),
            Column("watermark_ms", "bigint", null=True),
            Column("latest_ms", "bigint", null=True),
            Column("generations", "bigint[]", default="'{}'"),
            Column("generation_offsets", "bigint[]", default="'{}'"),
            *_TALLY,
            Column("published_offset", "bigint", default="0"),
            # How often minutes were made again from the lake: who keeps some of them in memory reads them once more.
            Column("rebuilt", "bigint", default="0"),
            Column("end_offset", "bigint", null=True),
            Column("owner", "text", null=True),
            Column("updated_at", TIME, default="now()"),
            # The W3C trace context of the latest commit, so that who reads its numbers can name its trace.
            Column("trace", "text", null=True),
        ),
        ("topic", "partition"),
    ),
    # Which topic of a stream's name has a partition's positions, from which one on: streamgauge.state.topics.
    Table(
        "stream_topics",
        "log-history",
        (
            Column("topic", "text"),
            Column("partition", "integer"),
            Column("first_position", "bigint"),
            Column("topic_id", "text"),
            Column("claimed_at", TIME, default="now()"),
        ),
        ("topic", "partition", "first_position"),
    ),
    # How long events waited from the broker to a commit, so that others can say it without asking the worker.
    Table(
        "stream_delays",
        "arrivals",
        (
            Column("topic", "text"),
            Column("minute", TIME),
            Column("owner", "text"),
            Column("up_to_ms", "bigint"),
            Column("events", "bigint", default="0"),
        ),
        ("topic", "minute", "owner", "up_to_ms"),
    ),
    # How records arrived, by the time of their commit: what is late, from a clock that is ahead, or out of place.
    Table(
        "stream_arrivals",
        "arrivals",
        (
            Column("topic", "text"),
            Column("partition", "integer"),
            Column("slot", TIME),
            Column("kind", "text"),
            Column("records", "bigint"),
            Column("first_offset", "bigint"),
            Column("last_offset", "bigint"),
            Column("producers", "text[]", default="'{}'"),
        ),
        ("topic", "partition", "slot", "kind"),
    ),
    Table(
        "stream_gaps",
        "log-history",
        (
            Column("topic", "text"),
            Column("partition", "integer"),
            Column("from_offset", "bigint"),
            Column("to_offset", "bigint"),
            Column("noticed_at", TIME, default="now()"),
        ),
        ("topic", "partition", "from_offset"),
    ),
    Table(
        "stream_pauses",
        "pauses",
        (
            Column("topic", "text"),
            Column("partition", "integer"),
            Column("since", TIME, default="now()"),
            Column("reason", "text"),
        ),
        ("topic", "partition"),
    ),
    Table(
        "dead_letters",
        "dead-letters",
        (
            Column("topic", "text"),
            Column("partition", "integer"),
            Column("offset", "bigint"),
            Column("stream", "text"),
            Column("reason", "text"),
            Column("detail", "text", null=True),
            Column("key", "bytea", null=True),
            Column("value", "bytea", null=True),
            Column("header_names", "text[]", default="'{}'"),
            Column("header_values", "bytea[]", default="'{}'"),
            Column("ingest_time", TIME),
            Column("noted_at", TIME, default="now()"),
            Column("forwarded", "boolean", default="false"),
            Column("requeued_at", TIME, null=True),
        ),
        ("topic", "partition", "offset"),
        indexes=(Index("dead_letters_to_forward", ("topic", "partition", "offset"), "NOT forwarded"),),
    ),
)

ACCOUNTING = View(
    "stream_accounting",
    "offsets",
    "SELECT topic,"
    " sum(next_offset - start_offset - lost - skipped)::bigint AS consumed,"
    " sum(counted)::bigint AS counted, sum(late)::bigint AS late,"
    " sum(duplicates)::bigint AS duplicates, sum(dead_letters)::bigint AS dead_letters,"
    " sum(lost)::bigint AS lost, sum(skipped)::bigint AS skipped,"
    " to_timestamp(min(watermark_ms) / 1000.0) AS watermark,"
    " max(updated_at) AS updated_at,"
    " sum(next_offset - start_offset - lost - skipped)"
    " = sum(counted + late + duplicates + dead_letters) AS adds_up"
    " FROM stream_offsets GROUP BY topic",
)

DEAD_LETTER_LIST = View(
    "dead_letter_list",
    "dead-letter-list",
    'SELECT topic, partition, "offset", stream, reason, detail, octet_length(key) AS key_bytes,'
    " octet_length(value) AS value_bytes, header_names, ingest_time, noted_at, forwarded, requeued_at"
    " FROM dead_letters",
)
"""Without what may be personal: most who ask about dead letters need no more."""
