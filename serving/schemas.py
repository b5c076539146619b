"""The shapes of the answers, for the OpenAPI document. Answers are written by orjson, and a test holds them to this."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class WrongParameter(_Shape):
    parameter: str
    detail: str


class ProblemDetails(_Shape):
    """RFC 9457."""

    type: str = Field(description="A page of this API that explains the kind of error.")
    title: str
    status: int
    detail: str = Field(description="What is wrong.")
    hint: str = Field(description="What to change.")
    instance: str
    request_id: str
    trace_id: str
    errors: list[WrongParameter] = []


class ProblemKind(_Shape):
    type: str
    title: str
    status: int
    hint: str


class ProblemKinds(_Shape):
    problems: list[ProblemKind]


class Completeness(_Shape):
    ratio: float | None = Field(
        description="Of the acknowledged records, the part accounted for; null if Kafka is away."
    )
    lag: int | None
    lost: int
    complete_until: datetime | None = Field(description="Windows ended by then are complete: later comers are late.")
    final_until: datetime | None = Field(description="Every hour before it that has events is final.")


class Accounts(_Shape):
    acknowledged: int | None
    counted: int
    late: int
    duplicates: int
    dead_letters: int
    lost: int
    lag: int | None
    adds_up: bool | None


class MeasureShape(_Shape):
    """A measure, a count of events, or a ratio of two of them; the latter two have one figure, of their own name."""

    name: str
    quantiles: bool
    figures: list[str] = Field(description="What `measures` may name of it when rollups are asked for.")
    sums: list[str] = Field(description="Those figures that are sums: windows and groups of them may be added up.")


class Targets(_Shape):
    freshness_seconds: float
    hourly_freshness_seconds: float
    daily_freshness_seconds: float
    completeness: float
    allowed_lateness_seconds: float


class AssetLink(_Shape):
    asset: str
    description: str
    url: str | None


class FieldShape(_Shape):
    name: str
    type: str
    required: bool
    classification: str
    description: str


class FillingShape(_Shape):
    generation: int
    asked_at: datetime
    hours: int = Field(description="That it is made of; 0 before it is begun.")
    done: int


class Stream(_Shape):
    stream: str
    description: str
    owner: str
    version: str
    topic: str
    promises: list[str] = Field(description="What holds of a stream that is read from a topic of others; else empty.")
    dimensions: list[str]
    distinct: list[str]
    measures: list[MeasureShape]
    tops: list[str]
    targets: Targets
    as_of: datetime
    watermark: datetime | None
    freshness_seconds: float | None
    completeness: Completeness
    final_until: datetime | None
    accounts: Accounts
    pauses: list[str]
    generation: int = Field(description="Of its rollups: another one where its dimensions changed, or its measures.")
    filling: FillingShape | None = Field(
        description="What a changed contract asks for. Until it is filled, numbers are of the present generation."
    )
    links: dict[str, str]
    assets: list[AssetLink]
    newest_minute: datetime | None = Field(description="The newest minute of event time that has events.")
    recent_events: int = Field(description="Events of the last ten minutes of event time.")
    fields: list[FieldShape] = Field(default=[], description="Of one stream only.")


class CatalogueField(FieldShape):
    allowed: list[str] = Field(description="What holds of its values: a record with another becomes a dead letter.")
    read_from: str = Field(description="Where a record of a JSON topic has it; else empty.")
    used_as: list[str] = Field(description="What is made of it.")


class CatalogueNumber(_Shape):
    name: str
    kind: Literal["dimension", "count", "measure", "ratio", "distinct", "top"]
    definition: str
    personal: bool = Field(description="Made of personal values: shown as pseudonyms, or counted by them.")


class CatalogueDerived(_Shape):
    name: str
    type: str
    expression: str


class CatalogueAlert(_Shape):
    name: str
    of: str = Field(description="Which number, over how long, of which members.")
    bounds: str
    description: str


class CatalogueReader(_Shape):
    caller: str = Field(description="The name of an API key, or of who asked without one.")
    key_id: str | None
    requests: int
    last_at: datetime


class Kept(_Shape):
    """Days; null for ever, and of `events` also where others keep the topic."""

    events: float | None
    lake: float | None
    facts: float | None
    minutes: float | None


class Catalogue(_Shape):
    stream: str
    description: str
    owner: str
    version: str
    topic: str
    event_id: str
    event_time: str
    reference: str | None = Field(description="The table in Postgres that adds to each event.")
    fields: list[CatalogueField]
    derived: list[CatalogueDerived]
    numbers: list[CatalogueNumber]
    alerts: list[CatalogueAlert] = Field(description="Those on numbers, which the contract asks for.")
    kept_days: Kept
    views: list[str] = Field(description="In Postgres, for the login `reader`.")
    counts_topic: str | None = Field(description="The topic in Kafka to which every minute's counts are published.")
    readers: list[CatalogueReader] | None = Field(
        description="Who asked the API for this stream in the last 30 days, most requests first; null for a caller"
        " without the scope `operations`. Those who read Kafka or Postgres themselves are not in it."
    )


class Streams(_Shape):
    as_of: datetime
    streams: list[Stream]


_UNCHECKED = (
    "Final numbers are in it whose latest comparison with the stream worker's failed, or that changed since: don't rely"
    " on them before the hour is repaired, or accepted by a person."
)


class Row(BaseModel):
    """Besides these: the dimensions grouped by, and the measures."""

    model_config = ConfigDict(extra="allow")

    window_start: datetime
    window_end: datetime
    status: Literal["provisional", "final"]
    revision: int | None
    final_share: float = Field(
        ge=0, le=1, description="Between 0 and 1: the window mixes both layers, and is provisional."
    )
    unchecked: bool = Field(description=_UNCHECKED)
    complete: bool


class Source(_Shape):
    provisional: str | None
    final: str | None


class SketchError(_Shape):
    of: Literal["rank", "value"] = Field(
        description="rank: of a quantile's, p95 may be anything between p94 and p96. value: of a distinct count's."
    )
    error: float = Field(
        ge=0, description="The largest of all rows; of a value, relative to it. 0: the answer is exact."
    )
    confidence: float = Field(description="How sure it is that the answer lies within it.")


class Rollups(_Shape):
    stream: str
    window: str
    hop: str
    from_: datetime = Field(alias="from")
    to: datetime
    group_by: list[str]
    status: Literal["provisional", "final", "mixed"]
    unchecked: bool = Field(description=_UNCHECKED)
    as_of: datetime
    watermark: datetime | None
    completeness: Completeness
    errors: dict[str, SketchError] = Field(description="Of the measures that are estimates, by name.")
    source: Source
    next: str | None
    rows: list[Row]


class RollupsSql(_Shape):
    stream: str
    sql: str = Field(description="One statement, for the login `reader`.")
    left_out: list[str] = Field(description="Measures that need sketches, which SQL can't merge.")


class Item(_Shape):
    key: str
    count: int
    lower: int
    upper: int


class TopShape(_Shape):
    top: str
    window: str
    start: datetime
    end: datetime
    watermark: datetime | None
    status: Literal["provisional", "final", "mixed"]
    unchecked: bool = Field(description=_UNCHECKED)
    source: Literal["redis", "postgres"]
    items: list[Item]
    error: int = Field(description="A count is too high by so much at most, and never too low.")
    exact: bool
    masked: bool = Field(
        description="Keys are pseudonyms: the scope `personal` is needed to see what is known of them."
    )


class Tops(_Shape):
    stream: str
    as_of: datetime
    tops: list[TopShape]


class AnomalyShape(_Shape):
    """`observed`, `expected`, `low` and `high` are means of the `minutes` up to and including `minute`, its worst."""

    id: str
    figure: str = Field(description="Such as count, or a measure's mean.")
    dimensions: dict[str, str] = Field(description="Empty for the whole stream.")
    kind: Literal["peak", "gap"]
    direction: Literal["up", "down"]
    began: datetime = Field(description="The first minute beyond its band.")
    ended: datetime | None = Field(description="Null while it goes on.")
    shifted: bool = Field(description="What it did then was taken for its new level.")
    minute: datetime
    minutes: int
    observed: float
    expected: float
    low: float
    high: float
    score: float = Field(description="How many times as far out as the band's edge; at least 1.")
    state: Literal["open", "ended", "acknowledged", "expected"]
    verdict_at: datetime | None
    verdict_by: str | None = Field(description="Who acknowledged it, or said that it is normal.")
    verdict_because: str | None


class BandShape(_Shape):
    minute: datetime
    expected: float
    low: float
    high: float


class Anomalies(_Shape):
    stream: str
    from_: datetime = Field(alias="from")
    to: datetime
    looked: bool = Field(description="Whether the contract has this stream looked at.")
    until: datetime | None = Field(description="Minutes before it were judged.")
    left_out: int = Field(description="Series that are not looked at, because there are too many.")
    anomalies: list[AnomalyShape]
    band: list[BandShape] = Field(description="What was expected of the stream's count, by minute, where it is known.")


class NumberAsked(_Shape):
    stream: str
    window: str
    start: datetime
    figure: str
    dimensions: dict[str, str] = Field(description="The members that it is of; over all others it is merged.")
    value: float | None
    status: Literal["final"]


class EvidenceShape(_Shape):
    body: str = Field(
        description="JSON, as it was signed: offsets, comparison, versions, the lake's files with SHA-256."
    )
    signature: str = Field(description="Ed25519 (RFC 8032), in base64.")
    entry: int = Field(description="Its number in the audit log, which has the body's SHA-256.")


class Proof(_Shape):
    """What `streamgauge verify` makes the number again from, with the lake and nothing else."""

    format: str
    number: NumberAsked
    evidence: list[EvidenceShape] = Field(description="Of each hour that the window touches.")
    contract: dict[str, Any]


class RecordVerdict(_Shape):
    index: int = Field(description="The event's place in the request, from 0.")
    verdict: Literal["accepted", "refused"]
    field: str | None = Field(default=None, description="Of a refused one: what is wrong with it.")
    reason: str | None = Field(default=None, description="Of a refused one. Holds no value of it.")


class Accepted(_Shape):
    stream: str
    accepted: int = Field(description="Events that Kafka has acknowledged. They may be duplicates of others.")
    refused: int
    correlation_id: str
    records: list[RecordVerdict]


class ApiKey(_Shape):
    id: str
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class NewApiKey(ApiKey):
    key: str = Field(description="Shown this once.")


class ApiKeys(_Shape):
    keys: list[ApiKey]


class SavedView(_Shape):
    id: str
    name: str
    stream: str
    question: str = Field(
        description="As the page's address has it after `?`; the page says what of it can't be asked."
    )
    shared: bool = Field(description="Seen by all who may read the stream; else by its owner alone.")
    owner: str = Field(description="The name of the API key that saved it.")
    own: bool = Field(description="Saved with the key that asks.")
    created_at: datetime
    changed_at: datetime


class SavedViews(_Shape):
    views: list[SavedView]


class Part(_Shape):
    name: str
    up: bool
    detail: str
    since: datetime
    needed: bool


class Health(_Shape):
    status: Literal["up", "degraded", "down"]
    as_of: datetime
    parts: list[Part]


class Alive(_Shape):
    status: Literal["up"]


class Listed(BaseModel):
    """Rows as their table has them."""

    rows: list[dict[str, Any]]


class Anything(BaseModel):
    model_config = ConfigDict(extra="allow")


class _Stored(BaseModel):
    """A row as its table has it: besides these columns it may have others."""

    model_config = ConfigDict(extra="allow")


_PAGE = "The page of the store of traces or of logs, for those with the scope operations."


class CommitRead(_Shape):
    at: datetime
    offsets: str = Field(description="The records that it counted, as PARTITION:FIRST-LAST.")
    trace_url: str | None = Field(description=_PAGE)
    logs_url: str | None = Field(description=_PAGE)


class PartitionRead(_Shape):
    partition: int
    upto: int | None = Field(description="The offset before which all records are in the number.")
    count: int | None
    commit: CommitRead | None = Field(
        description="The latest one that the number has records of, for those with the scope operations."
    )


class ProvenanceSource(_Shape):
    layer: Literal["speed", "batch"]
    relation: str
    asset: str
    partitions: list[PartitionRead]
    run_id: str | None
    written_at: datetime | None
    url: str | None
    run_url: str | None
    trace_url: str | None = Field(description=_PAGE)
    logs_url: str | None = Field(description=_PAGE)


class LakeHour(_Stored):
    hour: datetime
    partition: int
    from_offset: int
    to_offset: int
    version: int | None


class Comparison(_Stored):
    at: datetime
    passed: bool
    buckets: int
    explained: int
    unexplained: int
    waits_for: str | None


class Difference(_Stored):
    minute: datetime
    dimensions: dict[str, str]
    measure: str
    speed: float | None
    batch: float | None
    explained: bool
    explanation: str


class Revision(_Stored):
    hour: datetime
    revision: int
    at: datetime
    reason: str
    checked: bool


class Provenance(_Shape):
    stream: str
    window: str
    start: datetime
    end: datetime
    as_of: datetime
    reason: str = Field(description="Why the number is provisional or final, in a sentence.")
    count: int
    late: int
    duplicates: int
    status: Literal["provisional", "final"]
    revision: int | None
    final_share: float
    unchecked: bool = Field(description=_UNCHECKED)
    complete: bool
    sources: list[ProvenanceSource]
    lake: list[LakeHour]
    revisions: list[Revision]
    reconciliation: Comparison | None
    differences: list[Difference]
    upstream: list[AssetLink]


class Days(_Shape):
    stream: str
    days: list[str]


class TraceStep(_Shape):
    layer: str
    asset: str
    description: str
    url: str | None
    partition: str | None
    run_id: str | None
    at: datetime | None = Field(description="When it was done, where somebody knows.")
    trace_url: str | None = Field(description=_PAGE)
    logs_url: str | None = Field(description=_PAGE)


class Trace(_Shape):
    stream: str
    topic: str
    partition: int
    offset: int
    ingest_time: datetime
    event_time: datetime | None
    verdict: Literal["fact", "duplicate", "quarantined", "dead letter", "open"] = Field(
        description="Open: the batch layer has not built its hour."
    )
    steps: list[TraceStep]


class Traces(_Shape):
    event_id: str
    from_: datetime = Field(
        alias="from", description="How far back the search went: as asked, or as the time was enough for."
    )
    to: datetime
    traces: list[Trace]


class Alert(_Shape):
    name: str | None
    stream: str | None
    severity: str | None
    summary: str | None
    description: str | None
    since: datetime
    asset: str | None
    asset_url: str | None
    runbook_url: str | None
    state: Literal["active", "accepted"]
    owner: str
    sources: list[Literal["postgres", "alertmanager"]]
    accepted_by: str | None = Field(description="Who took a failure for settled that nothing made good.")
    accepted_because: str | None


class Alerts(_Shape):
    available: bool = Field(description="Whether Alertmanager answers; else these are the sensors' alerts alone.")
    whole: bool = Field(description="Whether everyone who could know of an alert answered, and the sensor looks.")
    notes: list[str] = Field(description="What is missing in the list, and why.")
    alerts: list[Alert]


class Lag(_Shape):
    stream: str
    partition: int
    next_offset: int
    end_offset: int | None
    lag: int | None
    owner: str | None
    paused_reason: str | None
    watermark: datetime | None
    updated_at: datetime


class Throughput(_Shape):
    stream: str
    events_per_second: float | None


class BurntHour(_Shape):
    hour: datetime
    bad: float = Field(description="How many missed the promise in it; of correctness, seconds.")
    share: float = Field(description="Of all that missed it in the window.")


class ErrorBudget(_Shape):
    name: str
    stream: str | None
    objective: float | None
    window: str
    remaining: float | None
    burn_rate: float | None
    burnt: list[BurntHour] = Field(description="The hours that used most of it, the worst first.")


class Operations(_Shape):
    as_of: datetime
    parts: list[Part]
    lag: list[Lag] | None
    throughput: list[Throughput]
    error_budgets: list[ErrorBudget] | None
    problems: list[str]
