"""Whether two contracts say the same."""

import hashlib

from pydantic import TypeAdapter

from streamgauge.contract.model import Contract

AS_JSON = TypeAdapter(Contract)

DATA = frozenset(
    {"fields", "together", "derived", "event_id", "event_time", "source", "time", "rollup", "star", "reference"}
)
"""What of a contract decides which rows there are; owners, checks and freshness don't."""


def fingerprint(contract: Contract) -> str:
    """Of what the contract's file says: its comments and layout make no other one, nor does the generation."""
    return hashlib.sha256(AS_JSON.dump_json(contract, exclude={"generation"})).hexdigest()[:32]


def data_fingerprint(contract: Contract) -> str:
    """The same for contracts that make the same rows."""
    return hashlib.sha256(AS_JSON.dump_json(contract, include=set(DATA))).hexdigest()[:32]
