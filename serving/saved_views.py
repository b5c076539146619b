"""Questions that a reader of the page keeps: each belongs to an API key, and is shared or for its owner alone."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from streamgauge.stores.postgres import Connection

PER_OWNER = 200
"""More views of one key are refused: a script that goes wrong would fill the table, and the list of everybody."""


@dataclass(frozen=True)
class Draft:
    """What its owner says of a view. `question` is the query of the page's address, never looked into here."""

    name: str
    stream: str
    question: str
    shared: bool


@dataclass(frozen=True)
class View(Draft):
    id: str
    owner: str
    """The id of a key."""
    owner_name: str
    created_at: datetime
    changed_at: datetime


_SELECT = (
    "SELECT v.id, v.owner, coalesce(k.name, v.owner) AS owner_name, v.name, v.stream, v.question, v.shared,"
    " v.created_at, v.changed_at FROM saved_views v LEFT JOIN api_keys k ON k.id = v.owner"
)


def listed(connection: Connection, caller: str) -> Sequence[View]:
    """The caller's own and all shared ones, by name."""
    with connection.cursor(row_factory=class_row(View)) as cursor:
        query = f"{_SELECT} WHERE v.owner = %s OR v.shared ORDER BY lower(v.name), v.id"
        return cursor.execute(query.encode(), (caller,)).fetchall()


def find(connection: Connection, view_id: str) -> View | None:
    with connection.cursor(row_factory=class_row(View)) as cursor:
        return cursor.execute(f"{_SELECT} WHERE v.id = %s".encode(), (view_id,)).fetchone()


def create(connection: Connection, owner: str, draft: Draft) -> str | None:
    """The id of the new view; None where the owner has as many as he may."""
    # One at a time for each owner: two at once would both find room for one.
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('saved views'), hashtext(%s))", (owner,))
    made = connection.execute(
        "INSERT INTO saved_views (id, owner, name, stream, question, shared) SELECT %s, %s, %s, %s, %s, %s"
        " WHERE (SELECT count(*) FROM saved_views WHERE owner = %s) < %s RETURNING id",
        (secrets.token_hex(6), owner, draft.name, draft.stream, draft.question, draft.shared, owner, PER_OWNER),
    ).fetchone()
    return None if made is None else str(made[0])


def replace(connection: Connection, view_id: str, owner: str, draft: Draft) -> None:
    """The last who writes wins: a view has one owner."""
    connection.execute(
        "UPDATE saved_views SET name = %s, stream = %s, question = %s, shared = %s, changed_at = now()"
        " WHERE id = %s AND owner = %s",
        (draft.name, draft.stream, draft.question, draft.shared, view_id, owner),
    )


def delete(connection: Connection, view_id: str) -> None:
    connection.execute("DELETE FROM saved_views WHERE id = %s", (view_id,))
