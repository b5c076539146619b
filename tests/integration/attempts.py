"""What a login may do, found out by trying it on the real servers.

Each function answers, for one login, which of its attempts the server let through. An attempt that could destroy
something is not made by who owns it.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import psycopg
from psycopg import errors, sql
from redis import Redis
from redis.exceptions import NoPermissionError, ResponseError

from streamgauge.stores.ddl import Database, Function, View, quote
from streamgauge.stores.postgres import SCHEMA

Attempts = dict[tuple[str, str], bool]
"""By resource and operation, whether the server let it through."""


def in_postgres(connection: "psycopg.Connection[Any]", database: Database, *, owner: bool) -> Attempts:
    """Nothing that it does is committed."""
    found: Attempts = {}
    with connection.transaction(force_rollback=True):
        for relation in database.relations:
            name = f"{quote(SCHEMA)}.{quote(relation.name)}"
            column = "" if isinstance(relation, Function) else _a_column(database, relation.name)
            statements = {
                "select": f"SELECT FROM {name} LIMIT 0",
                "insert": f"INSERT INTO {name} DEFAULT VALUES",
                "update": f"UPDATE {name} SET {column} = DEFAULT WHERE false",
                "delete": f"DELETE FROM {name} WHERE false",
                "truncate": f"TRUNCATE {name}",
                "alter": f"ALTER TABLE {name} ADD COLUMN more int",
                "drop": f"DROP TABLE {name} CASCADE",
                "take": f"ALTER TABLE {name} OWNER TO CURRENT_USER",
            }
            if isinstance(relation, View):
                statements = {"select": statements["select"], "drop": f"DROP VIEW {name} CASCADE"}
            if isinstance(relation, Function):
                statements = {"execute": f"SELECT {name}('nothing', 'at', now())", "drop": f"DROP FUNCTION {name}"}
            if owner:
                statements.pop("drop")
            found |= {(relation.name, o): _executes(connection, s) for o, s in statements.items()}
        found |= {("database", o): _executes(connection, s) for o, s in _OF_THE_DATABASE.items()}
    return found


_OF_THE_DATABASE = {
    "create a table": f"CREATE TABLE {SCHEMA}.mine (a int)",
    "create a table elsewhere": "CREATE TABLE public.mine (a int)",
    "create a schema": "CREATE SCHEMA mine",
    "create a temporary table": "CREATE TEMPORARY TABLE mine (a int)",
    "create a role": "CREATE ROLE mine",
    "become the owner": "SET LOCAL ROLE streamgauge_admin",
    "become a superuser": "SET LOCAL ROLE postgres",
    "read files": "SELECT pg_read_file('postgresql.conf')",
    "run programs": "COPY (SELECT 1) TO PROGRAM 'true'",
    "read passwords": "SELECT rolpassword FROM pg_authid",
}


def _a_column(database: Database, relation: str) -> str:
    return next((quote(t.columns[0].name) for t in database.tables if t.name == relation), "")


def _executes(connection: "psycopg.Connection[Any]", statement: str) -> bool:
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(sql.SQL(statement))  # pyright: ignore[reportArgumentType]
    except errors.InsufficientPrivilege:
        return False
    except (errors.NotNullViolation, errors.UndefinedTable):
        pass
    return True


def in_redis(client: Redis, keys: Mapping[str, str], script: str, *, owner: bool) -> Attempts:
    """`script`: the SHA of one that the server knows. `keys` by what they are called in the answer."""
    of_keys = {
        ("get", "GET {}"),
        ("mget", "MGET {}"),
        ("set", "SET {} 1 EX 60"),
        ("evalsha", f"EVALSHA {script} 1 {{}}"),
        ("del", "DEL {}"),
        ("expire", "EXPIRE {} 60"),
        ("type", "TYPE {}"),
        ("eval", "EVAL return 1 {}"),
    }
    attempts = {(called, name): command.format(key) for called, key in keys.items() for name, command in of_keys}
    plain = ["ping", "select 0", "client setname x", "script load return", "info server", "slowlog get", "slowlog len"]
    plain += ["latency latest", "latency histogram", "config get dir", "acl list", "client list", "scan 0", "keys *"]
    plain += ["dbsize", "publish c m"]
    plain += [] if owner else ["flushall", "acl setuser x", "config set maxmemory 0", "shutdown"]
    attempts |= {("server", command): command for command in plain}
    return {attempt: _lets(client, command.split()) for attempt, command in attempts.items()}


def _lets(client: Redis, words: Iterable[str]) -> bool:
    try:
        client.execute_command(*words)  # pyright: ignore[reportUnknownMemberType]
    except NoPermissionError:
        return False
    except ResponseError:
        return True
    return True
