"""What is there now: read from Kafka, the registry and Postgres, changing nothing."""

# confluent_kafka.admin documents these names as its own, and doesn't list them in __all__.
# pyright: reportPrivateImportUsage=false

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ConfigResource,
    OffsetSpec,
    ResourcePatternType,
    ResourceType,
)
from redis import Redis

from streamgauge.access.kafka import Acl
from streamgauge.access.postgres import PUBLIC, ROLE_PREFIX
from streamgauge.access.redis import RedisUser
from streamgauge.apply.desired import Desired, Subject, Topic
from streamgauge.apply.redis_rights import read_users
from streamgauge.contract.model import Contract
from streamgauge.records.compatibility import incompatibilities
from streamgauge.records.registry import Registry
from streamgauge.state.applied import Applied, read_applied_contracts, read_principals
from streamgauge.state.generations import read_generations
from streamgauge.stores.ddl import Database, Grant
from streamgauge.stores.kafka import TIMESTAMP_TYPE, kafka_error
from streamgauge.stores.postgres import SCHEMA, Connection

TIMEOUT = 15.0


@dataclass(frozen=True)
class ActualTopic:
    partitions: int
    config: Mapping[str, str]
    holds_data: bool


@dataclass(frozen=True)
class ActualSubject:
    registered: bool
    """Whether the desired schema is one of the subject's versions."""
    level: str | None
    incompatibilities: tuple[str, ...] = ()


@dataclass(frozen=True)
class ActualTable:
    columns: Mapping[str, str]
    """Type by name."""
    primary_key: tuple[str, ...]
    indexes: frozenset[str]
    hypertable: bool


@dataclass(frozen=True)
class ActualDatabase:
    timescaledb: bool = True
    schema_exists: bool = False
    logins: frozenset[str] = frozenset()
    """Streamgauge's roles: who can be given rights."""
    usage: frozenset[tuple[str, str]] = frozenset()
    """Who may do what with the schema itself: role and privilege, of Streamgauge's roles and PUBLIC."""
    tables: Mapping[str, ActualTable] = field(default_factory=dict[str, ActualTable])
    views: Mapping[str, str] = field(default_factory=dict[str, str])
    """The comment by name, which is the fingerprint of the view's text."""
    functions: Mapping[str, str] = field(default_factory=dict[str, str])
    """As views."""
    grants: frozenset[Grant] = frozenset()
    """On tables, views and functions, to Streamgauge's roles and to PUBLIC."""
    column_grants: frozenset[Grant] = frozenset()
    """On some of a relation's columns."""


@dataclass(frozen=True)
class History:
    """The hours of event time that a stream has rollups of, and how many of them can't be made again, because their
    facts are not kept so long.
    """

    hours: int
    lost: int


@dataclass(frozen=True)
class Actual:
    topics: Mapping[str, ActualTopic]
    subjects: Mapping[str, ActualSubject]
    acls: frozenset[Acl] | None
    """None where the broker checks no rights."""
    database: ActualDatabase
    read_topics: Mapping[str, ActualTopic] = field(default_factory=dict[str, ActualTopic])
    """Of those that somebody else makes, the ones that there are."""
    former_assets: frozenset[tuple[str, str]] = frozenset()
    """By stream, assets that check results or alerts still know by a former name."""
    contracts: Mapping[str, Applied] = field(default_factory=dict[str, Applied])
    """Each stream's, as it was applied last."""
    waiting: Mapping[str, str] = field(default_factory=dict[str, str])
    """By stream that has a generation to be filled, its contract's fingerprint."""
    history: Mapping[str, History] = field(default_factory=dict[str, History])
    """Of the streams that are to have another generation."""
    redis_users: Mapping[str, RedisUser] = field(default_factory=dict[str, RedisUser])
    """Those that there are, of principals before and now."""
    principals: frozenset[str] = frozenset()
    """Those of the access file that was applied last."""


def read_actual(
    desired: Desired, admin: AdminClient, registry: Registry, connection: Connection, redis: Redis
) -> Actual:
    principals = read_principals(connection)
    return Actual(
        topics=read_topics(admin, desired.topics),
        read_topics=read_topics(admin, [Topic(t.name, 0, {TIMESTAMP_TYPE: ""}) for t in desired.read_topics]),
        subjects={s.name: read_subject(registry, s) for s in desired.subjects},
        acls=read_acls(admin),
        database=read_database(connection, desired.database),
        former_assets=read_former_assets(connection, desired),
        contracts=read_applied_contracts(connection),
        waiting={s: g.fingerprint for s, found in read_generations(connection).items() for g in found if g.pending},
        history={s: read_history(connection, p.contract) for s, p in desired.pending.items()},
        principals=principals,
        redis_users=read_users(redis, sorted(desired.principals | principals)),
    )


def read_history(connection: Connection, contract: Contract) -> History:
    row = connection.execute(
        "SELECT count(*), count(*) FILTER (WHERE hour < now() - %s * interval '1 millisecond')"
        " FROM event_hours WHERE stream = %s AND facts + duplicates > 0",
        (contract.facts_retention_ms, contract.stream),
    ).fetchone()
    return History(*row) if row else History(0, 0)


def read_topics(admin: AdminClient, topics: Iterable[Topic]) -> dict[str, ActualTopic]:
    try:
        present = admin.list_topics(timeout=TIMEOUT).topics
    except KafkaException as e:
        raise kafka_error(e) from e
    found = {t.name: t for t in topics if t.name in present}
    configs = _configs(admin, found)
    counts = {name: len(present[name].partitions or {}) for name in found}
    ends = _end_offsets(admin, counts)
    return {
        name: ActualTopic(counts[name], {k: configs[name].get(k, "") for k in topic.config}, ends[name] > 0)
        for name, topic in found.items()
    }


def _configs(admin: AdminClient, names: Iterable[str]) -> dict[str, dict[str, str]]:
    resources = [ConfigResource(ResourceType.TOPIC, n) for n in names]
    if not resources:
        return {}
    untyped: Any = admin
    answers = untyped.describe_configs(resources, request_timeout=TIMEOUT)
    return {r.name: {k: str(v.value) for k, v in f.result().items()} for r, f in answers.items()}


def _end_offsets(admin: AdminClient, partitions: Mapping[str, int]) -> dict[str, int]:
    """The sum of a topic's end offsets: above zero if a record was ever in it."""
    wanted = {TopicPartition(t, p): OffsetSpec.latest() for t, n in partitions.items() for p in range(n)}
    ends = dict.fromkeys(partitions, 0)
    if wanted:
        untyped: Any = admin
        for at, future in untyped.list_offsets(wanted, request_timeout=TIMEOUT).items():
            ends[at.topic] += future.result().offset
    return ends


def read_subject(registry: Registry, subject: Subject) -> ActualSubject:
    schema, level = dict(subject.schema), registry.level(subject.name)
    if registry.lookup(subject.name, schema) is not None:
        return ActualSubject(registered=True, level=level)
    if level == subject.level:
        reasons = registry.incompatibilities(subject.name, schema)
    else:
        # the registry answers by the level in force only, and `apply` sets the other one first
        reasons = incompatibilities(subject.level, schema, registry.versions(subject.name))
    return ActualSubject(registered=False, level=level, incompatibilities=reasons)


def read_acls(admin: AdminClient) -> frozenset[Acl] | None:
    untyped: Any = admin
    any_filter: Any = AclBindingFilter
    kind, allow = ResourcePatternType.ANY, AclPermissionType.ALLOW
    everything = any_filter(ResourceType.ANY, None, kind, None, None, AclOperation.ANY, allow)
    try:
        bindings = untyped.describe_acls(everything, request_timeout=TIMEOUT).result()
    except KafkaException as e:
        if cast(KafkaError, e.args[0]).code() == KafkaError.SECURITY_DISABLED:
            return None
        raise kafka_error(e) from e
    return frozenset(
        Acl(
            b.principal.removeprefix("User:"),
            b.restype.name.lower(),
            b.name,
            b.operation.name.lower(),
            b.resource_pattern_type.name.lower(),
            b.host,
        )
        for b in bindings
    )


def read_database(connection: Connection, wanted: Database) -> ActualDatabase:
    tables = [t.name for t in wanted.tables]
    columns: dict[str, dict[str, str]] = {}
    for table, column, kind in connection.execute(_COLUMNS, (SCHEMA, tables)):
        columns.setdefault(table, {})[column] = kind
    keys = {table: tuple(key) for table, key in connection.execute(_PRIMARY_KEYS, (SCHEMA, tables))}
    indexes: dict[str, set[str]] = {}
    for table, index in connection.execute(_INDEXES, (SCHEMA, tables)):
        indexes.setdefault(table, set()).add(index)
    timescaledb = connection.execute(_TIMESCALEDB).fetchone() is not None
    hypertables = {name for (name,) in connection.execute(_HYPERTABLES, (SCHEMA,))} if timescaledb else set[str]()
    ours = {"schema": SCHEMA, "everybody": PUBLIC, "prefix": ROLE_PREFIX}
    return ActualDatabase(
        timescaledb=timescaledb,
        schema_exists=connection.execute(_SCHEMA, (SCHEMA,)).fetchone() is not None,
        logins=frozenset(role for (role,) in connection.execute(_LOGINS, ours)),
        usage=frozenset(connection.execute(_USAGE, ours).fetchall()),  # pyright: ignore[reportArgumentType]
        tables={
            name: ActualTable(
                columns=found,
                primary_key=keys.get(name, ()),
                indexes=frozenset(indexes.get(name, ())),
                hypertable=name in hypertables,
            )
            for name, found in columns.items()
        },
        views=dict(connection.execute(_VIEWS, (SCHEMA, [v.name for v in wanted.views])).fetchall()),
        functions=dict(connection.execute(_FUNCTIONS, (SCHEMA, [f.name for f in wanted.functions])).fetchall()),
        grants=frozenset(Grant(*row) for q in (_GRANTS, _CALLS) for row in connection.execute(q, ours)),
        column_grants=frozenset(Grant(*row) for row in connection.execute(_COLUMN_GRANTS, ours)),
    )


def read_former_assets(connection: Connection, desired: Desired) -> frozenset[tuple[str, str]]:
    tables = connection.execute(_ASSET_TABLES, (SCHEMA, list(ASSET_TABLES))).fetchall()
    if len(tables) < len(ASSET_TABLES):
        return frozenset()
    wanted = [(stream, former) for stream, former, _ in sorted(desired.renamed)]
    streams, formers = [s for s, _ in wanted], [f for _, f in wanted]
    return frozenset(connection.execute(_FORMER_ASSETS.encode(), (streams, formers)).fetchall())  # pyright: ignore[reportArgumentType]


ASSET_TABLES = ("check_results", "alerts", "alert_memory")
"""Those that name assets."""

_ASSET_TABLES = "SELECT FROM pg_class WHERE relnamespace = to_regnamespace(%s) AND relname = ANY(%s)"
_FORMER_ASSETS = f"""
SELECT stream, former FROM unnest(%s::text[], %s::text[]) AS f (stream, former)
WHERE EXISTS (SELECT FROM "{SCHEMA}".check_results c WHERE c.stream = f.stream AND c.asset = f.former)
   OR EXISTS (SELECT FROM "{SCHEMA}".alerts a WHERE a.stream = f.stream AND a.asset = f.former)
   OR EXISTS (SELECT FROM "{SCHEMA}".alert_memory m WHERE m.subject = f.former)"""
_SCHEMA = "SELECT 1 FROM pg_namespace WHERE nspname = %s"
_COLUMNS = """
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod)
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE c.relnamespace = to_regnamespace(%s) AND c.relname = ANY(%s) AND c.relkind = 'r'
  AND a.attnum > 0 AND NOT a.attisdropped"""
_PRIMARY_KEYS = """
SELECT c.relname, array_agg(a.attname::text ORDER BY array_position(i.indkey::int2[], a.attnum))
FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY(i.indkey)
WHERE i.indisprimary AND c.relnamespace = to_regnamespace(%s) AND c.relname = ANY(%s) GROUP BY c.relname"""
_INDEXES = """
SELECT tablename::text, indexname::text FROM pg_indexes WHERE schemaname = %s AND tablename = ANY(%s)"""
_TIMESCALEDB = "SELECT FROM pg_extension WHERE extname = 'timescaledb'"
_HYPERTABLES = "SELECT hypertable_name FROM timescaledb_information.hypertables WHERE hypertable_schema = %s"
_VIEWS = """
SELECT c.relname, coalesce(obj_description(c.oid, 'pg_class'), '')
FROM pg_class c WHERE c.relnamespace = to_regnamespace(%s) AND c.relname = ANY(%s) AND c.relkind = 'v'"""
_FUNCTIONS = """
SELECT p.proname, coalesce(obj_description(p.oid, 'pg_proc'), '')
FROM pg_proc p WHERE p.pronamespace = to_regnamespace(%s) AND p.proname = ANY(%s)"""
# Of an owner's own rights nothing can be taken away. The grantee 0 is everybody.
_HELD = """coalesce(r.rolname, %(everybody)s), a.privilege_type"""
_BY_OURS = """LEFT JOIN pg_roles r ON r.oid = a.grantee
WHERE (a.grantee = 0 OR starts_with(r.rolname, %(prefix)s)) AND a.grantee <>"""
_LOGINS = "SELECT rolname FROM pg_roles WHERE starts_with(rolname, %(prefix)s)"
_USAGE = f"""
SELECT {_HELD} FROM pg_namespace n, aclexplode(n.nspacl) a {_BY_OURS} n.nspowner AND n.nspname = %(schema)s"""
_GRANTS = f"""
SELECT c.relname, {_HELD} FROM pg_class c, aclexplode(c.relacl) a {_BY_OURS} c.relowner
  AND c.relnamespace = to_regnamespace(%(schema)s) AND c.relkind IN ('r', 'v')"""
_COLUMN_GRANTS = f"""
SELECT DISTINCT c.relname, {_HELD} FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid,
  aclexplode(t.attacl) a {_BY_OURS} c.relowner
  AND c.relnamespace = to_regnamespace(%(schema)s) AND c.relkind IN ('r', 'v')"""
_CALLS = f"""
SELECT p.proname, {_HELD} FROM pg_proc p, aclexplode(p.proacl) a {_BY_OURS} p.proowner
  AND p.pronamespace = to_regnamespace(%(schema)s)"""
