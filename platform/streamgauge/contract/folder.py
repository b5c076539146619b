"""A folder of contracts as long-running processes read it: a file with a mistake is set aside, and the others go on."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from streamgauge.contract.check import ContractFile, check_together
from streamgauge.contract.document import refuse
from streamgauge.contract.load import read_contract
from streamgauge.contract.model import Contract
from streamgauge.errors import UserError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fault:
    """A file that is set aside, with what is wrong in it."""

    file: str
    message: str


@dataclass(frozen=True)
class Folder:
    contracts: tuple[Contract, ...]
    faults: tuple[Fault, ...]
    files: Mapping[str, str]
    """The name of each stream's file."""


def read_folder(folder: Path) -> Folder:
    """In the order of the files' names. Of two files that contradict each other the second is set aside.

    Processes look every few seconds: what did not change since is not read again.
    """
    return _read(tuple((file, _state(file)) for file in sorted(folder.glob("*.yaml"))))


def _state(file: Path) -> tuple[int, ...]:
    """Another one after each write, replacement or change of rights; none where the file has just gone."""
    try:
        found = file.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_ctime_ns


@lru_cache(maxsize=2)
def _read(files: tuple[tuple[Path, tuple[int, ...]], ...]) -> Folder:
    good: list[ContractFile] = []
    contracts: dict[str, Contract] = {}
    faults: list[Fault] = []
    for file, _ in files:
        try:
            read = read_contract(file)
            check_together([*good, read])
            refuse(read.document.mistakes, [file])
        except (UserError, OSError) as e:
            faults.append(Fault(file.name, str(e)))
        else:
            assert read.contract is not None
            good.append(read)
            contracts[file.name] = read.contract
    return Folder(tuple(contracts.values()), tuple(faults), {c.stream: name for name, c in contracts.items()})


def load_valid_contracts(folder: Path) -> tuple[Contract, ...]:
    """The contracts without a mistake; what is set aside is logged. Raises UserError where none is left."""
    found = read_folder(folder)
    for fault in found.faults:
        log.error("the contract %s is set aside, its stream stands: %s", fault.file, fault.message)
    if not found.contracts:
        what = f"no contract in {folder}" + ("" if not found.faults else " is without a mistake")
        wrong = "; ".join(f.message for f in found.faults)
        raise UserError(what, wrong or "put one YAML file a stream there, or set STREAMGAUGE_CONTRACTS_DIR")
    return found.contracts
