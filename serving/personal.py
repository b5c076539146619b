"""Personal values as pseudonyms: the same person always gets the same, and nobody can look up whose it is."""

import hashlib
import hmac
import secrets
import threading
from collections.abc import Callable

from serving.database import Database
from streamgauge.contract.model import Contract, Top

_SECRET = "pseudonyms"
_DIGITS = 10


class Pseudonyms:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._secret: bytes | None = None

    def of(self, value: str) -> str:
        digest = hmac.new(self._key(), value.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
        return f"~{digest[:_DIGITS]}"

    def _key(self) -> bytes:
        with self._lock:
            if self._secret is None:
                with self._database.change() as connection:
                    connection.execute(
                        "INSERT INTO api_secrets (name, value) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                        (_SECRET, secrets.token_bytes(32)),
                    )
                with self._database.snapshot() as connection:
                    row = connection.execute("SELECT value FROM api_secrets WHERE name = %s", (_SECRET,)).fetchone()
                assert row is not None
                self._secret = bytes(row[0])
            return self._secret


def shown(contract: Contract, top: Top, sees_personal: bool, pseudonym: Callable[[str], str]) -> Callable[[str], str]:
    if sees_personal or not contract.is_personal(top):
        return lambda key: key
    return pseudonym
