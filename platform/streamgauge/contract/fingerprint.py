"""Whether two contracts say the same."""

import hashlib

from pydantic import TypeAdapter

from streamgauge.contract.model import Contract

AS_JSON = TypeAdapter(Contract)


def fingerprint(contract: Contract) -> str:
    """Of what the contract says: comments and layout of its file make no other one."""
    return hashlib.sha256(AS_JSON.dump_json(contract)).hexdigest()[:32]
