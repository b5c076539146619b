"""All that the assets say of themselves, against what was last agreed: lineage, owners or keys don't drift unseen.

After a change that is meant: `STREAMGAUGE_SNAPSHOT=write pytest tests/unit/test_asset_specs.py`, and read the diff.
"""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import dagster as dg
import pytest
import yaml

from assets.partitions import ALL
from streamgauge.dagster.hours import DAY_FORMAT

SNAPSHOT = Path(__file__).parent / "asset_specs.yaml"


@pytest.fixture(scope="module")
def graph() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        for name in [n for n in os.environ if n.startswith("STREAMGAUGE_") and n != "STREAMGAUGE_SNAPSHOT"]:
            patch.delenv(name)
        patch.setenv("STREAMGAUGE_LAKE_URL", "/lake")
        import definitions

        return definitions.defs().resolve_asset_graph()


def described(graph: Any) -> dict[str, Any]:
    checks: dict[str, list[str]] = {}
    for key in graph.asset_check_keys:
        blocking = " (blocking)" if graph.get(key).blocking else ""
        checks.setdefault(key.asset_key.to_user_string(), []).append(key.name + blocking)
    return {spec.key.to_user_string(): _spec(spec, checks) for spec in sorted(_specs(graph), key=lambda s: s.key)}


def _specs(graph: Any) -> list[dg.AssetSpec]:
    return [graph.get(key).assets_def.specs_by_key[key] for key in graph.get_all_asset_keys()]


def _spec(spec: dg.AssetSpec, checks: dict[str, list[str]]) -> dict[str, Any]:
    metadata = dict(spec.metadata)
    schema, lineage = metadata.get("dagster/column_schema"), metadata.get("dagster/column_lineage")
    condition = cast(Any, spec).automation_condition
    return {
        "group": spec.group_name,
        "owners": list(spec.owners),
        "kinds": sorted(spec.kinds),
        "tags": {k: v for k, v in spec.tags.items() if not k.startswith("dagster/kind/")},
        "partitions": type(spec.partitions_def).__name__ if spec.partitions_def else None,
        "after": sorted(d.asset_key.to_user_string() for d in spec.deps),
        "uri": metadata.get("dagster/uri"),
        "columns": [f"{c.name}: {c.type}" for c in schema.columns] if schema else None,
        "lineage": {
            column: sorted(f"{d.asset_key.to_user_string()}.{d.column_name}" for d in sources)
            for column, sources in sorted(lineage.deps_by_column.items())
        }
        if lineage
        else None,
        "freshness": _freshness(spec),
        "made": condition.get_label() or type(condition).__name__ if condition else None,
        "checks": sorted(checks.get(spec.key.to_user_string(), [])),
    }


def _freshness(spec: dg.AssetSpec) -> str:
    policy: Any = spec.freshness_policy
    return f"warns after {policy.warn_window.to_timedelta()}, fails after {policy.fail_window.to_timedelta()}"


def test_assets_are_as_agreed(graph: Any) -> None:
    found = described(graph)
    if os.environ.get("STREAMGAUGE_SNAPSHOT") == "write":
        SNAPSHOT.write_text(yaml.safe_dump(found, sort_keys=True, width=120))
    assert found == yaml.safe_load(SNAPSHOT.read_text())


def test_every_asset_says_what_people_ask_of_it(graph: Any) -> None:
    for spec in _specs(graph):
        name = spec.key.to_user_string()
        assert spec.description, name
        assert spec.owners, name
        assert spec.kinds, name
        assert spec.tags, name
        assert spec.metadata.get("dagster/uri"), name
        assert spec.metadata.get("dagster/column_schema"), name
        assert spec.freshness_policy, name


def test_every_column_has_a_name_once(graph: Any) -> None:
    for spec in _specs(graph):
        columns = [c.name for c in spec.metadata["dagster/column_schema"].columns]
        assert len(columns) == len(set(columns)), spec.key


def test_what_comes_before_an_asset_is_an_asset_too(graph: Any) -> None:
    """A misspelt dependency would become an asset of its own, without a description."""
    known = {s.key for s in _specs(graph)}
    for spec in _specs(graph):
        assert {d.asset_key for d in spec.deps} <= known, spec.key


def test_a_day_can_be_made_while_it_lasts(graph: Any) -> None:
    """Hours to come would make a backfill of days fail as a whole."""
    now = datetime(2026, 11, 23, 15, 30, tzinfo=UTC)
    today = ALL.event_days.subset_with_partition_keys([now.strftime(DAY_FORMAT)])
    links = [(s, d.asset_key) for s in _specs(graph) if s.partitions_def == ALL.event_days for d in s.deps]
    assert links
    for spec, above in links:
        mapping = graph.get_partition_mapping(spec.key, above)
        needed = mapping.get_upstream_mapped_partitions_result_for_partitions(
            today, ALL.event_days, ALL.event_hours, now
        )
        assert needed.required_but_nonexistent_subset.is_empty, spec.key
        assert len(needed.partitions_subset) == now.hour + 1
