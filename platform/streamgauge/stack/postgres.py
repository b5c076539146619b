"""PostgreSQL with TimescaleDB: a cluster of our own, on loopback.

Who runs the stack is the cluster's superuser, over the unix socket in a folder that nobody else can enter; there is no
superuser password.
"""

import os
import pwd
import subprocess
from pathlib import Path

import psycopg
from psycopg import sql

from streamgauge.access.logins import logins
from streamgauge.access.model import Principal
from streamgauge.access.postgres import login_of
from streamgauge.errors import UserError
from streamgauge.stack.credentials import DATABASE, Credentials
from streamgauge.stack.installed import postgres_bin, server_user
from streamgauge.stack.layout import LOOPBACK, Layout, private_folder, stack_file, write_private
from streamgauge.stack.part import NotReady, Program

_SUPERUSER = "postgres"

_SETTINGS = """\
listen_addresses = '{host}'
port = {port}
unix_socket_directories = '{socket}'
unix_socket_permissions = 0777
max_connections = 120
shared_buffers = 128MB
work_mem = 8MB
maintenance_work_mem = 64MB
max_wal_size = 512MB
default_toast_compression = lz4
max_worker_processes = 16
max_locks_per_transaction = 128
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
shared_preload_libraries = 'timescaledb,pg_stat_statements'
timescaledb.telemetry_level = off
timescaledb.max_background_workers = 4
"""

_HBA = """\
local all postgres peer map=stack
host all all 127.0.0.1/32 scram-sha-256
"""


def _folder(layout: Layout) -> Path:
    return layout.part("postgres")


def prepare(credentials: Credentials) -> None:
    layout = credentials.layout
    user = server_user()
    folder = private_folder(_folder(layout), user)
    data = folder / "data"
    if not (data / "PG_VERSION").exists():
        _initdb(data, user)
    settings = _SETTINGS.format(host=LOOPBACK, port=layout.port("postgres"), socket=folder)
    write_private(data / "postgresql.auto.conf", settings, user)
    write_private(data / "pg_hba.conf", _HBA, user)
    write_private(data / "pg_ident.conf", f"stack {pwd.getpwuid(os.geteuid()).pw_name} {_SUPERUSER}\n", user)


def _initdb(data: Path, user: str | None) -> None:
    command = [str(postgres_bin("initdb")), "-D", str(data), "-U", _SUPERUSER, "-E", "UTF8", "--locale=C.UTF-8"]
    command += ["--auth-local=peer", "--auth-host=scram-sha-256", "--data-checksums", "--no-instructions"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, user=user, cwd="/")
    if done.returncode != 0:
        raise UserError("Postgres could not make its data folder", done.stderr.strip()[-1000:])


def program(credentials: Credentials) -> Program:
    data = _folder(credentials.layout) / "data"
    return Program(
        (str(postgres_bin("postgres")), "-D", str(data)),
        user=server_user(),
        stop_signal="INT",  # fast: it doesn't wait for clients to leave
        stop_seconds=40,
    )


def _connect(layout: Layout, database: str) -> "psycopg.Connection[tuple[object, ...]]":
    return psycopg.connect(
        host=str(_folder(layout)),
        port=layout.port("postgres"),
        user=_SUPERUSER,
        dbname=database,
        autocommit=True,
        connect_timeout=3,
        application_name="streamgauge stack",
    )


def probe(credentials: Credentials) -> str:
    try:
        with _connect(credentials.layout, "postgres") as connection:
            row = connection.execute("show server_version").fetchone()
    except psycopg.OperationalError as e:
        raise NotReady(str(e).strip()) from e
    assert row is not None
    return str(row[0]).split()[0]


def set_up(credentials: Credentials) -> None:
    """Roles, databases and the extension; the tables and rights inside are `streamgauge apply`'s."""
    with _connect(credentials.layout, "postgres") as connection:
        principals = credentials.access.principals
        names = {p: login_of(p, principals[p]) for p in logins(credentials.access, "postgres")}
        for principal, name in names.items():
            _role(connection, name, credentials.of("postgres", principal))
        # the owner's database first, which the others get the right to connect to
        for principal, name in sorted(names.items(), key=lambda n: not principals[n[0]].owner):
            _rights(connection, name, principals[principal])
    wanted = stack_file().versions["timescaledb"]
    with _connect(credentials.layout, DATABASE) as connection:
        connection.execute("create extension if not exists timescaledb")
        connection.execute("create extension if not exists pg_stat_statements")
        row = connection.execute("select extversion from pg_extension where extname = 'timescaledb'").fetchone()
        if row is None or row[0] != wanted:
            raise UserError(
                f"the database has TimescaleDB {row and row[0]}, and the stack wants {wanted}",
                "run `streamgauge stack reset`: what is in this instance will be lost",
            )
        connection.execute("create schema if not exists streamgauge authorization streamgauge_admin")


def _rights(connection: "psycopg.Connection[tuple[object, ...]]", login: str, principal: Principal) -> None:
    """What only a superuser can give."""
    if principal.owner:
        _database(connection, DATABASE, login)
    if principal.database is not None:
        _database(connection, principal.database, login)
    else:
        connect = sql.SQL("grant connect on database {} to {}")
        connection.execute(connect.format(sql.Identifier(DATABASE), sql.Identifier(login)))
    for role in principal.member_of:
        connection.execute(sql.SQL("grant {} to {}").format(sql.Identifier(role), sql.Identifier(login)))


def _role(connection: "psycopg.Connection[tuple[object, ...]]", name: str, password: str) -> None:
    if connection.execute("select from pg_roles where rolname = %s", (name,)).fetchone() is None:
        connection.execute(sql.SQL("create role {}").format(sql.Identifier(name)))
    # Hashed here, so that no log ever shows it.
    hashed = connection.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
    connection.execute(sql.SQL("alter role {} login password {}").format(sql.Identifier(name), sql.Literal(hashed)))


def _database(connection: "psycopg.Connection[tuple[object, ...]]", name: str, owner: str) -> None:
    if connection.execute("select from pg_database where datname = %s", (name,)).fetchone() is not None:
        return
    built = sql.Identifier(name)
    connection.execute(sql.SQL("create database {} owner {}").format(built, sql.Identifier(owner)))
    connection.execute(sql.SQL("revoke connect, temporary on database {} from public").format(built))
