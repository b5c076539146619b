"""Tables, views, functions and grants as data."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from streamgauge.contract.model import Contract
from streamgauge.errors import UserError

RelationGroup: TypeAlias = Literal[
    "minutes",
    "minute-tops",
    "batch-rollups",
    "batch-tops",
    "windows",
    "references",
    "contracts",
    "generations",
    "offsets",
    "log-history",
    "arrivals",
    "pauses",
    "dead-letters",
    "dead-letter-list",
    "lake-hours",
    "event-hours",
    "reconciliations",
    "final-hours",
    "checks",
    "alerts",
    "anomalies",
    "anomaly-models",
    "heartbeats",
    "api-keys",
    "readers",
    "saved-views",
    "pseudonyms",
    "upkeep",
    "audit",
]
"""What platform/access.yaml gives rights to: relations of which nobody needs one without the others."""

TIME = "timestamp with time zone"

EPOCH = "TIMESTAMPTZ '1970-01-01 00:00:00Z'"
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
    group: RelationGroup
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...]
    indexes: tuple[Index, ...] = ()
    time: str | None = None
    """The column by which a hypertable is cut into chunks; None makes it a plain table. Where Postgres has no
    TimescaleDB all tables are plain."""
    former: tuple[str, ...] = ()
    """Columns that an earlier version of the platform made and nothing reads any more. They stay where they are."""


@dataclass(frozen=True)
class View:
    name: str
    group: RelationGroup
    select: str

    @property
    def fingerprint(self) -> str:
        """Postgres rewrites a view's text, so a comment on the view keeps which text it was made from."""
        return hashlib.sha256(self.select.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Function:
    """What a login may have done with its owner's rights. `body` is PL/pgSQL."""

    name: str
    group: RelationGroup
    arguments: str
    returns: str
    body: str

    @property
    def fingerprint(self) -> str:
        """Kept as its comment, as a view's is."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Grant:
    """`relation` is a table, a view, or a function to EXECUTE. The role PUBLIC is everybody."""

    relation: str
    role: str
    privilege: str


@dataclass(frozen=True)
class Database:
    tables: tuple[Table, ...]
    views: tuple[View, ...]
    functions: tuple[Function, ...] = ()

    def without_chunks(self) -> "Database":
        """As it is where Postgres has no TimescaleDB."""
        return replace(self, tables=tuple(replace(t, time=None) for t in self.tables))

    @property
    def relations(self) -> tuple[Table | View | Function, ...]:
        return (*self.tables, *self.views, *self.functions)


def bucket(width: str, column: str) -> str:
    """The start of the window of this width that a time falls into, counted from 1970: date_bin() is in every Postgres,
    TimescaleDB's time_bucket() is not."""
    return f"date_bin({literal(width)}, {column}, {EPOCH})"


def quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def names(columns: Iterable[str]) -> str:
    return ", ".join(quote(c) for c in columns)


def checked(contract: Contract, table: Table) -> Table:
    columns = [c.name for c in table.columns]
    twice = sorted({c for c in columns if columns.count(c) > 1})
    if twice:
        raise UserError(
            f"contract {contract.stream}: table {table.name} would have column {', '.join(twice)} twice",
            "rename the dimension, measure or reference column of that name",
        )
    for name in (table.name, *columns, *(i.name for i in table.indexes)):
        check_name(contract, name)
    return table


def check_name(contract: Contract, name: str) -> None:
    if len(name.encode()) > MAX_NAME_BYTES:
        raise UserError(
            f"contract {contract.stream}: {name!r} is too long a name for Postgres ({MAX_NAME_BYTES} bytes)",
            "shorten the stream's or the rollup's name",
        )
