"""The difference between what the contracts ask for and what is there. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from streamgauge.apply.actual import Actual, ActualDatabase, ActualTable, ActualTopic
from streamgauge.apply.changes import (
    AddColumn,
    AllowKafka,
    AllowRelation,
    AllowSchema,
    Change,
    CreateIndex,
    CreateSchema,
    CreateTable,
    CreateTopic,
    GrowTopic,
    KafkaChange,
    MakeFunction,
    MakeView,
    PostgresChange,
    RegisterSchema,
    RegistryChange,
    RenameAsset,
    SetCompatibility,
    SetTopicConfig,
    TakeUpContract,
)
from streamgauge.apply.desired import Desired, Topic
from streamgauge.errors import UserError
from streamgauge.stores.ddl import LOGINS, Database, Table
from streamgauge.stores.postgres import SCHEMA


@dataclass(frozen=True)
class Refusal:
    """A difference that isn't made, because data would be lost or misread."""

    target: str
    reason: str
    hint: str


@dataclass(frozen=True)
class Plan:
    registry: tuple[RegistryChange, ...] = ()
    kafka: tuple[KafkaChange, ...] = ()
    postgres: tuple[PostgresChange, ...] = ()
    refusals: tuple[Refusal, ...] = ()

    @property
    def changes(self) -> tuple[Change, ...]:
        return (*self.registry, *self.kafka, *self.postgres)

    def check(self) -> None:
        """One refusal refuses everything: a contract that holds in one store and not in another is worse."""
        if self.refusals:
            raise UserError(
                "nothing was changed: " + "; ".join(f"{r.target}: {r.reason}" for r in self.refusals),
                "; ".join(dict.fromkeys(r.hint for r in self.refusals)),
            )


def make_plan(desired: Desired, actual: Actual) -> Plan:
    registry: list[RegistryChange] = []
    kafka: list[KafkaChange] = []
    postgres: list[PostgresChange] = []
    refusals: list[Refusal] = []
    found = (
        *_subjects(desired, actual),
        *(step for topic in desired.topics for step in _topic(topic, actual.topics.get(topic.name))),
        *_acls(desired, actual),
        *_database(
            desired.database if actual.database.timescaledb else desired.database.without_chunks(), actual.database
        ),
        *(RenameAsset(r) for r in sorted(desired.renamed) if (r.stream, r.former) in actual.former_assets),
        *_contracts(desired, actual),
    )
    for step in found:
        match step:
            case Refusal():
                refusals.append(step)
            case SetCompatibility() | RegisterSchema():
                registry.append(step)
            case CreateTopic() | GrowTopic() | SetTopicConfig() | AllowKafka():
                kafka.append(step)
            case _:
                postgres.append(step)
    return Plan(tuple(registry), tuple(kafka), tuple(postgres), tuple(refusals))


def _contracts(desired: Desired, actual: Actual) -> Iterator[TakeUpContract]:
    for stream, fingerprint in desired.contracts.items():
        personal, before = desired.personal[stream], actual.personal.get(stream)
        if (actual.contracts.get(stream), before) != (fingerprint, personal):
            expressions = desired.expressions[stream]
            yield TakeUpContract(stream, fingerprint, personal, expressions, before, actual.expressions.get(stream))


def _subjects(desired: Desired, actual: Actual) -> Iterator[RegistryChange | Refusal]:
    for subject in desired.subjects:
        now = actual.subjects[subject.name]
        if now.incompatibilities:
            yield Refusal(
                f"subject {subject.name}",
                f"the registry refuses the schema: {'; '.join(now.incompatibilities)}",
                "give a new field a default and leave the type of an old one, or make it a new stream",
            )
            continue
        if now.level != subject.level:
            yield SetCompatibility(subject.name, now.level, subject.level)
        if not now.registered:
            yield RegisterSchema(subject)


def _topic(topic: Topic, now: ActualTopic | None) -> Iterator[KafkaChange | Refusal]:
    if now is None:
        yield CreateTopic(topic)
        return
    if topic.partitions < now.partitions:
        yield Refusal(
            f"topic {topic.name}",
            f"has {now.partitions} partitions and can't shrink to {topic.partitions}",
            f"leave topic.partitions at {now.partitions}",
        )
    elif topic.partitions > now.partitions and now.holds_data:
        yield Refusal(
            f"topic {topic.name}",
            f"has {now.partitions} partitions and data: with {topic.partitions} a key would move to another"
            " partition, where its duplicate isn't recognised",
            f"leave topic.partitions at {now.partitions}, or make it a new stream",
        )
    elif topic.partitions > now.partitions:
        yield GrowTopic(topic.name, topic.partitions)
    differing = {k: v for k, v in topic.config.items() if now.config.get(k) != v}
    if differing:
        yield SetTopicConfig(topic.name, differing)


def _acls(desired: Desired, actual: Actual) -> Iterator[KafkaChange]:
    if actual.acls is None:
        return
    for acl in desired.acls:
        if acl not in actual.acls:
            yield AllowKafka(acl)


def _database(wanted: Database, now: ActualDatabase) -> Iterator[PostgresChange | Refusal]:
    if not now.schema_exists:
        yield CreateSchema(SCHEMA)
    for role in LOGINS:
        if role not in now.usage:
            yield AllowSchema(SCHEMA, role)
    for table in wanted.tables:
        yield from _table(table, now.tables.get(table.name))
    remade = {v.name for v in wanted.views if now.views.get(v.name) != v.fingerprint}
    for view in wanted.views:
        if view.name in remade:
            yield MakeView(view)
    for function in wanted.functions:
        if now.functions.get(function.name) != function.fingerprint:
            yield MakeFunction(function)
    missing: dict[tuple[str, str], list[str]] = {}
    for grant in wanted.grants:
        # A view is dropped to be remade, and its rights go with it.
        if grant not in now.grants or grant.relation in remade:
            missing.setdefault((grant.relation, grant.role), []).append(grant.privilege)
    for (relation, role), privileges in missing.items():
        yield AllowRelation(relation, role, tuple(privileges))


def _table(table: Table, now: ActualTable | None) -> Iterator[PostgresChange | Refusal]:
    if now is None:
        yield CreateTable(table)
        for index in table.indexes:
            yield CreateIndex(table.name, index)
        return
    target = f"table {table.name}"
    if now.primary_key != table.primary_key:
        yield Refusal(
            target,
            f"has the key {', '.join(now.primary_key)}, the contract says {', '.join(table.primary_key)}:"
            " the minutes already stored can't be split by other dimensions",
            "leave the dimensions as they are, or make it a new stream",
        )
        return
    if table.time is not None and not now.hypertable:
        yield Refusal(target, "is no hypertable", "rename it away and apply again")
    for column in table.columns:
        kind = now.columns.get(column.name)
        if kind is None:
            yield AddColumn(table.name, column)
        elif kind != column.type:
            yield Refusal(
                target,
                f"column {column.name} is {kind}, the contract says {column.type}",
                "give the rollup another name",
            )
    dropped = sorted(set(now.columns) - {c.name for c in table.columns})
    if dropped:
        yield Refusal(
            target,
            f"column {', '.join(dropped)} is in no contract any more, and dropping it would lose data",
            "put the rollup back into the contract, or drop the column by hand",
        )
    for index in table.indexes:
        if index.name not in now.indexes:
            yield CreateIndex(table.name, index)
