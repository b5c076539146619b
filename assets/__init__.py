"""The batch layer: lake, facts, dimensions and rollups as Dagster assets."""
