"""A stream's contract, and everything that follows from it."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field, Strict

from streamgauge.anomaly.tuning import Direction, Sensitivity
from streamgauge.contract.measures import Block, Count, Measure, Named, Ratio, Source, StoredColumn, stored_columns
from streamgauge.errors import UserError

FieldType = Literal["string", "int", "long", "double", "boolean", "timestamp-millis", "map<string,string>"]
FIELD_TYPES: tuple[str, ...] = FieldType.__args__  # pyright: ignore[reportAttributeAccessIssue]

ValueType = Literal["string", "long", "double", "boolean", "timestamp-millis"]
"""Of what expressions compute."""

PERSONAL = "personal"
CLASSIFICATIONS = ("public", "internal", PERSONAL)

MAX_UNRULED_TEXT = 200
"""Characters of a value that no rule bounds, from a map or a reference: Postgres takes no long text in a key."""

KEY_PREFIX = "streamgauge:"
"""Of every key in Redis, so that a login can be confined to them."""

NO_VALUE = "none"
"""A dimension's value where the event has none: a key column can't be null."""


Whole = Annotated[int, Strict()]
Number = Annotated[float, Strict()]
"""Neither text nor true and false, which YAML and pydantic would let pass."""

MAX_SECONDS = 366 * 86_400


class TopicSpec(Block):
    partitions: Whole = Field(ge=1, le=1024)
    partitionKey: str
    compatibility: Literal["BACKWARD", "BACKWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE"] = "BACKWARD_TRANSITIVE"
    countsTopic: str | None = None


TimeFormat = Literal["rfc3339", "epoch-s", "epoch-ms", "epoch-us"]
TIME_FORMATS: tuple[str, ...] = TimeFormat.__args__  # pyright: ignore[reportAttributeAccessIssue]
"""How a JSON record may write a time."""

BY_POSITION = "position"


class SourceSpec(Block):
    """A topic that somebody else makes and writes: it is read, and nothing of it is changed.

    `id` says what event ids are made of where records have none: their position in the topic, or fields. `key` is the
    field that the records' key in Kafka is of, if any.
    """

    topic: str
    format: Literal["avro", "json"]
    id: Literal["position"] | tuple[str, ...] | None = None
    key: str | None = None


class TimeSpec(Block):
    allowedLatenessSeconds: Whole = Field(ge=0, le=MAX_SECONDS)
    futureToleranceSeconds: Whole = Field(ge=0, le=MAX_SECONDS)
    duplicateHorizonSeconds: Whole = Field(ge=60, le=MAX_SECONDS)
    idleAfterSeconds: Whole = Field(ge=1, le=MAX_SECONDS)


class DeadLetterSpec(Block):
    limit: Whole = Field(ge=1, le=1_000_000_000)
    perSeconds: Whole = Field(ge=1, le=MAX_SECONDS)


class ReferenceSpec(Block):
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


class Top(Source):
    exactKeys: Whole = Field(ge=10, le=1_000_000)


class RollupSpec(Block):
    dimensions: tuple[Source, ...]
    distinct: tuple[Source, ...] = ()
    counts: tuple[Count, ...] = ()
    measures: tuple[Measure, ...] = ()
    top: tuple[Top, ...] = ()
    ratios: tuple[Ratio, ...] = ()

    @property
    def sources(self) -> tuple[Source, ...]:
        return (*self.dimensions, *self.distinct, *self.measures, *self.top)

    @property
    def reads(self) -> tuple[str, ...]:
        """All sources and conditions."""
        return tuple(read for part in (*self.sources, *self.counts) for read in part.reads)

    @property
    def numbered(self) -> tuple[Count | Measure, ...]:
        """Of which an event has a number."""
        return (*self.counts, *self.measures)

    @property
    def measured(self) -> tuple[Named, ...]:
        """All that has columns of its own in the rollup tables."""
        return (*self.distinct, *self.numbered)

    @property
    def columns(self) -> list[StoredColumn]:
        """Of every rollup table, whatever its window and layer, beside its key and its counters."""
        return stored_columns(self.measured)


Severity = Literal["error", "warning"]


class CheckSpec(Block):
    """What a failed check means: an error or a warning, and whether the assets downstream wait."""

    severity: Severity = "error"
    blocking: bool = False


class CompletenessSpec(CheckSpec):
    minimum: Number = Field(default=1.0, ge=0, le=1)
    """Of the lake's records, how many must be in facts, duplicates or quarantine."""


class QuarantineSpec(CheckSpec):
    severity: Severity = "warning"
    maximumShare: Number = Field(default=0.01, ge=0, le=1)


class VolumeSpec(CheckSpec):
    """An hour against the same hour of the days before: so many robust deviations from their median."""

    severity: Severity = "warning"
    days: Whole = Field(default=14, ge=1, le=366)
    minimumDays: Whole = Field(default=5, ge=3)
    deviations: Number = Field(default=5.0, gt=0)


class SkewSpec(CheckSpec):
    """Ingest time minus event time; without a limit it is measured and not judged."""

    severity: Severity = "warning"
    p99Seconds: Number | None = Field(default=None, gt=0)


class ChecksSpec(Block):
    contract: CheckSpec = CheckSpec(blocking=True)
    quarantine: QuarantineSpec = QuarantineSpec()
    completeness: CompletenessSpec = CompletenessSpec()
    volume: VolumeSpec = VolumeSpec()
    skew: SkewSpec = SkewSpec()
    references: CheckSpec = CheckSpec()
    offsets: CheckSpec = CheckSpec()
    schemaDrift: CheckSpec = CheckSpec()
    books: CheckSpec = CheckSpec()


class AnomaliesSpec(Block):
    """How the stream's series are looked at: `sensitivity` is a rate of false alarms (streamgauge.anomaly.tuning)."""

    sensitivity: Sensitivity = "normal"
    direction: Direction = "both"
    off: Annotated[bool, Strict()] = False


class NumberAlert(Named):
    """Bounds of a number over the latest complete minutes. With `comparedWith`, of the number divided by what it was
    that much earlier. Only of the members of `dimensions`.
    """

    number: str
    windowMinutes: Whole = Field(ge=1, le=1440)
    above: Number | None = None
    below: Number | None = None
    criticalAbove: Number | None = None
    criticalBelow: Number | None = None
    comparedWith: Literal["day", "week"] | None = None
    dimensions: dict[str, str] = Field(default_factory=dict)
    minimumCount: Whole = Field(default=0, ge=0)
    """Events in the window; with fewer the number is not evaluated."""
    forMinutes: Whole = Field(default=0, ge=0, le=120)
    """How long it must be out of bounds."""
    description: str = Field(default="", max_length=500)


CALENDAR = ("date", "hour")
"""The dimensions that every star has."""


@dataclass(frozen=True)
class FieldSpec:
    """One field of a stream. `minimum` and `maximum` are in the field's own unit (epoch ms for a timestamp).

    `path` is where a record of a JSON source has it (`streamgauge.contract.paths`), and `time_format` how it writes it.
    """

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
    path: str = ""
    time_format: TimeFormat = "rfc3339"

    @property
    def is_map(self) -> bool:
        return self.type == "map<string,string>"

    @property
    def is_number(self) -> bool:
        return self.type in ("int", "long", "double")


MINUTES, TOP_MINUTES = "minutes", "top_minutes"
"""The tables that the worker writes, behind the stream's name and its generation."""


def rollups_of(stream: str, generation: int) -> str:
    return stream if generation == 1 else f"{stream}_g{generation}"


def app_topic(stream: str) -> str:
    """The topic of a contract that names none."""
    return f"app-{stream.replace('_', '-')}"


@dataclass(frozen=True)
class Together:
    """A rule over several fields: a record has all of them or none."""

    name: str
    fields: tuple[str, ...]


@dataclass(frozen=True)
class Expression:
    """What the text of an expression computes of each event; all but the text follows from it."""

    name: str
    """Of the derived field; what a measure's `condition` is called."""
    text: str
    type: ValueType
    uses: tuple[str, ...]
    """Fields, `map_field.key`, `reference.column` and derived fields that it names."""
    sources: tuple[str, ...]
    """The same, with what those derived fields are computed of in their place."""
    max_length: int | None
    """Characters of a text; None where nothing bounds them."""


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
    derived: tuple[Expression, ...]
    """Each after those that it is computed of."""
    conditions: tuple[Expression, ...]
    """Of the counts and measures that say `where`."""
    event_id: str
    event_time: str
    source: SourceSpec | None
    """None where the platform makes the topic itself."""
    own_topic: TopicSpec | None
    time: TimeSpec
    dead_letters: DeadLetterSpec
    rollup: RollupSpec
    star: tuple[Source, ...]
    """The dimensions of the facts, beside date and hour; streams that name the same one share it."""
    checks: ChecksSpec
    anomalies: AnomaliesSpec
    alerts: tuple[NumberAlert, ...]
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
    generation: int = 1
    """Of the stream's rollups: each has tables of its own (streamgauge.contract.generations). No file says it."""

    def check_written_here(self) -> None:
        """Raises UserError where the topic is somebody else's."""
        if self.source is not None:
            raise UserError(
                f"{self.stream} is read from {self.topic}, which others write: nothing is sent to it from here",
                "send to the topic as its owner does",
            )

    @property
    def topic_spec(self) -> TopicSpec:
        """Raises UserError where the topic is somebody else's."""
        self.check_written_here()
        assert self.own_topic is not None
        return self.own_topic

    @property
    def counts_topic(self) -> str | None:
        """Of a later generation another one: its records have other fields, and the old ones would be counted too."""
        name = self.own_topic and self.own_topic.countsTopic
        return name and (name if self.generation == 1 else f"{name}-g{self.generation}")

    @property
    def assigns_ids(self) -> bool:
        """Whether event ids are made, and not read from the records."""
        return self.source is not None and self.source.id is not None

    @property
    def read_fields(self) -> tuple[FieldSpec, ...]:
        """The fields that records have."""
        return tuple(f for f in self.fields if not (self.assigns_ids and f.name == self.event_id))

    @cached_property
    def field(self) -> dict[str, FieldSpec]:
        return {f.name: f for f in self.fields}

    @cached_property
    def personal(self) -> frozenset[str]:
        return frozenset(f.name for f in self.fields if f.classification == PERSONAL)

    @cached_property
    def derived_field(self) -> dict[str, Expression]:
        return {d.name: d for d in (*self.derived, *self.conditions)}

    @property
    def expressions(self) -> dict[str, str]:
        """The text of each, by derived field or condition."""
        return {name: built.text for name, built in self.derived_field.items()}

    def read_of(self, part: Named) -> tuple[str, ...]:
        """What of an event and its reference a part of the rollup is made of, in the end: no derived fields."""
        return self._read(part.reads)

    def _read(self, reads: Iterable[str]) -> tuple[str, ...]:
        known = self.derived_field
        return tuple(dict.fromkeys(s for read in reads for s in (known[read].sources if read in known else (read,))))

    @cached_property
    def rollup_reads(self) -> tuple[str, ...]:
        """All that the rollup is made of, as `read_of` names it."""
        return self._read(self.rollup.reads)

    def is_personal(self, part: Named) -> bool:
        return any(map(self.reads_personal, part.reads))

    def reads_personal(self, read: str) -> bool:
        """A reference column says what its key's holder belongs to, which is no person's own."""
        return any(source.partition(".")[0] in self.personal for source in self._read((read,)))

    @property
    def dead_letter_topic(self) -> str:
        # a name of the platform's own, as what begins with somebody else's topic may be theirs too
        return f"{self.topic if self.source is None else app_topic(self.stream)}-dead-letters"

    @property
    def subject(self) -> str:
        return f"{self.topic}-value"

    @property
    def counts_subject(self) -> str | None:
        return self.counts_topic and f"{self.counts_topic}-value"

    @property
    def group(self) -> str:
        return f"streamgauge-worker-{self.stream}"

    @property
    def rollups(self) -> str:
        """How the names of all tables begin that hold rollups of the stream, in Postgres and in the lake."""
        return rollups_of(self.stream, self.generation)

    @property
    def minutes_table(self) -> str:
        return f"{self.rollups}_{MINUTES}"

    @property
    def top_table(self) -> str:
        return f"{self.rollups}_{TOP_MINUTES}"

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
        kind = "top" if self.generation == 1 else f"top:g{self.generation}"
        return f"{KEY_PREFIX}{self.stream}:{kind}:{top}:{window}"

    @property
    def redis_minutes_key(self) -> str:
        return f"{KEY_PREFIX}{self.stream}:minutes"
