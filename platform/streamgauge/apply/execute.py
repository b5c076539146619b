"""Makes a plan so."""

# confluent_kafka.admin documents these names as its own, and doesn't list them in __all__.
# pyright: reportPrivateImportUsage=false

from collections.abc import Generator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)
from redis import Redis

from streamgauge.access.kafka import Acl
from streamgauge.access.load import load_access
from streamgauge.access.model import Access
from streamgauge.access.postgres import PUBLIC
from streamgauge.apply.actual import TIMEOUT, read_actual
from streamgauge.apply.audit import audit_events
from streamgauge.apply.changes import (
    AddColumn,
    AllowKafka,
    AllowRelation,
    AllowSchema,
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
    RegisterSchema,
    RegistryChange,
    RenameAsset,
    SetCompatibility,
    SetTopicConfig,
    TakeUpContract,
    TakeUpPrincipals,
)
from streamgauge.apply.desired import desired
from streamgauge.apply.generations import generations_of
from streamgauge.apply.plan import Plan, make_plan
from streamgauge.apply.redis_rights import set_rights
from streamgauge.audit.log import append, person
from streamgauge.contract.fingerprint import AS_JSON, fingerprint
from streamgauge.contract.model import Contract
from streamgauge.records.registry import Incompatible, Registry, registry
from streamgauge.settings import Settings
from streamgauge.state.applied import APPLY_LOCK, read_applied_contracts
from streamgauge.state.generations import read_generations
from streamgauge.stores.ddl import CHUNK, literal, names, quote
from streamgauge.stores.kafka import admin_client, kafka_error
from streamgauge.stores.postgres import SCHEMA, Connection, connect_or_explain
from streamgauge.stores.redis import redis_client


def plan(settings: Settings, contracts: tuple[Contract, ...]) -> Plan:
    with _session(settings, contracts) as session:
        return session.plan()


def apply(settings: Settings, contracts: tuple[Contract, ...]) -> Plan:
    """Makes the contracts so, and returns what that took. Raises UserError, with nothing changed, if any part
    is refused."""
    with _session(settings, contracts) as session:
        session.connection.execute("SELECT pg_advisory_xact_lock(%s)", (APPLY_LOCK,))
        plan = session.plan()
        plan.check()
        # Postgres first and committed last: what it refuses, or the registry refuses, leaves no trace in it.
        for change in plan.postgres:
            _postgres(session.connection, change)
        change_registry(session.registry, plan.registry)
        for change in plan.kafka:
            _kafka(session.admin, change)
        for change in plan.redis:
            set_rights(session.redis, change.user)
        for event in audit_events(plan, person()):
            append(session.connection, event)
        return plan


class _Session:
    def __init__(
        self,
        admin: AdminClient,
        registry: Registry,
        connection: Connection,
        redis: Redis,
        contracts: tuple[Contract, ...],
        access: Access,
    ) -> None:
        self.admin = admin
        self.registry = registry
        self.connection = connection
        self.redis = redis
        self._contracts = contracts
        self._access = access

    def plan(self) -> Plan:
        applied, known = read_applied_contracts(self.connection), read_generations(self.connection)
        wanted = desired(self._contracts, self._access, generations_of(self._contracts, applied, known))
        return make_plan(wanted, read_actual(wanted, self.admin, self.registry, self.connection, self.redis))


@contextmanager
def _session(settings: Settings, contracts: tuple[Contract, ...]) -> Generator[_Session]:
    access = load_access(settings.access_file, [c.stream for c in contracts])
    client, redis = registry(settings), redis_client(settings)
    try:
        with connect_or_explain(settings, application="streamgauge apply") as connection:
            yield _Session(admin_client(settings), client, connection, redis, contracts, access)
    finally:
        client.close()
        redis.close()


def change_registry(client: Registry, changes: tuple[RegistryChange, ...]) -> None:
    """All levels before all schemas. Where the registry refuses a schema after all, because another version came since
    the plan, the levels are put back.
    """
    levels = [c for c in changes if isinstance(c, SetCompatibility)]
    schemas = [c.subject for c in changes if isinstance(c, RegisterSchema)]
    for level in levels:
        client.set_level(level.subject, level.level)
    for subject in schemas:
        reasons = client.incompatibilities(subject.name, dict(subject.schema))
        if reasons:
            for level in levels:
                client.set_level(level.subject, level.before or "NONE")
            raise Incompatible(subject.name, reasons)
    for subject in schemas:
        client.register(subject.name, dict(subject.schema))


def _kafka(admin: AdminClient, change: KafkaChange) -> None:
    client: Any = admin  # its stubs leave out the futures' types
    match change:
        case CreateTopic(topic):
            new = NewTopic(topic.name, topic.partitions, replication_factor=-1, config=dict(topic.config))
            _done(client.create_topics([new], operation_timeout=TIMEOUT))
        case GrowTopic(name, partitions):
            _done(client.create_partitions([NewPartitions(name, partitions)], operation_timeout=TIMEOUT))
        case SetTopicConfig(name, config):
            entries = [ConfigEntry(k, v, incremental_operation=AlterConfigOpType.SET) for k, v in config.items()]
            resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries)
            _done(client.incremental_alter_configs([resource]))
        case AllowKafka(acl):
            _done(client.create_acls([AclBinding(*acl_words(acl))]))
        case ForbidKafka(acl):
            _done(client.delete_acls([AclBindingFilter(*acl_words(acl))]))


def acl_words(
    acl: Acl,
) -> tuple[ResourceType, str, ResourcePatternType, str, str, AclOperation, AclPermissionType]:
    """As the client takes them, to make this ACL or to find it."""
    return (
        ResourceType[acl.resource.upper()],
        acl.name,
        ResourcePatternType[acl.pattern.upper()],
        f"User:{acl.user}",
        acl.host,
        AclOperation[acl.operation.upper()],
        AclPermissionType.ALLOW,
    )


def _done(futures: dict[Any, Future[Any]]) -> None:
    for future in futures.values():
        try:
            future.result(TIMEOUT)
        except KafkaException as e:
            raise kafka_error(e) from e


def _postgres(connection: Connection, change: PostgresChange) -> None:
    for statement in statements(change):
        connection.execute(statement.encode())


def statements(change: PostgresChange) -> list[str]:
    match change:
        case CreateSchema(name):
            return [f"CREATE SCHEMA {quote(name)}"]
        case AllowSchema(name, role):
            return [f"GRANT USAGE ON SCHEMA {quote(name)} TO {quote(role)}"]
        case ForbidSchema(name, role, privilege):
            return [f"REVOKE {privilege} ON SCHEMA {quote(name)} FROM {_holder(role)}"]
        case CreateTable(table):
            columns = ", ".join(c.sql for c in table.columns)
            create = f"CREATE TABLE {_at(table.name)} ({columns}, PRIMARY KEY ({names(table.primary_key)}))"
            if table.time is None:
                return [create]
            return [
                create,
                f"SELECT create_hypertable('{_at(table.name)}', by_range({literal(table.time)}, interval '{CHUNK}'),"
                " create_default_indexes => false)",
            ]
        case AddColumn(table, column):
            return [f"ALTER TABLE {_at(table)} ADD COLUMN {column.sql}"]
        case CreateIndex(table, index):
            where = f" WHERE {index.where}" if index.where else ""
            return [f"CREATE INDEX {quote(index.name)} ON {_at(table)} ({names(index.columns)}){where}"]
        case MakeView(view):
            return [
                f"DROP VIEW IF EXISTS {_at(view.name)}",
                f"CREATE VIEW {_at(view.name)} AS {view.select}",
                f"COMMENT ON VIEW {_at(view.name)} IS '{view.fingerprint}'",
            ]
        case MakeFunction(function):
            name = _at(function.name)
            return [
                f"DROP FUNCTION IF EXISTS {name}",
                f"CREATE FUNCTION {name}({function.arguments}) RETURNS {function.returns} LANGUAGE plpgsql"
                f" SECURITY DEFINER SET search_path = {quote(SCHEMA)}, public, pg_temp AS {literal(function.body)}",
                f"REVOKE ALL ON FUNCTION {name} FROM PUBLIC",
                f"COMMENT ON FUNCTION {name} IS '{function.fingerprint}'",
            ]
        case RenameAsset((stream, former, name)):
            before, after = literal(former), literal(name)
            key, check = literal(f'"{former}'), literal(f'"{name}')
            memory = "memory::text"
            for end in ('"', ":"):
                # a subject of what is remembered: an asset, or an asset and its check
                memory = f"replace({memory}, {key} || {literal(end)}, {check} || {literal(end)})"
            this = f"stream = {literal(stream)} AND asset = {before}"
            return [
                f"UPDATE {_at('check_results')} SET asset = {after} WHERE {this}",
                f"UPDATE {_at('alerts')} SET asset = {after}, cause = replace(cause, {before}, {after}) WHERE {this}",
                f"UPDATE {_at('alert_memory')} SET subject = {after} WHERE subject = {before}",
                f"UPDATE {_at('alert_memory')} SET memory = ({memory})::jsonb WHERE memory::text LIKE"
                f" '%' || {key} || '%'",
            ]
        case TakeUpContract(contract):
            text = AS_JSON.dump_json(contract).decode()
            values = ", ".join(
                (*map(literal, (contract.stream, fingerprint(contract), text)), str(contract.generation))
            )
            return [
                f"INSERT INTO {_at('applied_contracts')} (stream, fingerprint, contract, generation) VALUES ({values})"
                " ON CONFLICT (stream) DO UPDATE SET fingerprint = excluded.fingerprint, contract = excluded.contract"
            ]
        case FillGeneration(pending):
            contract = pending.contract
            number, text = str(contract.generation), AS_JSON.dump_json(contract).decode()
            values = ", ".join((literal(contract.stream), number, literal(fingerprint(contract)), literal(text)))
            return [
                f"INSERT INTO {_at('rollup_generations')} (stream, generation, fingerprint, contract) VALUES ({values})"
                " ON CONFLICT (stream, generation) DO UPDATE SET fingerprint = excluded.fingerprint,"
                " contract = excluded.contract"
            ]
        case DropGeneration(stream, generation):
            of = f"stream = {literal(stream)} AND generation = {generation}"
            return [
                f"UPDATE {_at('rollup_generations')} SET retired_at = now() WHERE {of}",
                f"SELECT {_at('drop_generation')}({literal(stream)}, {generation})",
            ]
        case AllowRelation(relation, role, privileges):
            return [f"GRANT {', '.join(privileges)} ON {_kind(privileges)} {_at(relation)} TO {quote(role)}"]
        case ForbidRelation(relation, role, privileges):
            # also takes away what was given on single columns
            return [f"REVOKE {', '.join(privileges)} ON {_kind(privileges)} {_at(relation)} FROM {_holder(role)}"]
        case TakeUpPrincipals(principals, before):
            rows = ", ".join(f"({literal(name)})" for name in sorted(principals))
            gone = ", ".join(map(literal, sorted(before - principals)))
            return [
                f"INSERT INTO {_at('applied_principals')} (name) VALUES {rows} ON CONFLICT DO NOTHING",
                *([f"DELETE FROM {_at('applied_principals')} WHERE name IN ({gone})"] if gone else []),
            ]


def _kind(privileges: tuple[str, ...]) -> str:
    return "FUNCTION" if privileges == ("EXECUTE",) else "TABLE"


def _holder(role: str) -> str:
    return role if role == PUBLIC else quote(role)


def _at(relation: str) -> str:
    return f"{quote(SCHEMA)}.{quote(relation)}"
