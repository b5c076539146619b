"""Contracts: one ODCS file a stream, and everything that follows from it.

The file format is the Open Data Contract Standard 3.1 (https://bitol-io.github.io/open-data-contract-standard/).
What ODCS has no field for stands in its `customProperties`, checked here by pydantic models.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

import yaml
from open_data_contract_standard.model import CustomProperty, DataQuality, OpenDataContractStandard, SchemaProperty
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from streamgauge.errors import UserError

FieldType = Literal["string", "int", "long", "double", "boolean", "timestamp-millis", "map<string,string>"]
FIELD_TYPES: tuple[str, ...] = FieldType.__args__  # pyright: ignore[reportAttributeAccessIssue]

KEY_PREFIX = "streamgauge:"
"""Of every key in Redis, so that a login can be confined to them."""

NO_VALUE = "none"
"""A dimension's value where the event has none: a key column can't be null."""


class _Block(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TopicSpec(_Block):
    partitions: int = Field(ge=1, le=1024)
    partitionKey: str
    compatibility: Literal["BACKWARD", "BACKWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE"] = "BACKWARD_TRANSITIVE"
    countsTopic: str | None = None


class TimeSpec(_Block):
    allowedLatenessSeconds: int = Field(ge=0)
    futureToleranceSeconds: int = Field(ge=0)
    duplicateHorizonSeconds: int = Field(ge=60)
    idleAfterSeconds: int = Field(ge=1)


class DeadLetterSpec(_Block):
    limit: int = Field(ge=1)
    perSeconds: int = Field(ge=1)


class ReferenceSpec(_Block):
    """A table in Postgres that adds columns to an event by one of its fields."""

    name: str
    key: str
    columns: tuple[str, ...]
    unknown: str

    @property
    def table(self) -> str:
        return f"reference_{self.name}"

    @property
    def history_table(self) -> str:
        return f"{self.table}_history"


class Source(_Block):
    """`name` in the output, from a field, `map_field.key` or `reference.column`."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=40)
    source: str


class Measure(Source):
    quantiles: bool = False


class Top(Source):
    exactKeys: int = Field(ge=10, le=1_000_000)


class RollupSpec(_Block):
    dimensions: tuple[Source, ...]
    distinct: tuple[Source, ...] = ()
    measures: tuple[Measure, ...] = ()
    top: tuple[Top, ...] = ()


Severity = Literal["error", "warning"]


class CheckSpec(_Block):
    """What a failed check means: an error or a warning, and whether the assets downstream wait."""

    severity: Severity = "error"
    blocking: bool = False


class CompletenessSpec(CheckSpec):
    minimum: float = Field(default=1.0, ge=0, le=1)
    """Of the lake's records, how many must be in facts, duplicates or quarantine."""


class QuarantineSpec(CheckSpec):
    severity: Severity = "warning"
    maximumShare: float = Field(default=0.01, ge=0, le=1)


class VolumeSpec(CheckSpec):
    """An hour against the same hour of the days before: so many robust deviations from their median."""

    severity: Severity = "warning"
    days: int = Field(default=14, ge=1, le=366)
    minimumDays: int = Field(default=5, ge=3)
    deviations: float = Field(default=5.0, gt=0)


class SkewSpec(CheckSpec):
    """Ingest time minus event time; without a limit it is measured and not judged."""

    severity: Severity = "warning"
    p99Seconds: float | None = None


class ChecksSpec(_Block):
    contract: CheckSpec = CheckSpec(blocking=True)
    quarantine: QuarantineSpec = QuarantineSpec()
    completeness: CompletenessSpec = CompletenessSpec()
    volume: VolumeSpec = VolumeSpec()
    skew: SkewSpec = SkewSpec()
    references: CheckSpec = CheckSpec()
    offsets: CheckSpec = CheckSpec()
    schemaDrift: CheckSpec = CheckSpec()
    books: CheckSpec = CheckSpec()


_STAR: TypeAdapter[tuple[Source, ...]] = TypeAdapter(tuple[Source, ...])

CALENDAR = ("date", "hour")
"""The dimensions that every star has."""

FACT_COLUMNS = ("partition", "offset", "ingest_time", "event_hour", "rule", "record", "date_key", "hour_key")
"""What facts and quarantine have beside the contract's own columns."""


@dataclass(frozen=True)
class FieldSpec:
    """One field of a stream. `minimum` and `maximum` are in the field's own unit (epoch ms for a timestamp)."""

    name: str
    type: FieldType
    required: bool
    description: str
    classification: str
    default: Any = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    allowed: tuple[str, ...] = ()
    finite: bool = False

    @property
    def is_map(self) -> bool:
        return self.type == "map<string,string>"

    @property
    def is_number(self) -> bool:
        return self.type in ("int", "long", "double")


@dataclass(frozen=True)
class Together:
    """A rule over several fields: a record has all of them or none."""

    name: str
    fields: tuple[str, ...]


@dataclass(frozen=True)
class Contract:
    """A stream's contract and the names that follow from it."""

    stream: str
    version: str
    owner: str
    purpose: str
    topic: str
    fields: tuple[FieldSpec, ...]
    together: tuple[Together, ...]
    event_id: str
    event_time: str
    topic_spec: TopicSpec
    time: TimeSpec
    dead_letters: DeadLetterSpec
    rollup: RollupSpec
    star: tuple[Source, ...]
    """The dimensions of the facts, beside date and hour; streams that name the same one share it."""
    checks: ChecksSpec
    reference: ReferenceSpec | None
    retention_ms: int
    freshness_ms: int
    """Of the minute rollups: event to readable."""
    hourly_freshness_ms: int
    """Of what is made hour by hour: lake, facts, rollups, reconciliation."""
    daily_freshness_ms: int
    lake_retention_ms: int | None
    """Of every record, by ingest time; None keeps them for ever, here and below."""
    facts_retention_ms: int | None
    """Of facts, duplicates and quarantine, by event time."""
    minutes_retention_ms: int | None
    """Of minute rollups, provisional and final; hours and days stay."""

    @cached_property
    def field(self) -> dict[str, FieldSpec]:
        return {f.name: f for f in self.fields}

    @property
    def dead_letter_topic(self) -> str:
        return f"{self.topic}-dead-letters"

    @property
    def subject(self) -> str:
        return f"{self.topic}-value"

    @property
    def counts_subject(self) -> str | None:
        return self.topic_spec.countsTopic and f"{self.topic_spec.countsTopic}-value"

    @property
    def group(self) -> str:
        return f"streamgauge-worker-{self.stream}"

    @property
    def minutes_table(self) -> str:
        return f"{self.stream}_minutes"

    @property
    def top_table(self) -> str:
        return f"{self.stream}_top_minutes"

    @property
    def lateness_ms(self) -> int:
        return self.time.allowedLatenessSeconds * 1000

    @property
    def dimension_names(self) -> tuple[str, ...]:
        return tuple(d.name for d in self.rollup.dimensions)

    def attributes(self, dimension: Source) -> tuple[str, ...]:
        """What the reference table says of a dimension's members; their history is kept."""
        known = self.reference is not None and dimension.source == self.reference.key
        return self.reference.columns if self.reference and known else ()

    def redis_top_key(self, top: str, window: str) -> str:
        return f"{KEY_PREFIX}{self.stream}:top:{top}:{window}"

    @property
    def redis_minutes_key(self) -> str:
        return f"{KEY_PREFIX}{self.stream}:minutes"


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
            _reject_twice(what, [getattr(c, what) for c in contracts])
    except ValueError as e:
        raise UserError(f"contracts in {folder}: {e}", "give each stream one file") from e
    _check_shared_dimensions(contracts)
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
    _check(contract)
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


def _check(c: Contract) -> None:
    """The names in the blocks must be fields of the right type."""
    _reject_twice("property", [f.name for f in c.fields])
    if not c.field[c.event_time].required or not c.field[c.event_id].required:
        raise ValueError(f"{c.event_id} and {c.event_time} must be required")
    for rule in c.together:
        unknown = [name for name in rule.fields if name not in c.field or c.field[name].required]
        if len(rule.fields) < 2 or unknown:
            raise ValueError(f"quality {rule.name}: must name two or more optional properties{_named(unknown)}")
    if c.topic_spec.partitionKey not in c.field:
        raise ValueError(f"topic.partitionKey {c.topic_spec.partitionKey!r} is no property")
    if c.reference and c.reference.key not in c.field:
        raise ValueError(f"reference.key {c.reference.key!r} is no property")
    outputs = (*c.rollup.dimensions, *c.rollup.distinct, *c.rollup.measures)
    _reject_twice("rollup name", [s.name for s in outputs])
    _reject_twice("dimension", [*(d.name for d in c.star), *CALENDAR])
    added = c.reference.columns if c.reference else ()
    _reject_twice("fact column", [*c.field, *added, *(f"{d.name}_key" for d in c.star), *FACT_COLUMNS])
    for source in (*outputs, *c.rollup.top, *c.star):
        head, _, tail = source.source.partition(".")
        known = (
            tail in c.reference.columns
            if head == "reference" and c.reference
            else head in c.field and c.field[head].is_map == bool(tail)
        )
        if not known:
            raise ValueError(
                f"rollup {source.name}: source {source.source!r} is no property, map key or reference column"
            )
        if isinstance(source, Measure) and not tail and not c.field[head].is_number:
            raise ValueError(f"rollup measure {source.name}: {source.source!r} is not a number")


def _check_shared_dimensions(contracts: Iterable[Contract]) -> None:
    """One dimension, one table: its members' attributes can't come from two places."""
    described: dict[str, tuple[str, ReferenceSpec | None]] = {}
    for c in contracts:
        for d in c.star:
            reference = c.reference if c.attributes(d) else None
            stream, known = described.setdefault(d.name, (c.stream, reference))
            if known != reference:
                raise UserError(
                    f"{stream} and {c.stream} give the dimension {d.name} different references",
                    "give both the same reference, or one of them another name for the dimension",
                )


def _named(wrong: list[str]) -> str:
    return f", which {', '.join(wrong)} is not" if wrong else ""


def _reject_twice(what: str, names: list[str]) -> None:
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise ValueError(f"{what} {', '.join(twice)} stands twice")
