"""From a file to a contract.

The file format is the Open Data Contract Standard 3.1 (https://bitol-io.github.io/open-data-contract-standard/).
What ODCS has no field for stands in its `customProperties`.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import yaml
from open_data_contract_standard.model import CustomProperty, DataQuality, OpenDataContractStandard, SchemaProperty
from pydantic import TypeAdapter, ValidationError

from streamgauge.contract.check import check_contract, check_shared_dimensions, reject_twice
from streamgauge.contract.model import (
    FIELD_TYPES,
    ChecksSpec,
    Contract,
    DeadLetterSpec,
    FieldSpec,
    ReferenceSpec,
    RollupSpec,
    Source,
    TimeSpec,
    Together,
    TopicSpec,
)
from streamgauge.errors import UserError

_STAR: TypeAdapter[tuple[Source, ...]] = TypeAdapter(tuple[Source, ...])


def load_contracts(folder: Path) -> tuple[Contract, ...]:
    """Every contract in `folder`, by stream name. Raises UserError naming the file and the place in it."""
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise UserError(
            f"no contract in {folder}",
            "put one YAML file a stream there, or set STREAMGAUGE_CONTRACTS_DIR",
        )
    contracts = tuple(load_contract(f) for f in files)
    try:
        for what in ("stream", "topic"):
            reject_twice(what, [getattr(c, what) for c in contracts])
    except ValueError as e:
        raise UserError(f"contracts in {folder}: {e}", "give each stream one file") from e
    check_shared_dimensions(contracts)
    return contracts


def find_contract(contracts: Iterable[Contract], stream: str) -> Contract:
    by_name = {c.stream: c for c in contracts}
    if stream not in by_name:
        raise UserError(f"there is no stream {stream!r}", f"the streams are {', '.join(sorted(by_name))}")
    return by_name[stream]


def load_contract(path: Path) -> Contract:
    try:
        odcs = OpenDataContractStandard.model_validate(yaml.safe_load(path.read_text()))
        return _from_odcs(odcs)
    except (ValidationError, ValueError, yaml.YAMLError) as e:
        raise UserError(f"contract {path.name}: {e}", f"correct {path}") from e


def _from_odcs(odcs: OpenDataContractStandard) -> Contract:
    if odcs.apiVersion is None or not odcs.apiVersion.startswith("v3."):
        raise ValueError(f"apiVersion is {odcs.apiVersion!r}, must be v3.x")
    schemas = odcs.schema_ or []
    if len(schemas) != 1:
        raise ValueError(f"schema has {len(schemas)} objects, must have exactly one: the stream's record")
    schema = schemas[0]
    if not schema.name or not schema.name.isidentifier() or schema.name.lower() != schema.name:
        raise ValueError(f"schema[0].name is {schema.name!r}, must be a lower-case identifier")
    fields = tuple(_field(p) for p in schema.properties or [])
    blocks = {c.property: c.value for c in odcs.customProperties or []}
    unknown = set(blocks) - {"topic", "time", "deadLetters", "reference", "rollup", "star", "checks"}
    if unknown:
        raise ValueError(f"customProperties: unknown {', '.join(sorted(map(str, unknown)))}")
    keys = [p.name for p in schema.properties or [] if p.primaryKey]
    times = [f.name for f in fields if f.type == "timestamp-millis"]
    if len(keys) != 1 or not keys[0]:
        raise ValueError(f"exactly one property must be the primaryKey (the event id), found {len(keys)}")
    if not times:
        raise ValueError("no property has physicalType timestamp-millis: the event time is the first of them")
    reference = blocks.get("reference")
    rollup = RollupSpec.model_validate(blocks.get("rollup"))
    star = blocks.get("star")
    contract = Contract(
        stream=schema.name,
        version=odcs.version or "0.0.0",
        owner=_owner(odcs),
        purpose=(odcs.description.purpose if odcs.description else None) or "",
        topic=schema.physicalName or f"app-{schema.name.replace('_', '-')}",
        fields=fields,
        together=tuple(map(_together, schema.quality or [])),
        event_id=keys[0],
        event_time=times[0],
        topic_spec=TopicSpec.model_validate(blocks.get("topic")),
        time=TimeSpec.model_validate(blocks.get("time")),
        dead_letters=DeadLetterSpec.model_validate(blocks.get("deadLetters")),
        rollup=rollup,
        star=rollup.dimensions if star is None else _STAR.validate_python(star),
        checks=ChecksSpec.model_validate(blocks.get("checks", {})),
        reference=None if reference is None else ReferenceSpec.model_validate(reference),
        retention_ms=_sla_ms(odcs, "retention"),
        freshness_ms=_sla_ms(odcs, "freshness"),
        hourly_freshness_ms=_sla_ms(odcs, "hourlyFreshness", default=3 * _UNIT_MS["h"]),
        daily_freshness_ms=_sla_ms(odcs, "dailyFreshness", default=30 * _UNIT_MS["h"]),
        lake_retention_ms=_sla_or_none(odcs, "lakeRetention"),
        facts_retention_ms=_sla_or_none(odcs, "factsRetention"),
        minutes_retention_ms=_sla_or_none(odcs, "minutesRetention"),
    )
    check_contract(contract)
    return contract


def _owner(odcs: OpenDataContractStandard) -> str:
    name = getattr(odcs.team, "name", None)
    if not name:
        raise ValueError("team.name is missing: every stream has an owner")
    return str(name)


_UNIT_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def _sla_or_none(odcs: OpenDataContractStandard, name: str) -> int | None:
    return _sla_ms(odcs, name, default=0) or None


def _sla_ms(odcs: OpenDataContractStandard, name: str, default: int | None = None) -> int:
    for sla in odcs.slaProperties or []:
        if sla.property == name:
            if sla.unit not in _UNIT_MS:
                raise ValueError(f"slaProperties.{name}: unit {sla.unit!r}, must be one of {', '.join(_UNIT_MS)}")
            return int(float(sla.value or 0) * _UNIT_MS[sla.unit])
    if default is None:
        raise ValueError(f"slaProperties has no {name}")
    return default


def _custom(properties: list[CustomProperty] | None, name: str) -> Any:
    return next((c.value for c in properties or [] if c.property == name), None)


def _field(p: SchemaProperty) -> FieldSpec:
    if p.physicalType not in FIELD_TYPES:
        raise ValueError(f"property {p.name}: physicalType {p.physicalType!r}, must be one of {', '.join(FIELD_TYPES)}")
    options = dict(p.logicalTypeOptions or {})
    spec = FieldSpec(
        name=p.name or "",
        type=p.physicalType,  # pyright: ignore[reportArgumentType]
        required=bool(p.required),
        description=p.description or "",
        classification=p.classification or "internal",
        default=_custom(p.customProperties, "default"),
        min_length=options.pop("minLength", None),
        max_length=options.pop("maxLength", None),
        pattern=options.pop("pattern", None),
        minimum=_bound(options.pop("minimum", None)),
        maximum=_bound(options.pop("maximum", None)),
        allowed=tuple(_argument(p, "validValues") or ()),
        finite=bool(_argument(p, "finite")),
    )
    if options:
        raise ValueError(f"property {p.name}: logicalTypeOptions {', '.join(options)} can't be checked here")
    return spec


def _together(rule: DataQuality) -> Together:
    """A quality entry of the record itself: ODCS leaves its meaning to the engine that it names."""
    fields = rule.implementation.get("together") if isinstance(rule.implementation, dict) else None
    if rule.type != "custom" or rule.engine != "streamgauge" or not rule.name or not isinstance(fields, list):
        raise ValueError(
            f"schema[0].quality {rule.name!r} can't be checked here: it must have a name, type custom, engine"
            " streamgauge and implementation {together: [fields]}"
        )
    return Together(rule.name, tuple(map(str, cast(list[Any], fields))))


def _argument(p: SchemaProperty, name: str) -> Any:
    for rule in p.quality or []:
        if rule.metric == "invalidValues" and name in (rule.arguments or {}):
            return (rule.arguments or {})[name]
    return None


def _bound(value: Any) -> float | None:
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp() * 1000
    return value
