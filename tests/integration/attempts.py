"""What a login may do, found out by trying it on the real servers.

Each function answers, for one login, which of its attempts the server let through. An attempt that could destroy
something is not made by who owns it.
"""

# confluent_kafka.admin documents these names as its own, and doesn't list them in __all__.
# pyright: reportPrivateImportUsage=false

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from typing import Any

import psycopg
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicCollection, TopicPartition
from confluent_kafka import ConsumerGroupTopicPartitions as GroupOffsets
from confluent_kafka.admin import (
    AclBinding,
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
from psycopg import errors, sql
from redis import Redis
from redis.exceptions import NoPermissionError, ResponseError

from streamgauge.stores.ddl import Database, Function, View, quote
from streamgauge.stores.postgres import SCHEMA

Attempts = dict[tuple[str, str], bool]
"""By resource and operation, whether the server let it through."""

_SECONDS = 20.0
_DENIED = {
    # to who may not see a topic, none of its partitions has a leader
    KafkaError._NOENT,  # pyright: ignore[reportPrivateUsage]
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
}
_IN_VAIN = {
    KafkaError.INVALID_PARTITIONS,
    KafkaError.GROUP_ID_NOT_FOUND,
    # a compacted topic's records are not deleted by position
    KafkaError.POLICY_VIOLATION,
    # a broker that has just started looks at rights first, and then whether it knows the group's positions yet
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
}
"""What is answered to who has the right, where there is nothing to be done."""


def in_kafka(config: Mapping[str, Any], topics: Mapping[str, str], group: str, *, owner: bool) -> Attempts:
    """`topics` by what they are called in the answer. Each has a record at offset 0 of its partition 0."""
    admin = AdminClient(dict(config))
    futures = _asked(admin, topics, group, owner=owner)
    found = {attempt: _let(future) for attempt, future in futures.items()}
    del admin  # its end would be that of its answers too
    return {**found, **_written(config, topics), **_read(config, topics)}


def _asked(admin: Any, topics: Mapping[str, str], group: str, *, owner: bool) -> dict[Any, Any]:
    futures: dict[tuple[str, str], Any] = {}
    for called, topic in topics.items():
        resource = ConfigResource(ResourceType.TOPIC, topic)
        entry = ConfigEntry("retention.ms", "3600000", incremental_operation=AlterConfigOpType.SET)
        changed = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        asked: dict[str, Any] = {
            "describe": admin.describe_topics(TopicCollection([topic])),
            "describe configs": admin.describe_configs([resource]),
            "alter configs": admin.incremental_alter_configs([changed], validate_only=True),
            "alter": admin.create_partitions([NewPartitions(topic, 1)], validate_only=True),
            "delete records": admin.delete_records([TopicPartition(topic, 0, 0)]),
        }
        if not owner:
            asked["delete"] = admin.delete_topics([topic])
        futures |= {(called, operation): next(iter(answers.values())) for operation, answers in asked.items()}
    to_start = GroupOffsets(group, [TopicPartition(topics["events"], 0, 0)])
    acl = AclBinding(
        *(ResourceType.TOPIC, "nothing", ResourcePatternType.LITERAL, "User:nobody", "*"),
        *(AclOperation.READ, AclPermissionType.ALLOW),
    )
    groups = {
        "describe": admin.list_consumer_group_offsets([GroupOffsets(group)]),
        "read": admin.alter_consumer_group_offsets([to_start]),
        "delete": admin.delete_consumer_groups([group]),
    }
    futures |= {("worker-group", operation): next(iter(answers.values())) for operation, answers in groups.items()}
    created = admin.create_topics([NewTopic("new", 1, 1)], validate_only=True)
    return {**futures, ("cluster", "create"): created["new"], ("cluster", "create acls"): admin.create_acls([acl])[acl]}


def _let(future: Any) -> bool:
    try:
        answer = future.result(_SECONDS)
    except KafkaException as e:
        return _may(e.args[0])
    # of a group's positions each is answered for itself
    of_each = answer.topic_partitions if isinstance(answer, GroupOffsets) else []
    return all(p.error is None or _may(p.error) for p in of_each or [])


def _may(error: KafkaError) -> bool:
    if error.code() in _DENIED:
        return False
    assert error.code() in _IN_VAIN, error
    return True


def _written(config: Mapping[str, Any], topics: Mapping[str, str]) -> Attempts:
    found: Attempts = {}
    producer = Producer({**config, "acks": "all"})

    def reported(called: str) -> Callable[[KafkaError | None, Message], None]:
        return lambda error, _: found.update({(called, "write"): error is None or _may(error)})

    for called, topic in topics.items():
        producer.produce(topic, b"value", b"key", partition=0, on_delivery=reported(called))
    assert producer.flush(_SECONDS) == 0
    return found


def _read(config: Mapping[str, Any], topics: Mapping[str, str]) -> Attempts:
    return {(called, "read"): _reads(config, topic) for called, topic in topics.items()}


def _reads(config: Mapping[str, Any], topic: str) -> bool:
    """A consumer for each topic: of one that it may not see, an error doesn't say which it is about."""
    own = {"group.id": "nobody", "enable.auto.commit": False, "enable.partition.eof": True}
    with closing(Consumer({**config, **own})) as consumer:
        # who may not see it gets no answer from a consumer, which waits for it to come
        seen = consumer.list_topics(topic, timeout=_SECONDS).topics[topic].error
        if seen is not None:
            return _may(seen)
        consumer.assign([TopicPartition(topic, 0, 0)])
        until = time.monotonic() + _SECONDS
        while time.monotonic() < until:
            for record in consumer.consume(1, timeout=0.2):
                error = record.error()
                if error is None or error.code() == KafkaError._PARTITION_EOF:  # pyright: ignore[reportPrivateUsage]
                    return True
                # that nobody's group may not be described is no answer about a topic
                if error.code() != KafkaError.GROUP_AUTHORIZATION_FAILED:
                    return _may(error)
    raise AssertionError(f"no answer to reading {topic}")


def in_postgres(connection: "psycopg.Connection[Any]", database: Database, *, owner: bool) -> Attempts:
    """Nothing that it does is committed."""
    found: Attempts = {}
    with connection.transaction(force_rollback=True):
        for relation in database.relations:
            name = f"{quote(SCHEMA)}.{quote(relation.name)}"
            column = "" if isinstance(relation, Function) else _a_column(database, relation.name)
            statements = {
                "select": f"SELECT FROM {name} LIMIT 0",
                "insert": f"INSERT INTO {name} DEFAULT VALUES",
                "update": f"UPDATE {name} SET {column} = DEFAULT WHERE false",
                "delete": f"DELETE FROM {name} WHERE false",
                "truncate": f"TRUNCATE {name}",
                "alter": f"ALTER TABLE {name} ADD COLUMN more int",
                "drop": f"DROP TABLE {name} CASCADE",
                "take": f"ALTER TABLE {name} OWNER TO CURRENT_USER",
            }
            if isinstance(relation, View):
                statements = {"select": statements["select"], "drop": f"DROP VIEW {name} CASCADE"}
            if isinstance(relation, Function):
                statements = {"execute": f"SELECT {name}({_arguments(relation)})", "drop": f"DROP FUNCTION {name}"}
            if owner:
                statements.pop("drop")
            found |= {(relation.name, o): _executes(connection, s) for o, s in statements.items()}
        found |= {("database", o): _executes(connection, s) for o, s in _OF_THE_DATABASE.items()}
    return found


_OF_THE_DATABASE = {
    "create a table": f"CREATE TABLE {SCHEMA}.mine (a int)",
    "create a table elsewhere": "CREATE TABLE public.mine (a int)",
    "create a schema": "CREATE SCHEMA mine",
    "create a temporary table": "CREATE TEMPORARY TABLE mine (a int)",
    "create a role": "CREATE ROLE mine",
    "become the owner": "SET LOCAL ROLE streamgauge_admin",
    "become a superuser": "SET LOCAL ROLE postgres",
    "read files": "SELECT pg_read_file('postgresql.conf')",
    "run programs": "COPY (SELECT 1) TO PROGRAM 'true'",
    "read passwords": "SELECT rolpassword FROM pg_authid",
}


_VALUES = {
    "text": "'nothing'",
    "integer": "0",
    "timestamp with time zone": "now()",
    "jsonb": """'{"action": "a", "subject": "s"}'""",
}


def _arguments(function: Function) -> str:
    return ", ".join(_VALUES[argument.strip().partition(" ")[2]] for argument in function.arguments.split(","))


def _a_column(database: Database, relation: str) -> str:
    return next((quote(t.columns[0].name) for t in database.tables if t.name == relation), "")


def _executes(connection: "psycopg.Connection[Any]", statement: str) -> bool:
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(sql.SQL(statement))  # pyright: ignore[reportArgumentType]
    except errors.InsufficientPrivilege:
        return False
    except (errors.NotNullViolation, errors.UndefinedTable, errors.RaiseException):
        pass
    return True


def in_redis(client: Redis, keys: Mapping[str, str], script: str, *, owner: bool) -> Attempts:
    """`script`: the SHA of one that the server knows. `keys` by what they are called in the answer."""
    of_keys = {
        ("get", "GET {}"),
        ("mget", "MGET {}"),
        ("set", "SET {} 1 EX 60"),
        ("evalsha", f"EVALSHA {script} 1 {{}}"),
        ("del", "DEL {}"),
        ("expire", "EXPIRE {} 60"),
        ("type", "TYPE {}"),
        ("eval", "EVAL return 1 {}"),
    }
    attempts = {(called, name): command.format(key) for called, key in keys.items() for name, command in of_keys}
    plain = ["ping", "select 0", "client setname x", "script load return", "info server", "slowlog get", "slowlog len"]
    plain += ["latency latest", "latency histogram", "config get dir", "acl list", "client list", "scan 0", "keys *"]
    plain += ["dbsize", "publish c m"]
    plain += [] if owner else ["flushall", "acl setuser x", "config set maxmemory 0", "shutdown"]
    attempts |= {("server", command): command for command in plain}
    return {attempt: _lets(client, command.split()) for attempt, command in attempts.items()}


def _lets(client: Redis, words: Iterable[str]) -> bool:
    try:
        client.execute_command(*words)  # pyright: ignore[reportUnknownMemberType]
    except NoPermissionError:
        return False
    except ResponseError:
        return True
    return True
