"""Columns from a contract's reference table, added to events by a key."""

from dataclasses import dataclass

import polars as pl

from streamgauge.contract.model import ReferenceSpec

REFERENCE = "__ref_"
"""Prefix of the added columns, so that they never meet a field of the contract."""

KEY = "key"
"""The column of the table's keys in memory, whatever the field is called."""


@dataclass(frozen=True)
class Reference:
    """The reference table at one moment: the column `key` and the contract's columns."""

    spec: ReferenceSpec
    table: pl.DataFrame

    @classmethod
    def empty(cls, spec: ReferenceSpec) -> "Reference":
        return cls(spec, pl.DataFrame(schema={KEY: pl.String, **dict.fromkeys(spec.columns, pl.String)}))

    def enrich(self, events: pl.DataFrame) -> pl.DataFrame:
        """Adds the reference columns; an unknown key gets the contract's `unknown`. Rows keep their order."""
        renamed = self.table.rename({c: REFERENCE + c for c in self.spec.columns})
        joined = events.join(renamed, left_on=self.spec.key, right_on=KEY, how="left", maintain_order="left")
        return joined.with_columns(pl.col(REFERENCE + c).fill_null(self.spec.unknown) for c in self.spec.columns)
