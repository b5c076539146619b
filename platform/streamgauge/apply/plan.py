"""The difference between what the contracts and the access file ask for and what is there. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass

from streamgauge.access.kafka import Acl
from streamgauge.access.load import OWNER
from streamgauge.access.postgres import PUBLIC, role_of
from streamgauge.access.redis import RedisUser
from streamgauge.apply.actual import Actual, ActualDatabase, ActualTable, ActualTopic, History
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
    DropGeneration,
    FillGeneration,
    ForbidKafka,
    ForbidRelation,
    ForbidSchema,
    GrowTopic,
    KafkaChange,
    MakeFunction,
    MakeView,
    PostgresChange,
    RedisChange,
    RegisterSchema,
    RegistryChange,
    RenameAsset,
    SetCompatibility,
    SetRedisRights,
    SetTopicConfig,
    TakeUpContract,
    TakeUpPrincipals,
)
from streamgauge.apply.desired import Desired, Topic
from streamgauge.contract.fingerprint import fingerprint
from streamgauge.errors import UserError
from streamgauge.stores.ddl import Database, Grant, Table, View
from streamgauge.stores.kafka import TIMESTAMP_TYPE
from streamgauge.stores.postgres import SCHEMA
from streamgauge.text import plural


@dataclass(frozen=True)
class Refusal:
    """A difference that isn't made, because data would be lost or misread."""

    target: str
    reason: str
    hint: str


@dataclass(frozen=True)
class Note:
    """What is to be known of something that stays as it is."""

    target: str
    text: str


@dataclass(frozen=True)
class Plan:
    registry: tuple[RegistryChange, ...] = ()
    kafka: tuple[KafkaChange, ...] = ()
    redis: tuple[RedisChange, ...] = ()
    postgres: tuple[PostgresChange, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    notes: tuple[Note, ...] = ()

    @property
    def changes(self) -> tuple[Change, ...]:
        return (*self.registry, *self.kafka, *self.redis, *self.postgres)

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
    redis: list[RedisChange] = []
    postgres: list[PostgresChange] = []
    refusals: list[Refusal] = []
    found = (
        *_subjects(desired, actual),
        *_missing(desired, actual),
        *(step for topic in desired.topics for step in _topic(topic, actual.topics.get(topic.name))),
        *_acls(desired, actual),
        *_redis(desired, actual),
        *_database(
            desired.database if actual.database.timescaledb else desired.database.without_chunks(), actual.database
        ),
        *_rights(desired, actual),
        *(RenameAsset(r) for r in sorted(desired.renamed) if (r.stream, r.former) in actual.former_assets),
        *_contracts(desired, actual),
        *_generations(desired, actual),
    )
    for step in found:
        match step:
            case Refusal():
                refusals.append(step)
            case SetCompatibility() | RegisterSchema():
                registry.append(step)
            case CreateTopic() | GrowTopic() | SetTopicConfig() | AllowKafka() | ForbidKafka():
                kafka.append(step)
            case SetRedisRights():
                redis.append(step)
            case _:
                postgres.append(step)
    return Plan(
        tuple(registry), tuple(kafka), tuple(redis), tuple(postgres), tuple(refusals), tuple(_notes(desired, actual))
    )


def _contracts(desired: Desired, actual: Actual) -> Iterator[TakeUpContract]:
    for stream, contract in desired.contracts.items():
        applied = actual.contracts.get(stream)
        before = applied and applied.contract
        if applied is None or before is None or applied.fingerprint != fingerprint(contract):
            yield TakeUpContract(contract, before)


def _generations(desired: Desired, actual: Actual) -> Iterator[PostgresChange | Refusal]:
    for stream, gone in desired.unreadable.items():
        yield Refusal(
            f"contract {stream}",
            f"the present rollups are still made of {', '.join(gone)}",
            "leave the fields until the rollups that do without them are filled, then drop the fields",
        )
    for stream, generation in desired.unneeded:
        yield DropGeneration(stream, generation)
    for stream, pending in desired.pending.items():
        if actual.waiting.get(stream) != fingerprint(pending.contract):
            history = actual.history.get(stream, History(0, 0))
            yield FillGeneration(pending, history.hours, history.lost)


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


def _missing(desired: Desired, actual: Actual) -> Iterator[Refusal]:
    for topic in desired.read_topics:
        if topic.name not in actual.read_topics:
            yield Refusal(
                f"topic {topic.name}",
                "is read by a contract with a source, and Kafka has no such topic",
                "correct source.topic, or wait until its owner has made it",
            )


def _notes(desired: Desired, actual: Actual) -> Iterator[Note]:
    for topic in desired.read_topics:
        if (now := actual.read_topics.get(topic.name)) is not None:
            target = f"topic {topic.name}"
            yield Note(target, f"{plural(now.partitions, 'partition')}, {now.config[TIMESTAMP_TYPE]}, as they are")
            yield from (Note(target, promise) for promise in topic.promises)


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
    ours = desired.principals | actual.principals
    wanted, names = set(desired.acls), {*(t.name for t in desired.topics), *desired.groups}
    for acl in sorted(actual.acls - wanted, key=astuple):
        if acl.user in ours and not _of_other_contracts(acl, names):
            yield ForbidKafka(acl)


def _of_other_contracts(acl: Acl, names: set[str]) -> bool:
    """As in Postgres, the rights on one topic or group that is of no contract here are left alone."""
    return acl.resource in ("topic", "group") and acl.pattern == "literal" and acl.name not in {*names, "*"}


def _redis(desired: Desired, actual: Actual) -> Iterator[RedisChange]:
    """Of principals that have a login. The owner keeps all rights."""
    wanted = {user.name: user for user in desired.redis_users}
    for name, now in actual.redis_users.items():
        user = wanted.get(name, RedisUser(name))
        if name != OWNER and user != now:
            yield SetRedisRights(user, now)


def _database(wanted: Database, now: ActualDatabase) -> Iterator[PostgresChange | Refusal]:
    if not now.schema_exists:
        yield CreateSchema(SCHEMA)
    for table in wanted.tables:
        yield from _table(table, now.tables.get(table.name))
    for built in (*wanted.views, *wanted.functions):
        if built.name in _remade(wanted, now):
            yield MakeView(built) if isinstance(built, View) else MakeFunction(built)


def _remade(wanted: Database, now: ActualDatabase) -> set[str]:
    """The views and functions that are dropped to be made again: their rights go with them."""
    views = {v.name for v in wanted.views if now.views.get(v.name) != v.fingerprint}
    return views | {f.name for f in wanted.functions if now.functions.get(f.name) != f.fingerprint}


def _rights(desired: Desired, actual: Actual) -> Iterator[PostgresChange | Refusal]:
    """New ones are given before others are taken away, in one transaction. Relations of no contract that is there keep
    theirs: who else's contracts they are of is not known here.
    """
    now, remade = actual.database, _remade(desired.database, actual.database)
    for role in desired.roles:
        if role not in now.logins:
            yield Refusal(
                f"login {role}",
                "is in the access file and not in Postgres",
                "make it with `streamgauge stack up`, or on servers of your own as platform/deploy/roles.sql does",
            )
        if (role, "USAGE") not in now.usage:
            yield AllowSchema(SCHEMA, role)
    kept = {g for g in now.grants if g.relation not in remade}
    for (relation, role), privileges in _by_role(g for g in desired.grants if g not in kept).items():
        yield AllowRelation(relation, role, privileges)
    known = {r.name for r in desired.database.relations}
    ours = {PUBLIC, *map(role_of, desired.principals | actual.principals)}
    surplus = (kept | now.column_grants) - set(desired.grants)
    revoked = sorted((g for g in surplus if g.relation in known and g.role in ours), key=astuple)
    for (relation, role), privileges in _by_role(revoked).items():
        yield ForbidRelation(relation, role, privileges)
    for role, privilege in sorted(now.usage):
        if role in ours and (role, privilege) not in {(r, "USAGE") for r in desired.roles}:
            yield ForbidSchema(SCHEMA, role, privilege)
    if actual.principals != desired.principals:
        yield TakeUpPrincipals(desired.principals, actual.principals)


def _by_role(grants: Iterable[Grant]) -> dict[tuple[str, str], tuple[str, ...]]:
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for grant in grants:
        key = grant.relation, grant.role
        found[key] = (*found.get(key, ()), grant.privilege)
    return found


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
    dropped = sorted(set(now.columns) - {c.name for c in table.columns} - set(table.former))
    if dropped:
        yield Refusal(
            target,
            f"column {', '.join(dropped)} is in no contract any more, and dropping it would lose data",
            "put the rollup back into the contract, or drop the column by hand",
        )
    for index in table.indexes:
        if index.name not in now.indexes:
            yield CreateIndex(table.name, index)
