"""Tables, views and grants as data, and the names of who may use them."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from streamgauge.contract.model import Contract
from streamgauge.errors import UserError

WORKER = "streamgauge_worker"
BATCH = "streamgauge_batch"
API = "streamgauge_api"
READER = "streamgauge_reader"
LOGINS = (WORKER, BATCH, API, READER)

Privilege = Literal["SELECT", "INSERT", "UPDATE", "DELETE"]
ALL: tuple[Privilege, ...] = ("SELECT", "INSERT", "UPDATE", "DELETE")
UPSERT: tuple[Privilege, ...] = ("SELECT", "INSERT", "UPDATE")
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
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...]
    indexes: tuple[Index, ...] = ()
    time: str | None = None
    """The column by which a hypertable is cut into chunks; None makes it a plain table. Where Postgres has no
    TimescaleDB all tables are plain."""
    rights: Mapping[str, tuple[Privilege, ...]] = field(default_factory=dict[str, tuple[Privilege, ...]])
    """Who may change it, and how. Everyone may read it, unless it is private to those named here."""
    private: bool = False


@dataclass(frozen=True)
class View:
    name: str
    select: str

    @property
    def fingerprint(self) -> str:
        """Postgres rewrites a view's text, so a comment on the view keeps which text it was made from."""
        return hashlib.sha256(self.select.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Function:
    """What a login may have done with its owner's rights. `body` is PL/pgSQL."""

    name: str
    arguments: str
    returns: str
    body: str
    callers: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        """Kept as its comment, as a view's is."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Grant:
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
    def grants(self) -> tuple[Grant, ...]:
        open_to_all = [*(t.name for t in self.tables if not t.private), *(v.name for v in self.views)]
        read = [Grant(name, login, "SELECT") for name in open_to_all for login in LOGINS]
        change = [Grant(t.name, login, p) for t in self.tables for login, ps in t.rights.items() for p in ps]
        return tuple(dict.fromkeys((*read, *change)))


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
