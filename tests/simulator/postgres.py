"""Postgres as far as the worker can tell: transactions that others see when they are committed, rows locked until then,
statements that look again at a row they had to wait for, sessions that the server ends.
"""

import re
import struct
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace, TracebackType
from typing import Any, Self, TypeAlias

import psycopg
from psycopg import errors, sql

from streamgauge.stores import ddl
from tests.simulator.faults import AtStep, Steps
from tests.simulator.scheduler import Process, Scheduler, Task, Waiters
from tests.simulator.sql import Result, Row, field_value, parameters, statement
from tests.simulator.substitutes import wall

Key: TypeAlias = tuple[Any, ...]
Query: TypeAlias = str | sql.Composable

_COPY = re.compile(r'COPY "(\w+)" \((.*)\) FROM STDIN \(FORMAT BINARY\)')
_YEAR_2000_MS = 946_684_800_000
_DEFAULTS: dict[str | None, Callable[[], Any]] = {
    None: lambda: None, "0": lambda: 0, "'{}'": list, "false": lambda: False, "now()": lambda: int(wall() * 1000)
}  # fmt: skip
POISON = "poison"
"""A text that Postgres refuses in a key, as it does one that is too long for an index."""


@dataclass(eq=False)
class Transaction:
    """`writes` by table and key; None is a row that is deleted."""

    backend: "Backend"
    writes: dict[str, dict[Key, Row | None]] = field(default_factory=dict[str, dict[Key, Row | None]])
    locks: set[tuple[str, Key]] = field(default_factory=lambda: set())
    snapshot: dict[str, dict[Key, Row]] | None = None
    waits_for: "Transaction | None" = None
    ended: Waiters = field(default_factory=list[tuple[Task, int]])


@dataclass(eq=False)
class Backend:
    """A session's process in the server, and how long it may be idle in a transaction and outside of one, if not for
    ever. It is `busy` while it waits for the rest of a COPY: not idle, as Postgres counts it.
    """

    pid: int
    process: Process
    standstill: float | None
    idle: float | None
    client: Process | None
    """None once it no longer matters what becomes of that."""
    transaction: Transaction | None = None
    alive: bool = True
    busy: bool = False
    heard: float = 0.0


class Server:
    def __init__(self, scheduler: Scheduler, steps: Steps, tables: Sequence[ddl.Table]) -> None:
        self.scheduler = scheduler
        self.steps = steps
        self.definitions = {t.name: t for t in tables}
        self.tables: dict[str, dict[Key, Row]] = {t.name: {} for t in tables}
        self.away = False
        self.committing: Callable[[Transaction], None] = lambda transaction: None
        """Told of each commit before it is seen."""
        self._locks: dict[tuple[str, Key], Transaction] = {}
        self._leaders: dict[Key, Backend] = {}
        self._backends: dict[int, Backend] = {}
        self._started = 0

    # --- sessions

    def connect(self, options: str) -> "Connection":
        fault = self.steps.take("connect")
        if self.away or fault is not None:
            raise psycopg.OperationalError("connection refused")
        limits = {name: float(seconds) for name, seconds in re.findall(r"(\w+)=(\d+)s\b", options)}
        in_transaction, idle = (limits.get(f"idle_{name}session_timeout") for name in ("in_transaction_", ""))
        self._started += 1
        process = self.scheduler.alive().process
        backend = Backend(self._started, process, in_transaction, idle, process, heard=self.scheduler.now)
        self._backends[backend.pid] = backend
        return Connection(self, backend)

    def leave(self) -> None:
        """As a server that is shut down: every session ends."""
        self.away = True
        for backend in list(self._backends.values()):
            self.end(backend)

    def hang_up(self, process: Process) -> None:
        """A process has died, and the kernel closed its connections."""
        for backend in list(self._backends.values()):
            if backend.client is process:
                self.end(backend)

    def end(self, backend: Backend) -> None:
        backend.alive = False
        if backend.transaction is not None:
            self.abort(backend.transaction)
        self._leaders = {key: b for key, b in self._leaders.items() if b is not backend}
        self._backends.pop(backend.pid, None)

    def check(self, backend: Backend) -> None:
        """Raises as a client does that hears nothing more of its server."""
        if backend.alive and self._stands_still(backend):
            self.end(backend)
        if not backend.alive or self.away:
            raise psycopg.OperationalError("server closed the connection unexpectedly")
        backend.heard = self.scheduler.now

    def _stands_still(self, backend: Backend) -> bool:
        transaction = backend.transaction
        if backend.busy or (transaction is not None and transaction.waits_for is not None):
            return False
        limit = backend.idle if transaction is None else backend.standstill
        return limit is not None and self.scheduler.now - backend.heard > limit

    # --- transactions

    def begin(self, backend: Backend) -> Transaction:
        assert backend.transaction is None, "no transaction within a transaction"
        backend.transaction = Transaction(backend)
        return backend.transaction

    def commit(self, transaction: Transaction) -> None:
        if transaction.writes:
            self.committing(transaction)
            for table, rows in transaction.writes.items():
                for key, row in rows.items():
                    if row is None:
                        self.tables[table].pop(key, None)
                    else:
                        self.tables[table][key] = row
        self._release(transaction)

    def abort(self, transaction: Transaction) -> None:
        transaction.writes.clear()
        self._release(transaction)

    def _release(self, transaction: Transaction) -> None:
        if transaction.backend.transaction is transaction:
            transaction.backend.transaction = None
        for lock in transaction.locks:
            del self._locks[lock]
        transaction.locks.clear()
        self.scheduler.wake(transaction.ended)

    def lock(self, transaction: Transaction, table: str, key: Key) -> bool:
        """Whether somebody else had the row, who may have changed it."""
        waited = False
        while (holder := self._locks.get((table, key))) is not None and holder is not transaction:
            waited = True
            backend = holder.backend
            if self._stands_still(backend):
                self.end(backend)
                continue
            transaction.waits_for = holder
            self._check_deadlock(transaction)
            until = None if backend.standstill is None else backend.heard + backend.standstill - self.scheduler.now
            self.scheduler.wait(holder.ended, None if until is None else max(until, 0.0) + 0.001)
            transaction.waits_for = None
            if not transaction.backend.alive:
                raise psycopg.OperationalError("terminating connection due to administrator command")
        self._locks[table, key] = transaction
        transaction.locks.add((table, key))
        return waited

    def _check_deadlock(self, transaction: Transaction) -> None:
        at = transaction.waits_for
        while at is not None:
            if at is transaction:
                transaction.waits_for = None
                raise errors.DeadlockDetected("deadlock detected")
            at = at.waits_for

    # --- functions

    def call(self, backend: Backend, function: str, arguments: list[Any]) -> Any:
        if function == "hashtext":
            return arguments[0]
        if function == "pg_advisory_xact_lock_shared":
            # who takes it alone is no worker
            return None
        if function == "pg_try_advisory_lock":
            key = tuple(arguments)
            holder = self._leaders.get(key)
            if holder is not None and self._stands_still(holder):
                self.end(holder)
            return self._leaders.setdefault(key, backend) is backend
        if function == "pg_blocking_pids":
            blocked = self._backends.get(arguments[0])
            waiting = None if blocked is None else blocked.transaction
            blocking = None if waiting is None else waiting.waits_for
            return [] if blocking is None else [blocking.backend.pid]
        if function == "pg_terminate_backend":
            self.end(self._backends[arguments[0]])
            return True
        raise NotImplementedError(function)

    def activity(self) -> Iterator[Row]:
        return ({"pid": pid, "usename": "worker"} for pid in list(self._backends))


class _Statement:
    """One statement within a transaction, as tests.simulator.sql asks for it."""

    def __init__(self, server: Server, transaction: Transaction) -> None:
        self._server = server
        self._transaction = transaction

    def _visible(self, table: str) -> dict[Key, Row]:
        snapshot = self._transaction.snapshot
        committed = self._server.tables[table] if snapshot is None else snapshot[table]
        written = self._transaction.writes.get(table)
        if not written:
            return committed
        return {key: row for key, row in {**committed, **written}.items() if row is not None}

    def rows(self, table: str) -> Iterator[Row]:
        return self._server.activity() if table == "pg_stat_activity" else iter(list(self._visible(table).values()))

    def update(self, table: str, where: Callable[[Row], bool], change: Callable[[Row], Row]) -> int:
        changed = 0
        for key, found in list(self._visible(table).items()):
            row = found
            if not where(row):
                continue
            if self._server.lock(self._transaction, table, key):
                again = self._visible(table).get(key)
                if again is None or not where(again):
                    continue
                row = again
            self._write(table, key, change(row))
            changed += 1
        return changed

    def delete(self, table: str, where: Callable[[Row], bool]) -> int:
        deleted = 0
        for key, row in list(self._visible(table).items()):
            if where(row):
                self._server.lock(self._transaction, table, key)
                self._write(table, key, None)
                deleted += 1
        return deleted

    def insert(self, table: str, row: Row, merge: Callable[[Row, Row], Row] | None) -> Row:
        definition = self._server.definitions[table]
        whole = {c.name: row[c.name] if c.name in row else _DEFAULTS[c.default]() for c in definition.columns}
        for column in definition.columns:
            if whole[column.name] is None and not column.null:
                raise errors.NotNullViolation(f"null value in column {column.name} of {table}")
        if unknown := row.keys() - whole.keys():
            raise errors.UndefinedColumn(f"{table} has no {unknown}")
        key = tuple(whole[name] for name in definition.primary_key)
        if POISON in key:
            raise errors.ProgramLimitExceeded("index row size exceeds btree maximum")
        self._server.lock(self._transaction, table, key)
        old = self._visible(table).get(key)
        if old is not None:
            if merge is None:
                raise errors.UniqueViolation(f"duplicate key value in {table}")
            whole = merge(old, whole)
        self._write(table, key, whole)
        return whole

    def call(self, function: str, arguments: list[Any]) -> Any:
        return self._server.call(self._transaction.backend, function, arguments)

    def now_ms(self) -> int:
        return int(wall() * 1000)

    def _write(self, table: str, key: Key, row: Row | None) -> None:
        self._transaction.writes.setdefault(table, {})[key] = row


class Connection:
    """As psycopg's, with autocommit."""

    def __init__(self, server: Server, backend: Backend) -> None:
        self._server = server
        self._backend = backend
        self._open = True
        self.info = SimpleNamespace(backend_pid=backend.pid)

    @property
    def closed(self) -> bool:
        return not self._open

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        if self._open:
            self._open = False
            self._server.end(self._backend)

    def execute(self, query: Query, given: Any = None, *, binary: bool = False) -> "Cursor":
        return self.cursor().execute(query, given, binary=binary)

    def cursor(self) -> "Cursor":
        return Cursor(self)

    @contextmanager
    def transaction(self) -> Generator[None]:
        self._reach()
        transaction = self._server.begin(self._backend)
        try:
            yield
        except BaseException:
            self._server.abort(transaction)
            raise
        self._commit(transaction)

    def run(self, text: str, given: Sequence[Any], *, copying: bytes | None = None) -> Result:
        """One round trip; in a transaction of its own where there is none."""
        fault = self._server.steps.take("statement")
        self._reach()
        if fault is not None and fault.mishap != "unanswered":
            self._break()
        own = self._backend.transaction is None
        transaction = self._backend.transaction or self._server.begin(self._backend)
        try:
            if copying is not None:
                self._backend.busy = True
                self._server.steps.take("copy")
                self._backend.busy = False
                self._reach()
                result = _copy(_Statement(self._server, transaction), self._server, text, copying)
            else:
                result = self._execute(transaction, text, given)
        except BaseException:
            if own:
                self._server.abort(transaction)
            raise
        if own:
            self._server.commit(transaction)
        if fault is not None:
            self._break()
        self._backend.heard = self._server.scheduler.now
        return result

    def _execute(self, transaction: Transaction, text: str, given: Sequence[Any]) -> Result:
        if text.startswith("set transaction isolation level repeatable read"):
            transaction.snapshot = {name: dict(rows) for name, rows in self._server.tables.items()}
            return Result()
        result, run = Result(), statement(text)
        for values in given:
            one = run(_Statement(self._server, transaction), parameters(values))
            result = Result(one.rows, result.count + one.count)
        return result

    def _reach(self) -> None:
        if not self._open:
            raise psycopg.OperationalError("the connection is closed")
        try:
            self._server.check(self._backend)
        except psycopg.OperationalError:
            self._open = False
            raise

    def _break(self) -> None:
        self._open = False
        self._server.end(self._backend)
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    def _commit(self, transaction: Transaction) -> None:
        try:
            fault = self._server.steps.take("commit")
            self._reach()
        except BaseException:
            self._server.abort(transaction)
            raise
        if fault is None:
            self._server.commit(transaction)
            self._server.steps.take("committed")
        elif fault.mishap == "unanswered":
            self._server.commit(transaction)
            self._break()
        elif fault.mishap == "late":
            self._commit_late(transaction, fault)
        else:
            self._server.abort(transaction)
            self._break()

    def _commit_late(self, transaction: Transaction, fault: AtStep) -> None:
        """The client gives up; the server has the command, and is slow."""
        self._open = False
        backend, server = self._backend, self._server
        # it ends by itself, whatever becomes of its client
        backend.busy, backend.client = True, None

        def commit() -> None:
            if backend.alive:
                server.commit(transaction)
                server.end(backend)

        server.scheduler.at(server.scheduler.now + fault.seconds, commit)
        raise psycopg.OperationalError("connection timed out")


class Cursor:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._rows: Iterator[tuple[Any, ...]] = iter(())
        self.rowcount = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, at: TracebackType | None) -> None:
        pass

    def execute(self, query: Query, given: Any = None, *, binary: bool = False) -> Self:
        del binary
        return self._run(query, [given or ()])

    def executemany(self, query: Query, given: Sequence[Any]) -> Self:
        return self._run(query, given)

    def _run(self, query: Query, given: Sequence[Any]) -> Self:
        result = self._connection.run(_text(query), given)
        self._rows, self.rowcount = iter(result.rows), result.count
        return self

    def fetchone(self) -> tuple[Any, ...] | None:
        return next(self._rows, None)

    def fetchall(self) -> list[tuple[Any, ...]]:
        return list(self._rows)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return self._rows

    @contextmanager
    def copy(self, query: Query) -> Generator[Any]:
        sent: list[bytes] = []
        yield SimpleNamespace(write=sent.append)
        self._connection.run(_text(query), (), copying=b"".join(sent))


def _text(query: Query) -> str:
    return query if isinstance(query, str) else query.as_string(None)


_OIDS = {"bigint": 20, "integer": 23, "text": 25, "double precision": 701, "bytea": 17}


def _copy(session: _Statement, server: Server, text: str, data: bytes) -> Result:
    """COPY in Postgres's binary format."""
    found = _COPY.fullmatch(text)
    assert found is not None, text
    table, names = found[1], [name.strip('" ') for name in found[2].split(",")]
    types = {c.name: c.type for c in server.definitions[table].columns}
    place, rows = 19, 0
    while (fields := struct.unpack_from(">h", data, place)[0]) >= 0:
        assert fields == len(names)
        place, row = place + 2, Row()
        for name in names:
            (size,) = struct.unpack_from(">i", data, place)
            place += 4
            raw = data[place : place + max(size, 0)]
            place += max(size, 0)
            if size < 0:
                row[name] = None
            elif types[name] == ddl.TIME:
                row[name] = struct.unpack(">q", raw)[0] // 1000 + _YEAR_2000_MS
            else:
                row[name] = field_value(_OIDS[types[name]], raw)
        session.insert(table, row, None)
        rows += 1
    return Result(count=rows)
