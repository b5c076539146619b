"""API keys: `sg_<id>_<secret>`. Postgres keeps a SHA-256 of the secret only.

A secret has 256 random bits, so that guessing is out of the question and a slow hash would protect nothing more.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from streamgauge.audit.entry import AuditEvent
from streamgauge.errors import UserError
from streamgauge.stores.postgres import Connection

PERSONAL = "personal"
"""See personal values as they are. What other scopes open stands in platform/access.yaml."""
READ_ALL = "read:*"
ADMIN = "admin"
OPERATIONS = "operations"
"""See how the platform itself is."""

_PARTS = re.compile(r"sg_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")


@dataclass(frozen=True)
class StoredKey:
    id: str
    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


def create(
    connection: Connection, name: str, scopes: Sequence[str], lifetime: timedelta | None = None
) -> tuple[str, StoredKey]:
    """The key itself, which nobody can show again, and what is kept of it."""
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    row = connection.execute(
        "INSERT INTO api_keys (id, name, hash, scopes, expires_at) VALUES (%s, %s, %s, %s, now() + %s)"
        " RETURNING id, name, scopes, created_at, expires_at, revoked_at",
        (key_id, name, _hash(secret), list(scopes), lifetime),
    ).fetchone()
    assert row is not None
    return f"sg_{key_id}_{secret}", _stored(row)


def listed(connection: Connection) -> list[StoredKey]:
    rows = connection.execute(
        "SELECT id, name, scopes, created_at, expires_at, revoked_at FROM api_keys ORDER BY created_at, id"
    )
    return [_stored(row) for row in rows]


def revoke(connection: Connection, key_id: str) -> bool:
    """False where there is no such key, or it is revoked already."""
    changed = connection.execute(
        "UPDATE api_keys SET revoked_at = now() WHERE id = %s AND revoked_at IS NULL", (key_id,)
    )
    return changed.rowcount > 0


def look_up(connection: Connection, key: str) -> StoredKey | None:
    """What is known of a valid key; None for one that is unknown, wrong, revoked or expired."""
    parts = _PARTS.fullmatch(key)
    if parts is None:
        return None
    row = connection.execute(
        "SELECT hash, id, name, scopes, created_at, expires_at, revoked_at FROM api_keys"
        " WHERE id = %s AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())",
        (parts[1],),
    ).fetchone()
    if row is None or not hmac.compare_digest(bytes(row[0]), _hash(parts[2])):
        return None
    return _stored(row[1:])


def key_event(
    action: Literal["api-key.create", "api-key.revoke"], key: StoredKey, actor: str, address: str | None = None
) -> AuditEvent:
    about = {"name": key.name, "scopes": key.scopes, "expires_at": key.expires_at}
    return AuditEvent(action, key.id, actor, address, after=about)


def checked_scopes(scopes: Iterable[str], known: Sequence[str]) -> tuple[str, ...]:
    """Raises UserError for one that is not among the known."""
    given = tuple(dict.fromkeys(scopes))
    for scope in given:
        if scope not in known:
            raise UserError(f"there is no scope {scope!r}", f"the scopes are {', '.join(known)}")
    if not given:
        raise UserError("a key without a scope can do nothing", f"the scopes are {', '.join(known)}")
    return given


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _stored(row: Sequence[object]) -> StoredKey:
    key_id, name, scopes, created, expires, revoked = row
    return StoredKey(key_id, name, tuple(scopes), created, expires, revoked)  # pyright: ignore
