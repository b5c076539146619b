"""Which contracts and which access `apply` has made so."""

from dataclasses import dataclass, replace
from functools import lru_cache

import psycopg
from pydantic import ValidationError

from streamgauge.contract.fingerprint import AS_JSON
from streamgauge.contract.model import Contract
from streamgauge.stores.postgres import Connection

APPLY_LOCK = 0x5347_4150_504C_59
"""Each `apply` takes it for its transaction, and so does who makes a generation the present one: either would go by
what the other is changing.
"""


@dataclass(frozen=True)
class Applied:
    fingerprint: str
    contract: Contract | None
    """None where an earlier version of the platform applied it, or one that knows more than this."""
    generation: int = 1
    """Of the rollups that readers get."""


def read_applied_contracts(connection: Connection) -> dict[str, Applied]:
    """By stream; none where nothing was ever applied."""
    for columns in ("contract, generation", "contract, 1", "null, 1"):
        try:
            with connection.transaction():
                rows = connection.execute(f"select stream, fingerprint, {columns} from applied_contracts").fetchall()
        except psycopg.errors.UndefinedColumn:
            # as an earlier version of the platform made the table
            continue
        except psycopg.errors.UndefinedTable:
            break
        return {stream: Applied(found, _contract(text, number), number) for stream, found, text, number in rows}
    return {}


def read_principals(connection: Connection) -> frozenset[str]:
    """Those whose rights were made so; none where nothing was ever applied."""
    try:
        with connection.transaction():
            return frozenset(name for (name,) in connection.execute("select name from applied_principals"))
    except psycopg.errors.UndefinedTable:
        return frozenset()


@lru_cache(maxsize=256)
def _contract(text: str | None, generation: int) -> Contract | None:
    try:
        return None if text is None else replace(AS_JSON.validate_json(text), generation=generation)
    except ValidationError:
        return None
