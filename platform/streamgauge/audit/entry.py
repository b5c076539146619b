"""What is recorded of one act."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

Action: TypeAlias = Literal[
    "contract.apply",
    "access.apply",
    "structure.apply",
    "reference.load",
    "api-key.create",
    "api-key.revoke",
    "alert.accept",
    "anomaly.verdict",
    "hour.accept",
    "hours.rebuild",
    "hour.evidence",
    "dead-letters.requeue",
    "dead-letter.read",
    "personal.read",
    "dagster.change",
]

ACTIONS: Mapping[Action, str] = {
    "contract.apply": "`streamgauge apply` took up a contract, with the one before it",
    "access.apply": "`streamgauge apply` changed rights or logins",
    "structure.apply": "`streamgauge apply` changed topics, subjects, tables or views",
    "reference.load": "`streamgauge reference load` replaced a reference table's rows",
    "api-key.create": "an API key was made, with its scopes and never with its secret",
    "api-key.revoke": "an API key was revoked",
    "alert.accept": "a person accepted a failure that nothing made good, with the reason",
    "anomaly.verdict": "a person acknowledged an anomaly, or said that it is normal, with the reason",
    "hour.accept": "a person accepted a difference between the layers, with the reason",
    "hours.rebuild": "`streamgauge rebuild` counted hours again",
    "hour.evidence": "the evidence of a final hour was signed; the entry has its SHA-256",
    "dead-letters.requeue": "dead letters were sent to their topic once more",
    "dead-letter.read": "somebody saw a dead letter's key, headers and value",
    "personal.read": "somebody saw the values behind pseudonyms, by the API or `streamgauge top --personal`",
    "dagster.change": "a person changed something in Dagster: launched, stopped, wiped, switched",
}
"""Every action that is recorded, and when it is."""

BY_ITSELF: tuple[Action, ...] = ("hour.evidence",)
"""What no person did: there is one for each hour, and lists leave it out unless it is asked for."""

GENESIS = bytes(32)
"""Stands for the entry before the first."""


@dataclass(frozen=True)
class AuditEvent:
    """An act to be recorded. `actor`: a person of this machine, or an API key. `address`: where the request came from.

    `before` and `after` are JSON values. They hold names, settings and numbers, never a value from an event.
    """

    action: Action
    subject: str
    actor: str
    address: str | None = None
    reason: str | None = None
    before: Any = None
    after: Any = None

    def as_json(self) -> str:
        return json.dumps({k: v for k, v in asdict(self).items() if v is not None}, default=str)


@dataclass(frozen=True)
class AuditEntry:
    """A recorded act. `body` is the text that `digest` (hexadecimal SHA-256) covers, with the digest before it."""

    number: int
    body: str
    digest: str

    @cached_property
    def fields(self) -> dict[str, Any]:
        return json.loads(self.body)


def digest_of(previous: bytes, body: str) -> bytes:
    return hashlib.sha256(previous + body.encode()).digest()
