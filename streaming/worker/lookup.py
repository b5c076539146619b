"""The reference table, ready to be asked for the distinct keys of a batch."""

import polars as pl

from streamgauge.rollup.enrich import Reference
from streamgauge.rollup.groups import Coded, TextIndex, code_texts


class Lookup:
    def __init__(self, reference: Reference) -> None:
        table, unknown = reference.table, reference.spec.unknown
        self.key = reference.spec.key
        self._index = TextIndex(table["key"])
        # an unknown key is found behind the table's end
        behind = pl.DataFrame({name: [unknown] for name in reference.spec.columns})
        columns = pl.concat([table.select(pl.col(reference.spec.columns).fill_null(unknown)), behind])
        self._columns = {column.name: code_texts(column) for column in columns}

    def find(self, keys: Coded) -> dict[str, Coded]:
        """Each reference column for each row of `keys`."""
        rows = self._index.find(keys.values)
        return {name: Coded(column.codes[rows][keys.codes], column.values) for name, column in self._columns.items()}
