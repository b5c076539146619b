"""What pseudonyms stand for, for callers who may see personal values."""

from collections.abc import Iterable, Sequence

import polars as pl

from serving.database import Database
from streamgauge.contract.model import Contract
from streamgauge.rollup.pseudonyms import pseudonyms_of
from streamgauge.settings import Settings
from streamgauge.state.pseudonyms import read_values


class PersonalValues:
    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database

    def of(self, contract: Contract, pseudonyms: Iterable[str]) -> dict[str, str]:
        """By pseudonym, of those whose value is known."""
        with self._database.snapshot() as connection:
            return read_values(connection, contract.stream, pseudonyms_of(self._settings, contract), pseudonyms)

    def in_rows(self, contract: Contract, rows: pl.DataFrame, dimensions: Sequence[str]) -> pl.DataFrame:
        """With values in place of pseudonyms that are known, in those of the dimensions that are personal."""
        personal = [d.name for d in contract.rollup.dimensions if d.name in dimensions and contract.is_personal(d)]
        if not personal:
            return rows
        known = self.of(contract, pl.concat([rows[name].rename("") for name in personal]).unique().to_list())
        return rows.with_columns(pl.col(name).replace(known) for name in personal)
