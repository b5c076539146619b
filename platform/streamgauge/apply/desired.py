"""What the contracts and the access file ask for. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from streamgauge.access.kafka import Acl, acls
from streamgauge.access.model import Access
from streamgauge.access.postgres import grants, roles
from streamgauge.access.redis import RedisUser, users
from streamgauge.contract.model import Contract
from streamgauge.contract.promises import source_promises
from streamgauge.dagster.keys import Renamed, renamed
from streamgauge.records.avro import avro_schema, counts_schema
from streamgauge.stores.ddl import Database, Grant
from streamgauge.stores.kafka import DEAD_LETTER_MAX_BYTES, TIMESTAMP_TYPE
from streamgauge.stores.tables import database

DEAD_LETTER_RETENTION_MS = 30 * 86_400_000
"""Longer than any stream's own: someone has to find the time to look at them."""


@dataclass(frozen=True)
class Topic:
    name: str
    partitions: int
    config: Mapping[str, str]


@dataclass(frozen=True)
class Subject:
    name: str
    level: str
    schema: Mapping[str, Any]


@dataclass(frozen=True)
class ReadTopic:
    """A topic that somebody else makes, and what is promised of the stream that is read from it."""

    name: str
    promises: tuple[str, ...]


@dataclass(frozen=True)
class Desired:
    topics: tuple[Topic, ...]
    subjects: tuple[Subject, ...]
    database: Database
    principals: frozenset[str] = frozenset()
    acls: tuple[Acl, ...] = ()
    roles: tuple[str, ...] = ()
    """Those that may use the schema in Postgres."""
    grants: tuple[Grant, ...] = ()
    redis_users: tuple[RedisUser, ...] = ()
    read_topics: tuple[ReadTopic, ...] = ()
    groups: frozenset[str] = frozenset()
    """The consumer groups of the streams' workers."""
    renamed: frozenset[Renamed] = frozenset()
    contracts: Mapping[str, Contract] = field(default_factory=dict[str, Contract])
    """By stream."""


def desired(contracts: Iterable[Contract], access: Access) -> Desired:
    contracts = tuple(contracts)
    wanted = database(contracts)
    return Desired(
        topics=tuple(t for c in contracts for t in _topics(c)),
        subjects=tuple(s for c in contracts for s in _subjects(c)),
        database=wanted,
        principals=frozenset(access.principals),
        acls=acls(access, contracts),
        roles=roles(access),
        grants=grants(access, wanted),
        redis_users=users(access),
        read_topics=tuple(ReadTopic(c.topic, source_promises(c)) for c in contracts if c.source is not None),
        groups=frozenset(c.group for c in contracts),
        renamed=renamed(contracts),
        contracts={c.stream: c for c in contracts},
    )


# Makes offsets by time exact: what the broker had appended by then, whatever a client's clock said.
_LOG_APPEND = {TIMESTAMP_TYPE: "LogAppendTime"}


def _topics(c: Contract) -> list[Topic]:
    dead_letters = Topic(
        c.dead_letter_topic,
        1,
        {
            **_LOG_APPEND,
            "cleanup.policy": "delete",
            "retention.ms": str(max(DEAD_LETTER_RETENTION_MS, c.retention_ms)),
            "max.message.bytes": str(DEAD_LETTER_MAX_BYTES),
        },
    )
    if c.source is not None:
        return [dead_letters]
    partitions = c.topic_spec.partitions
    config = {**_LOG_APPEND, "cleanup.policy": "delete", "retention.ms": str(c.retention_ms)}
    topics = [Topic(c.topic, partitions, config), dead_letters]
    if c.counts_topic:
        topics.append(Topic(c.counts_topic, partitions, {**_LOG_APPEND, "cleanup.policy": "compact"}))
    return topics


def _subjects(c: Contract) -> list[Subject]:
    if c.source is not None:
        return []
    subjects = [Subject(c.subject, c.topic_spec.compatibility, avro_schema(c))]
    if c.counts_subject:
        subjects.append(Subject(c.counts_subject, c.topic_spec.compatibility, counts_schema(c)))
    return subjects
