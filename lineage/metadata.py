"""Column lineage as Dagster's pages show it."""

from collections.abc import Iterable

from dagster import AssetKey, TableColumnDep, TableColumnLineage

from lineage.datasets import Key, by_key
from streamgauge.contract.model import Contract
from streamgauge.dagster.names import COLUMN_LINEAGE


def column_lineage(contracts: Iterable[Contract], key: Key) -> dict[str, TableColumnLineage]:
    """Metadata for the asset of that key, which these contracts share; empty where all its columns are its own."""
    found = by_key(contracts)[key]
    deps = {
        column: [TableColumnDep(asset_key=AssetKey(o.dataset), column_name=o.column) for o in origins]
        for column, origins in found.origins.items()
    }
    return {COLUMN_LINEAGE: TableColumnLineage(deps_by_column=deps)} if deps else {}
