"""What pseudonyms stand for, for callers who may see personal values."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import polars as pl
from fastapi import Request

from serving.access import Caller
from serving.audit import record
from serving.database import Database
from streamgauge.audit.entry import AuditEvent
from streamgauge.contract.model import Contract
from streamgauge.rollup.pseudonyms import pseudonyms_of
from streamgauge.settings import Settings
from streamgauge.state.pseudonyms import read_values
from streamgauge.web.origin import address


@dataclass(frozen=True)
class Reader:
    """Who sees them, and from where."""

    name: str
    address: str


def reader_of(request: Request, caller: Caller) -> Reader:
    return Reader(caller.name, address(request))


class PersonalValues:
    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database

    def of(self, contract: Contract, pseudonyms: Iterable[str], reader: Reader) -> dict[str, str]:
        """By pseudonym, of those whose value is known. The audit log has the reader first."""
        with self._database.change() as connection:
            record(connection, AuditEvent("personal.read", contract.stream, reader.name, reader.address))
            return read_values(connection, contract.stream, pseudonyms_of(self._settings, contract), pseudonyms)

    def in_rows(
        self, contract: Contract, rows: pl.DataFrame, dimensions: Sequence[str], reader: Reader
    ) -> pl.DataFrame:
        """With values in place of pseudonyms that are known, in those of the dimensions that are personal."""
        personal = [d.name for d in contract.rollup.dimensions if d.name in dimensions and contract.is_personal(d)]
        if not personal:
            return rows
        known = self.of(contract, pl.concat([rows[name].rename("") for name in personal]).unique().to_list(), reader)
        return rows.with_columns(pl.col(name).replace(known) for name in personal)
