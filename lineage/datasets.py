"""Which column of which dataset comes from which: the whole way of a stream, from its contract alone."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from streamgauge.contract.measures import Named, stored_columns
from streamgauge.contract.model import CALENDAR, Contract, Source
from streamgauge.dagster import keys as asset_keys
from streamgauge.stores.ddl import Column as TableColumn
from streamgauge.stores.ddl import Table
from streamgauge.stores.fact_tables import DATE_KEY, HOUR_KEY, RULE, key_column
from streamgauge.stores.tables import batch, speed

Key = tuple[str, ...]
"""A dataset's name, which is its Dagster asset key too."""


@dataclass(frozen=True)
class Field:
    name: str
    type: str
    description: str = ""


@dataclass(frozen=True)
class Origin:
    """A column that another one is made from."""

    dataset: Key
    column: str


@dataclass(frozen=True)
class Dataset:
    """`store` says where it is kept, `place` its name there."""

    key: Key
    store: str
    place: str
    fields: tuple[Field, ...]
    origins: Mapping[str, tuple[Origin, ...]] = field(default_factory=dict[str, tuple[Origin, ...]])
    """By column; a column that isn't here is made by Streamgauge itself."""

    @property
    def inputs(self) -> tuple[Key, ...]:
        return tuple(dict.fromkeys(o.dataset for origins in self.origins.values() for o in origins))


_CALENDAR = {
    "date": (Field(DATE_KEY, "int"), Field("date", "date")),
    "hour": (Field(HOUR_KEY, "int"), Field("hour", "string")),
}
_POSITION = (
    Field("partition", "int", "The record's partition in Kafka."),
    Field("offset", "long", "The record's offset in its partition."),
    Field("ingest_time", "timestamp-millis", "When the broker appended the record."),
)


def datasets(contract: Contract) -> tuple[Dataset, ...]:
    """A stream's datasets, each after those it is made from."""
    stream = contract.stream
    topic, minutes = asset_keys.kafka(contract), asset_keys.minutes(contract)
    lake, facts = asset_keys.lake(contract), asset_keys.facts(contract)
    hourly = asset_keys.rollups_hourly(contract)
    fields = tuple(Field(f.name, f.type, f.description) for f in contract.fields)
    rows = (*fields, *_POSITION)
    reference = _reference(contract)
    enriched = tuple(Field(name, "string") for name in reference)
    to_facts = {**_same(lake, rows), **reference}
    found = [
        Dataset(topic, "kafka", contract.topic, rows),
        Dataset(
            minutes,
            "postgres",
            contract.minutes_table,
            _columns(speed.minutes_table(contract)),
            _rollup(contract, topic, {"minute": contract.event_time, "partition": "partition"}),
        ),
        Dataset(
            asset_keys.redis_top(contract),
            "redis",
            contract.redis_top_key("*", "*"),
            (Field("key", "string"), Field("count", "long")),
            {"key": tuple(o for t in contract.rollup.top for o in _sources(contract, topic, t))},
        ),
        Dataset(lake, "lake", f"lake/{stream}", rows, _same(topic, rows)),
        Dataset(facts, "lake", f"facts/{stream}", (*rows, *enriched), to_facts),
        Dataset(asset_keys.duplicates(contract), "lake", f"duplicates/{stream}", (*rows, *enriched), to_facts),
        Dataset(
            asset_keys.quarantine(contract),
            "lake",
            f"quarantine/{stream}",
            (Field(RULE, "string", "The rule that the record breaks."), *rows),
            _same(lake, rows),
        ),
        *(_dimension(contract, facts, d) for d in contract.star),
        *(Dataset(asset_keys.dimension(name), "lake", f"dims/{name}", _CALENDAR[name]) for name in CALENDAR),
        *_batch_rollups(contract, facts, hourly),
        Dataset(
            asset_keys.reconciliation(contract),
            "postgres",
            "reconciliations",
            (Field("count", "bigint"),),
            {"count": (Origin(minutes, "count"), Origin(hourly, "count"))},
        ),
    ]
    if contract.reference is not None:
        spec = contract.reference
        built = tuple(Field(c, "string") for c in (spec.key, *spec.columns))
        found.insert(0, Dataset(_reference_key(contract), "postgres", spec.table, built))
    return tuple(found)


def by_key(contracts: Iterable[Contract]) -> dict[Key, Dataset]:
    """A dimension that several streams share comes from the facts of each."""
    found: dict[Key, Dataset] = {}
    for contract in contracts:
        for dataset in datasets(contract):
            other = found.get(dataset.key)
            found[dataset.key] = dataset if other is None else _merged(other, dataset)
    return found


def _merged(one: Dataset, other: Dataset) -> Dataset:
    origins = {
        column: tuple(dict.fromkeys((*one.origins.get(column, ()), *other.origins.get(column, ()))))
        for column in (*one.origins, *other.origins)
    }
    return replace(one, origins=origins)


def _dimension(contract: Contract, facts: Key, source: Source) -> Dataset:
    members = _sources(contract, facts, source)
    attributes = contract.attributes(source)
    key = key_column(source.name)
    return Dataset(
        asset_keys.dimension(source.name),
        "lake",
        f"dims/{source.name}",
        (Field(key, "long"), Field(source.name, "string"), *(Field(a, "string") for a in attributes)),
        {
            key: members,
            source.name: members,
            **{a: (Origin(_reference_key(contract), a),) for a in attributes},
        },
    )


def _batch_rollups(contract: Contract, facts: Key, hourly: Key) -> list[Dataset]:
    tables = {t.name: t for t in batch.stream_tables(contract)}
    hours, days = (tables[batch.rollups_table(contract, w)] for w in ("1h", "1d"))
    return [
        Dataset(
            hourly,
            "postgres",
            hours.name,
            _columns(hours),
            _rollup(contract, facts, {"window_start": contract.event_time}),
        ),
        Dataset(
            asset_keys.rollups_daily(contract),
            "postgres",
            days.name,
            _columns(days),
            {f.name: (Origin(hourly, f.name),) for f in _columns(days)},
        ),
    ]


def _rollup(contract: Contract, source: Key, keys: Mapping[str, str]) -> dict[str, tuple[Origin, ...]]:
    rollup = contract.rollup
    origins: dict[str, tuple[Origin, ...]] = {name: (Origin(source, column),) for name, column in keys.items()}
    origins["count"] = (Origin(source, contract.event_id),)
    origins["duplicates"] = (Origin(source, contract.event_id),)
    if source[0] == "kafka":
        origins["late"] = (Origin(source, contract.event_time),)
    for d in rollup.dimensions:
        origins[d.name] = _sources(contract, source, d)
    for m in rollup.measured:
        origins |= {c.name: _sources(contract, source, m) for c in stored_columns([m])}
    return origins


def _sources(contract: Contract, events: Key, part: Named) -> tuple[Origin, ...]:
    """A derived field comes from all that it is computed of."""
    read = contract.read_of(part)
    return tuple(dict.fromkeys(origin for r in read for origin in _origins(contract, events, r)))


def _origins(contract: Contract, events: Key, read: str) -> tuple[Origin, ...]:
    """A map's entry comes from the map's column; a reference's column from the reference, found by its key."""
    head, _, tail = read.partition(".")
    if head != "reference" or contract.reference is None:
        return (Origin(events, head),)
    if events[0] == "facts":
        return (Origin(events, tail),)
    return (Origin(_reference_key(contract), tail), Origin(events, contract.reference.key))


def _reference(contract: Contract) -> dict[str, tuple[Origin, ...]]:
    spec = contract.reference
    if spec is None:
        return {}
    lake = asset_keys.lake(contract)
    return {c: (Origin(_reference_key(contract), c), Origin(lake, spec.key)) for c in spec.columns}


def _reference_key(contract: Contract) -> Key:
    assert contract.reference is not None
    return ("reference", contract.reference.name)


def _same(source: Key, fields: Iterable[Field]) -> dict[str, tuple[Origin, ...]]:
    return {f.name: (Origin(source, f.name),) for f in fields}


def _columns(table: Table) -> tuple[Field, ...]:
    return tuple(Field(c.name, c.type) for c in table.columns if _shown(c))


def _shown(column: TableColumn) -> bool:
    return column.name != "upto"
