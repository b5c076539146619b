"""Makes a number again from the lake's files that its evidence names, and from nothing else."""

from collections.abc import Callable
from dataclasses import dataclass
from math import isclose
from typing import Any

import polars as pl
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from assets.rollups.roll import minutes, source_columns
from streamgauge.audit.checkpoint import public_key
from streamgauge.contract.fingerprint import data_fingerprint
from streamgauge.contract.model import Contract
from streamgauge.dagster.hours import HOUR, hour_start
from streamgauge.errors import UserError
from streamgauge.proof.evidence import Evidence, LakeFile
from streamgauge.proof.number import ProvenNumber, check_asked, value_of
from streamgauge.rollup.pseudonyms import Pseudonyms
from streamgauge.stores.fact_tables import duplicates_table, facts_table
from streamgauge.stores.files import Files
from streamgauge.stores.lake import LakeError, LakeTable
from streamgauge.stores.rollup_tables import START
from streamgauge.text import plural

_TOLERANCE = 1e-9
"""Sums of floats hang on their order, which is another in Postgres."""


@dataclass(frozen=True)
class VerifiedNumber:
    """`checks`: what was found right, a sentence each; `faults`: what was not. `value` is the number made again."""

    value: Any
    checks: tuple[str, ...]
    faults: tuple[str, ...]

    @property
    def holds(self) -> bool:
        return not self.faults


def verify(
    proven: ProvenNumber, root: str, key: Ed25519PublicKey | None, pseudonyms: Callable[[Contract], Pseudonyms]
) -> VerifiedNumber:
    """`root` is the lake's, wherever it is. `key`: whose signature counts; without it, that of whoever signed. Raises
    UserError for a number that there can't be, and where pseudonyms are needed and there is no key for them.
    """
    contract, asked = proven.contract, proven.asked
    window = check_asked(contract, asked)
    faults = [*_of_signatures(proven, key)]
    hours = [e.evidence for e in proven.evidence]
    wanted = [hour_start(asked.start) + i * HOUR for i in range(max(1, window.size // HOUR))]
    if [h.hour for h in hours] != wanted or any(h.stream != asked.stream for h in hours):
        faults.append("the evidence is of other hours, or of another stream, than the number")
    if contract.stream != asked.stream or any(h.contract != data_fingerprint(contract) for h in hours):
        faults.append("the contract is not the one that the evidence names")
    if faults:
        return VerifiedNumber(None, (), tuple(faults))
    checks = [f"{plural(len(hours), 'hour')} of evidence: signed by {hours[0].public_key}"]
    files = [f for h in hours for f in h.files]
    facts, duplicates = facts_table(root, contract), duplicates_table(root, contract)
    tables = {"facts": facts, "duplicates": duplicates}
    for file in files:
        faults += _of_file(tables, contract, file)
    if faults:
        return VerifiedNumber(None, tuple(checks), tuple(faults))
    checks.append(f"{plural(len(files), 'file')} of the lake: as signed")
    value = _made_again(proven, facts, duplicates, hours, pseudonyms(contract))
    if not _same(value, proven.value):
        faults.append(f"the lake makes {value}, and the number is {proven.value}")
    return VerifiedNumber(value, tuple(checks), tuple(faults))


def _of_signatures(proven: ProvenNumber, key: Ed25519PublicKey | None) -> list[str]:
    faults: list[str] = []
    for signed in proven.evidence:
        found = signed.evidence
        if not signed.is_signed_by(key or public_key(found.public_key)):
            faults.append(f"the evidence of {found.hour.isoformat()} is not signed by {'that' if key else 'its'} key")
    return faults


def _of_file(tables: dict[str, LakeTable], contract: Contract, file: LakeFile) -> list[str]:
    table = tables.get(file.table)
    if table is None or ".." in file.path:
        return [f"{file.table}/{file.path} is no file of facts or duplicates"]
    name = f"{file.table}/{contract.stream}/{file.path}"
    try:
        if Files(table.url).digest(file.path) == (file.bytes, file.sha256):
            return []
        return [f"{name} is not what was signed"]
    except LakeError:
        return [f"{name} is not there: the hour was built again, compacted, or its time is over"]


def _made_again(
    proven: ProvenNumber, facts: LakeTable, duplicates: LakeTable, hours: list[Evidence], pseudonyms: Pseudonyms
) -> Any:
    columns = source_columns(proven.contract)
    read = [
        table.scan_paths(f.path for h in hours for f in h.files if f.table == name).select(columns).collect()
        for name, table in (("facts", facts), ("duplicates", duplicates))
    ]
    rows = minutes(proven.contract, pseudonyms, *read).rows
    there, value = value_of(
        proven.contract,
        proven.asked,
        rows.select(
            pl.col(START).cast(pl.Datetime("us", "UTC")).alias("minute"),
            pl.lit(0, pl.Int64).alias("late"),
            pl.exclude(START),
        ),
    )
    if not there:
        raise UserError("the lake has no event in that window, of these members", "see what was asked for")
    return value


def _same(found: Any, said: Any) -> bool:
    if found is None or said is None:
        return found is said
    return isclose(float(found), float(said), rel_tol=_TOLERANCE, abs_tol=0.0)
