"""The evidence of a final hour: what its numbers were made of, and what they were compared with. Pure."""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from streamgauge.errors import UserError

_PASSING = ("at", "watermark", "offsets")
"""What is another with each comparison, though the hour is as it was."""


@dataclass(frozen=True)
class LakeFile:
    """`path` is below its table's folder; `sha256` is hexadecimal."""

    table: str
    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Evidence:
    """Of an hour of event time, as it was when its layers were compared.

    `offsets`: the first offset of each partition that the worker had not counted. `reconciliation`: the comparison's
    result. `files`: all of the hour's facts and duplicates.
    """

    stream: str
    hour: datetime
    revision: int
    at: datetime
    contract_version: str
    contract: str
    """The fingerprint of what of it decides which rows there are."""
    code: str
    watermark: datetime | None
    offsets: Mapping[str, int]
    reconciliation: Mapping[str, Any]
    files: tuple[LakeFile, ...]
    public_key: str
    """By which it is signed, hexadecimal. Who verifies should have it from somewhere else."""

    def as_text(self) -> str:
        """The one form that is signed: keys in order, no blanks."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), default=datetime.isoformat)

    @staticmethod
    def from_text(text: str) -> "Evidence":
        """Raises UserError for a text that is none."""
        try:
            found = json.loads(text)
            found["files"] = tuple(LakeFile(**f) for f in found["files"])
            for name in ("hour", "at", "watermark"):
                found[name] = found[name] and datetime.fromisoformat(found[name])
            return Evidence(**found)
        except (ValueError, KeyError, TypeError) as e:
            raise UserError("that is no evidence of an hour", "get the number's proof anew") from e

    def says_as(self, other: "Evidence") -> bool:
        """Whether both are of the same numbers, whenever they were compared."""
        mine, theirs = asdict(self), asdict(other)
        return all(mine[name] == theirs[name] for name in mine.keys() - set(_PASSING))


@dataclass(frozen=True)
class SignedEvidence:
    """`body` as it was signed, `signature` in base64 (Ed25519, RFC 8032). `entry` is its number in the audit log."""

    body: str
    signature: str
    entry: int

    @property
    def evidence(self) -> Evidence:
        return Evidence.from_text(self.body)

    def is_signed_by(self, key: Ed25519PublicKey) -> bool:
        try:
            key.verify(base64.b64decode(self.signature), _signed(self.body))
        except (InvalidSignature, ValueError):
            return False
        return True


def digest_of(body: str) -> str:
    """As the audit log has it."""
    return hashlib.sha256(body.encode()).hexdigest()


def signature_of(key: Ed25519PrivateKey, body: str) -> str:
    return base64.b64encode(key.sign(_signed(body))).decode()


def _signed(body: str) -> bytes:
    return b"streamgauge evidence\n" + body.encode()
