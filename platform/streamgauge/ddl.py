"""The tables, views and grants in Postgres that the contracts ask for. Pure: no server is asked."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from streamgauge.contracts import Contract
from streamgauge.errors import UserError

WORKER = "streamgauge_worker"
READER = "streamgauge_reader"

CHUNK = "7 days"
MAX_NAME_BYTES = 63
"""Postgres cuts longer names, and two long ones may then be the same."""


@dataclass(frozen=True)
class Column:
    """`type` as Postgres writes it back, so that desired and actual compare as text."""

    name: str
    type: str
    null: bool = False
    default: str | None = None

    @property
    def sql(self) -> str:
        null = "" if self.null else " NOT NULL"
        default = "" if self.default is None else f" DEFAULT {self.default}"
        return f"{quote(self.name)} {self.type}{null}{default}"


@dataclass(frozen=True)
class Index:
    name: str
    columns: tuple[str, ...]
    where: str | None = None


@dataclass(frozen=True)
class Table:
    name: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...]
    indexes: tuple[Index, ...] = ()
    hypertable: bool = False
    worker: tuple[str, ...] = ("SELECT",)
    """What the worker may do with it; a reader may read everything."""


@dataclass(frozen=True)
class View:
    name: str
    select: str

    @property
    def fingerprint(self) -> str:
        """Postgres rewrites a view's text, so a comment on the view keeps which text it was made from."""
        return hashlib.sha256(self.select.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Grant:
    relation: str
    role: str
    privilege: str


@dataclass(frozen=True)
class Database:
    tables: tuple[Table, ...]
    views: tuple[View, ...]

    @property
    def grants(self) -> tuple[Grant, ...]:
        for_worker = [Grant(t.name, WORKER, p) for t in self.tables for p in t.worker]
        for_reader = [Grant(r.name, READER, "SELECT") for r in (*self.tables, *self.views)]
        return (*for_worker, *for_reader)


def quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def names(columns: Iterable[str]) -> str:
    return ", ".join(quote(c) for c in columns)


def database(contracts: Iterable[Contract]) -> Database:
    tables = list(_STATE_TABLES)
    views = [_ACCOUNTING]
    for contract in contracts:
        tables += [minutes_table(contract), top_table(contract)]
        views += window_views(contract)
        reference = reference_table(contract)
        if reference is not None:
            tables.append(_shared(reference, tables, contract))
    unique = {t.name: t for t in tables}
    return Database(tuple(unique.values()), tuple(views))


def _shared(reference: Table, tables: list[Table], contract: Contract) -> Table:
    """Two streams may use one reference table if they mean the same by it."""
    for table in tables:
        if table.name == reference.name and table != reference:
            raise UserError(
                f"contract {contract.stream}: another stream defines {reference.name} with other columns",
                "give both the same key and columns, or one of them another name",
            )
    return reference


def minutes_table(contract: Contract) -> Table:
    rollup = contract.rollup
    columns = [
        Column("minute", _TIME),
        Column("partition", "integer"),
        *(Column(d.name, "text") for d in rollup.dimensions),
        *(Column(c, "bigint", default="0") for c in COUNTERS),
        *(Column(f"{d.name}_hll", "bytea", null=True) for d in rollup.distinct),
    ]
    for m in rollup.measures:
        columns += [
            Column(f"{m.name}_n", "bigint", default="0"),
            Column(f"{m.name}_sum", "double precision", default="0"),
            Column(f"{m.name}_min", "double precision", null=True),
            Column(f"{m.name}_max", "double precision", null=True),
        ]
        if m.quantiles:
            columns.append(Column(f"{m.name}_kll", "bytea", null=True))
    columns.append(Column("upto", "bigint"))
    return _checked(
        contract,
        Table(
            contract.minutes_table,
            tuple(columns),
            ("minute", *contract.dimension_names, "partition"),
            indexes=(Index(f"{contract.minutes_table}_upto", ("partition", "upto")),),
            hypertable=True,
            worker=("SELECT", "INSERT", "UPDATE"),
        ),
    )


def top_table(contract: Contract) -> Table:
    return _checked(
        contract,
        Table(
            contract.top_table,
            (
                Column("minute", _TIME),
                Column("partition", "integer"),
                Column("top", "text"),
                Column("sketch", "bytea"),
                Column("upto", "bigint"),
            ),
            ("minute", "top", "partition"),
            indexes=(Index(f"{contract.top_table}_upto", ("partition", "upto")),),
            hypertable=True,
            worker=("SELECT", "INSERT", "UPDATE"),
        ),
    )


def reference_table(contract: Contract) -> Table | None:
    spec = contract.reference
    if spec is None:
        return None
    return _checked(
        contract,
        Table(
            spec.table,
            (
                Column(spec.key, "text"),
                *(Column(c, "text", default=literal(spec.unknown)) for c in spec.columns),
                Column("updated_at", _TIME, default="now()"),
            ),
            (spec.key,),
        ),
    )


def window_views(contract: Contract) -> list[View]:
    """Sums over partitions for each window. Sketches don't merge in SQL: streamgauge.rollups merges them."""
    tumbling = [(f"{contract.stream}_{w}", f"time_bucket('{w}', minute)") for w in ("1m", "5m", "1h")]
    hopping = (f"{contract.stream}_5m_hop_1m", "minute - hop * interval '1 minute'")
    views = [_window_view(contract, name, start, "") for name, start in tumbling]
    views.append(_window_view(contract, *hopping, " CROSS JOIN generate_series(0, 4) AS hop"))
    for view in views:
        _check_name(contract, view.name)
    return views


def _window_view(contract: Contract, name: str, start: str, more: str) -> View:
    columns = [*contract.dimension_names]
    measures = [f"sum({quote(c)})::bigint AS {quote(c)}" for c in COUNTERS]
    for m in contract.rollup.measures:
        n, total, low, high = (quote(f"{m.name}_{part}") for part in ("n", "sum", "min", "max"))
        measures += [
            f"sum({n})::bigint AS {n}",
            f"sum({total}) AS {total}",
            f"min({low}) AS {low}",
            f"max({high}) AS {high}",
        ]
    keys = "".join(f", {quote(c)}" for c in columns)
    return View(
        name,
        f"SELECT {start} AS window_start{keys}, {', '.join(measures)}, 'provisional'::text AS status"
        f" FROM {quote(contract.minutes_table)}{more} GROUP BY {start}{keys}",
    )


def _checked(contract: Contract, table: Table) -> Table:
    columns = [c.name for c in table.columns]
    twice = sorted({c for c in columns if columns.count(c) > 1})
    if twice:
        raise UserError(
            f"contract {contract.stream}: table {table.name} would have column {', '.join(twice)} twice",
            "rename the dimension, measure or reference column of that name",
        )
    for name in (table.name, *columns, *(i.name for i in table.indexes)):
        _check_name(contract, name)
    return table


def _check_name(contract: Contract, name: str) -> None:
    if len(name.encode()) > MAX_NAME_BYTES:
        raise UserError(
            f"contract {contract.stream}: {name!r} is too long a name for Postgres ({MAX_NAME_BYTES} bytes)",
            "shorten the stream's or the rollup's name",
        )


COUNTERS = ("count", "late", "duplicates")
_TIME = "timestamp with time zone"
_TALLY = tuple(
    Column(c, "bigint", default="0") for c in ("counted", "late", "duplicates", "dead_letters", "lost", "skipped")
)

_STATE_TABLES = (
    Table(
        "stream_offsets",
        (
            Column("topic", "text"),
            Column("partition", "integer"),
            Column("start_offset", "bigint"),
            Column("next_offset", "bigint"),
            Column("epoch", "bigint"),
            Column("watermark_ms", "bigint", null=True),
            Column("generations", "bigint[]", default="'{}'"),
            Column("generation_offsets", "bigint[]", default="'{}'"),
            *_TALLY,
            Column("published_offset", "bigint", default="0"),
            Column("owner", "text", null=True),
            Column("updated_at", _TIME, default="now()"),
        ),
        ("topic", "partition"),
        worker=("SELECT", "INSERT", "UPDATE"),
    ),
    Table(
        "stream_gaps",
        (
            Column("topic", "text"),
            Column("partition", "integer"),
            Column("from_offset", "bigint"),
            Column("to_offset", "bigint"),
            Column("noticed_at", _TIME, default="now()"),
        ),
        ("topic", "partition", "from_offset"),
        worker=("SELECT", "INSERT", "UPDATE"),
    ),
    Table(
        "stream_pauses",
        (
            Column("topic", "text"),
            Column("partition", "integer"),
            Column("since", _TIME, default="now()"),
            Column("reason", "text"),
        ),
        ("topic", "partition"),
        worker=("SELECT", "INSERT", "UPDATE", "DELETE"),
    ),
    Table(
        "dead_letters",
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
            Column("ingest_time", _TIME),
            Column("noted_at", _TIME, default="now()"),
            Column("forwarded", "boolean", default="false"),
            Column("requeued_at", _TIME, null=True),
        ),
        ("topic", "partition", "offset"),
        indexes=(Index("dead_letters_to_forward", ("topic", "partition", "offset"), "NOT forwarded"),),
        worker=("SELECT", "INSERT", "UPDATE"),
    ),
)

_ACCOUNTING = View(
    "stream_accounting",
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
