"""Column lineage as Dagster's pages show it."""

from dagster import AssetKey, TableColumnDep, TableColumnLineage

from lineage.datasets import Dataset, Key, datasets
from streamgauge.contract.model import Contract


def column_lineage(contract: Contract, key: Key) -> dict[str, TableColumnLineage]:
    """Metadata for the asset of that key; empty where all its columns are its own."""
    found: Dataset = next(d for d in datasets(contract) if d.key == key)
    deps = {
        column: [TableColumnDep(asset_key=AssetKey(o.dataset), column_name=o.column) for o in origins]
        for column, origins in found.origins.items()
    }
    return {"dagster/column_lineage": TableColumnLineage(deps_by_column=deps)} if deps else {}
