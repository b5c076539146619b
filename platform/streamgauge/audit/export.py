"""The log in a folder, to be kept or verified elsewhere."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from streamgauge.audit.entry import AuditEntry
from streamgauge.audit.ocsf import as_ocsf, from_ocsf
from streamgauge.errors import UserError

ENTRIES = "entries.ndjson"
CHECKPOINTS = "checkpoints"
KEY = "public-key.txt"


@dataclass(frozen=True)
class Exported:
    """An export as it is read again: `unreadable` lines are no entries."""

    entries: list[AuditEntry]
    unreadable: list[int]
    checkpoints: list[tuple[str, str]]
    key: str


def write_export(folder: Path, entries: Iterable[AuditEntry], checkpoints: Iterable[tuple[str, str]], key: str) -> int:
    """Returns how many entries there are. Raises UserError where the folder has files already."""
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty", "name a folder that is not there yet")
    (folder / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
    count = 0
    with (folder / ENTRIES).open("w") as file:
        for entry in entries:
            file.write(json.dumps(as_ocsf(entry)) + "\n")
            count += 1
    for name, text in checkpoints:
        (folder / CHECKPOINTS / name).write_text(text)
    (folder / KEY).write_text(key + "\n")
    return count


def read_export(folder: Path) -> Exported:
    try:
        lines = (folder / ENTRIES).read_text().splitlines()
        key = (folder / KEY).read_text().strip()
        checkpoints = [(p.name, p.read_text()) for p in sorted((folder / CHECKPOINTS).glob("*.json"))]
    except (OSError, UnicodeDecodeError) as e:
        raise UserError(f"{folder} is no export of an audit log: {e}", "streamgauge audit export DIR makes one") from e
    found = [from_ocsf(line) for line in lines]
    return Exported(list(_present(found)), [n for n, entry in enumerate(found, 1) if entry is None], checkpoints, key)


def _present(found: Iterable[AuditEntry | None]) -> Iterator[AuditEntry]:
    return (entry for entry in found if entry is not None)
