"""Which contracts and which access `apply` has made so."""

from dataclasses import dataclass
from functools import lru_cache

import psycopg
from pydantic import ValidationError

from streamgauge.contract.fingerprint import AS_JSON
from streamgauge.contract.model import Contract
from streamgauge.stores.postgres import Connection


@dataclass(frozen=True)
class Applied:
    fingerprint: str
    contract: Contract | None
    """None where an earlier version of the platform applied it, or one that knows more than this."""


def read_applied_contracts(connection: Connection) -> dict[str, Applied]:
    """By stream; none where nothing was ever applied."""
    for column in ("contract", "null"):
        try:
            with connection.transaction():
                rows = connection.execute(f"select stream, fingerprint, {column} from applied_contracts").fetchall()
        except psycopg.errors.UndefinedColumn:
            # as an earlier version of the platform made the table
            continue
        except psycopg.errors.UndefinedTable:
            break
        return {stream: Applied(found, _contract(text)) for stream, found, text in rows}
    return {}


def read_principals(connection: Connection) -> frozenset[str]:
    """Those whose rights were made so; none where nothing was ever applied."""
    try:
        with connection.transaction():
            return frozenset(name for (name,) in connection.execute("select name from applied_principals"))
    except psycopg.errors.UndefinedTable:
        return frozenset()


@lru_cache(maxsize=256)
def _contract(text: str | None) -> Contract | None:
    try:
        return None if text is None else AS_JSON.validate_json(text)
    except ValidationError:
        return None
