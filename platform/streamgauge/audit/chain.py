"""Whether the log is as it was written. Pure: entries and checkpoints in, faults out."""

from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from streamgauge.audit.checkpoint import read_checkpoint
from streamgauge.audit.entry import GENESIS, AuditEntry, digest_of


@dataclass(frozen=True)
class Verified:
    """`signed` of the `entries` stand before a checkpoint. Each fault is a sentence."""

    entries: int
    signed: int
    checkpoints: int
    faults: tuple[str, ...]


def verify(entries: Iterable[AuditEntry], checkpoints: Iterable[tuple[str, str]], key: Ed25519PublicKey) -> Verified:
    """`checkpoints` are files by name, with their text.

    A changed entry doesn't have its digest, one that is missing or elsewhere breaks the order of numbers, and who wrote
    all digests anew is found by the checkpoints, as is who took entries off the end.
    """
    faults: list[str] = []
    digests: dict[int, str] = {}
    last, previous = 0, GENESIS
    for entry in entries:
        if entry.number != last + 1:
            faults.append(f"entry {entry.number} follows {last}" if last else f"the log begins at entry {entry.number}")
        elif digest_of(previous, entry.body).hex() != entry.digest:
            faults.append(f"entry {entry.number} is not what was recorded: its digest is another")
        last = entry.number
        digests[entry.number] = entry.digest
        previous = _bytes(entry.digest)
    signed = 0
    count = 0
    for name, text in checkpoints:
        count += 1
        found = read_checkpoint(text)
        if found is None or not found.is_signed_by(key):
            faults.append(f"checkpoint {name} is not signed by the key")
        elif found.number not in digests:
            faults.append(f"entry {found.number} is missing: checkpoint {name} of {found.at} has it")
        elif found.digest != digests[found.number]:
            faults.append(f"entries up to {found.number} were written anew after checkpoint {name} of {found.at}")
        else:
            signed = max(signed, found.number)
    return Verified(len(digests), min(signed, len(digests)), count, tuple(faults))


def _bytes(digest: str) -> bytes:
    try:
        return bytes.fromhex(digest)
    except ValueError:
        return b""
