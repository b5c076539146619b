"""Signed checkpoints of the chain, each a small file beside the lake: who can rewrite the database can't sign."""

import base64
import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from streamgauge.errors import UserError
from streamgauge.settings import PREFIX, Settings
from streamgauge.stores.files import Files

FOLDER = "audit"
"""Below the lake's root."""


@dataclass(frozen=True)
class Checkpoint:
    """`number` and `digest` are those of the newest entry at the time `at` (ISO 8601, UTC). `signature` is Ed25519's
    (RFC 8032) over the other three, in base64."""

    number: int
    digest: str
    at: str
    signature: str

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    @property
    def signed(self) -> bytes:
        return _signed(self.number, self.digest, self.at)

    def is_signed_by(self, key: Ed25519PublicKey) -> bool:
        try:
            key.verify(base64.b64decode(self.signature), self.signed)
        except (InvalidSignature, ValueError):
            return False
        return True


def sign(key: Ed25519PrivateKey, number: int, digest: str, at: str) -> Checkpoint:
    signature = key.sign(_signed(number, digest, at))
    return Checkpoint(number, digest, at, base64.b64encode(signature).decode())


def read_checkpoint(text: str) -> Checkpoint | None:
    """None for a text that is none."""
    try:
        found = json.loads(text)
        return Checkpoint(int(found["number"]), str(found["digest"]), str(found["at"]), str(found["signature"]))
    except (ValueError, KeyError, TypeError):
        return None


def signing_key(settings: Settings) -> Ed25519PrivateKey:
    if settings.audit_key is None:
        raise UserError(
            f"{PREFIX}AUDIT_KEY is not set: the key by which checkpoints of the audit log are signed",
            "any long random text does; keep it outside the database (docs/audit.md)",
        )
    seed = hashlib.sha256(settings.audit_key.get_secret_value().encode()).digest()
    return Ed25519PrivateKey.from_private_bytes(seed)


def public_text(key: Ed25519PrivateKey) -> str:
    """The public key as hexadecimal: what others verify by."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


def public_key(text: str) -> Ed25519PublicKey:
    try:
        return Ed25519PublicKey.from_public_bytes(bytes.fromhex(text.strip()))
    except ValueError as e:
        raise UserError("that is no public key", "give the 64 characters that `streamgauge audit key` prints") from e


class Checkpoints:
    """Those beside the lake."""

    def __init__(self, settings: Settings) -> None:
        self._files = Files(settings.lake)

    def write(self, checkpoint: Checkpoint) -> str:
        """Returns where it lies."""
        return self._files.write(f"{FOLDER}/{checkpoint.number:012d}.json", checkpoint.as_json(), "application/json")

    def newest(self) -> Checkpoint | None:
        names = self._names()
        return read_checkpoint(self._files.read(f"{FOLDER}/{names[-1]}") or "") if names else None

    def texts(self) -> Iterable[tuple[str, str]]:
        """Each file's name and text, in the order of the numbers."""
        for name in self._names():
            yield name, self._files.read(f"{FOLDER}/{name}") or ""

    def _names(self) -> list[str]:
        return sorted(n for n in self._files.names(FOLDER) if n.endswith(".json"))


def _signed(number: int, digest: str, at: str) -> bytes:
    return f"streamgauge audit\n{number}\n{digest}\n{at}".encode()
