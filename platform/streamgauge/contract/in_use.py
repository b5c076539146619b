"""By which contracts a process works that goes on for days.

It takes up what was applied since it began. What is in a file and was not applied has no tables yet, or others.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psycopg

from streamgauge.contract.fingerprint import fingerprint
from streamgauge.contract.folder import Folder, read_folder
from streamgauge.contract.load import load_contracts
from streamgauge.contract.model import Contract
from streamgauge.errors import UserError
from streamgauge.settings import Settings
from streamgauge.state.applied import Applied, read_applied_contracts
from streamgauge.stores.postgres import Connection, connect_or_explain

log = logging.getLogger(__name__)

SECONDS = 5.0
"""Between two looks. It is most of what an operator waits for after `apply`."""


def contracts_to_use(
    found: Folder, applied: Mapping[str, Applied] | None, running: Mapping[str, Contract], files: Mapping[str, str]
) -> dict[str, Contract]:
    """By stream. `applied` is None where Postgres does not answer; `files` says where each running contract came from.

    A contract that changed is taken when it was applied, and a new generation of its rollups when it is filled: until
    then a process works by what was applied. One whose file has a mistake now goes on as it was.
    """
    if applied is None:
        return dict(running) or {c.stream: c for c in found.contracts}
    usable: dict[str, Contract] = {}
    for contract in found.contracts:
        before, known = running.get(contract.stream), applied.get(contract.stream)
        if known is not None:
            usable[contract.stream] = _as_applied(contract, known, before)
        elif before is not None:
            usable[contract.stream] = before
    faulty = {f.file for f in found.faults}
    return usable | {s: c for s, c in running.items() if s not in usable and files.get(s) in faulty}


def _as_applied(contract: Contract, known: Applied, before: Contract | None) -> Contract:
    if known.fingerprint == fingerprint(contract):
        return replace(contract, generation=known.generation)
    return known.contract or before or contract


def load_applied(settings: Settings) -> tuple[Contract, ...]:
    """For a command that ends soon: as they were applied. As the files say where they never were, or where Postgres
    does not answer. Raises UserError for a mistake in a file.
    """
    contracts, applied = load_contracts(settings.contracts_dir), dict[str, Applied]()
    with suppress(UserError), connect_or_explain(settings, application="streamgauge") as connection:
        applied = read_applied_contracts(connection)
    return tuple(_as_applied(c, applied[c.stream], None) if c.stream in applied else c for c in contracts)


class ContractsInUse(Mapping[str, Contract]):
    """By stream, and replaced as a whole: who goes through them sees one state."""

    def __init__(self, folder: Path, connect: Callable[[], Connection], only: Sequence[str] = ()) -> None:
        """`connect` gives connections that commit each statement by themselves; `only` these streams, or all."""
        self._folder = folder
        self._connect = connect
        self._only = frozenset(only)
        self._current: dict[str, Contract] = {}
        self._files: dict[str, str] = {}
        self._noted: set[str] = set()

    def __getitem__(self, stream: str) -> Contract:
        return self._current[stream]

    def __iter__(self) -> Iterator[str]:
        return iter(self._current)

    def __len__(self) -> int:
        return len(self._current)

    def refresh(self) -> None:
        found = read_folder(self._folder)
        applied = self._applied()
        current = contracts_to_use(found, applied, self._current, self._files)
        self._files |= found.files
        notes = [f"the contract {f.file} is set aside: {f.message}" for f in found.faults]
        waiting = [c.stream for c in found.contracts if applied is not None and c.stream not in applied]
        notes += [f"{stream} is not applied yet: run `streamgauge apply`" for stream in waiting]
        changed = [c.stream for c in found.contracts if current.get(c.stream, c) != c]
        notes += [
            f"{s}: its file was changed since it was applied; `streamgauge apply` makes it so, at once or "
            "when a generation of its rollups is filled"
            for s in changed
        ]
        for note in (n for n in notes if n not in self._noted):
            log.warning("%s", note)
        self._noted = set(notes)
        self._current = {s: c for s, c in current.items() if not self._only or s in self._only}

    def _applied(self) -> dict[str, Applied] | None:
        try:
            with self._connect() as connection:
                return read_applied_contracts(connection)
        except (psycopg.Error, UserError):
            return None
