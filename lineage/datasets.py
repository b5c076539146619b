"""Which column of which dataset comes from which: the whole way of a stream, from its contract alone."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from streamgauge.contract.model import Contract, Source
from streamgauge.dagster import keys as asset_keys
from streamgauge.stores.ddl import Column as TableColumn
from streamgauge.stores.ddl import Table
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
        made = tuple(Field(c, "string") for c in (spec.key, *spec.columns))
        found.insert(0, Dataset(("reference", spec.name), "postgres", spec.table, made))
    return tuple(found)


def by_key(contracts: Iterable[Contract]) -> dict[Key, Dataset]:
    return {d.key: d for contract in contracts for d in datasets(contract)}


def _batch_rollups(contract: Contract, facts: Key, hourly: Key) -> list[Dataset]:
    stream = contract.stream
    tables = {t.name: t for t in batch.stream_tables(contract)}
    hours, days = (tables[f"{stream}_{batch.ROLLUPS[w]}"] for w in ("1h", "1d"))
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
    for d in rollup.distinct:
        origins[f"{d.name}_hll"] = _sources(contract, source, d)
    for m in rollup.measures:
        parts = ("n", "sum", "min", "max", *(("kll",) if m.quantiles else ()))
        origins |= {f"{m.name}_{part}": _sources(contract, source, m) for part in parts}
    return origins


def _sources(contract: Contract, events: Key, source: Source) -> tuple[Origin, ...]:
    """A map's entry comes from the map's column; a reference's column from the reference, found by its key."""
    head, _, tail = source.source.partition(".")
    if head != "reference" or contract.reference is None:
        return (Origin(events, head),)
    if events[0] == "facts":
        return (Origin(events, tail),)
    return (Origin(("reference", contract.reference.name), tail), Origin(events, contract.reference.key))


def _reference(contract: Contract) -> dict[str, tuple[Origin, ...]]:
    spec = contract.reference
    if spec is None:
        return {}
    lake = asset_keys.lake(contract)
    return {c: (Origin(("reference", spec.name), c), Origin(lake, spec.key)) for c in spec.columns}


def _same(source: Key, fields: Iterable[Field]) -> dict[str, tuple[Origin, ...]]:
    return {f.name: (Origin(source, f.name),) for f in fields}


def _columns(table: Table) -> tuple[Field, ...]:
    return tuple(Field(c.name, c.type) for c in table.columns if _shown(c))


def _shown(column: TableColumn) -> bool:
    return column.name != "upto"
