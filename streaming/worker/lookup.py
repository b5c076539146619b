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
        self._columns = {
            name: code_texts(pl.concat([table[name].fill_null(unknown), pl.Series([unknown])]))
            for name in reference.spec.columns
        }

    def find(self, keys: Coded) -> dict[str, Coded]:
        """Each reference column for each row of `keys`."""
        rows = self._index.find(keys.values)
        return {name: Coded(column.codes[rows][keys.codes], column.values) for name, column in self._columns.items()}
