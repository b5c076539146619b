"""What the contracts ask for. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from streamgauge.contract.fingerprint import fingerprint
from streamgauge.contract.model import Contract
from streamgauge.dagster.keys import Renamed, renamed
from streamgauge.records.avro import avro_schema, counts_schema
from streamgauge.stores.ddl import Database
from streamgauge.stores.kafka import DEAD_LETTER_MAX_BYTES
from streamgauge.stores.tables import database

DEAD_LETTER_RETENTION_MS = 30 * 86_400_000
"""Longer than any stream's own: someone has to find the time to look at them."""


PRODUCER, WORKER, BATCH, API, READER = "producer", "worker", "batch", "api", "reader"
"""Kafka's users are named as the roles; the administrator is a super user and needs no ACL."""

AclResource: TypeAlias = Literal["topic", "group"]
AclVerb: TypeAlias = Literal["read", "write", "describe"]


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
class Acl:
    """`user` may do `operation` on this topic or group."""

    user: str
    resource: AclResource
    name: str
    operation: AclVerb


@dataclass(frozen=True)
class Desired:
    topics: tuple[Topic, ...]
    subjects: tuple[Subject, ...]
    acls: tuple[Acl, ...]
    database: Database
    renamed: frozenset[Renamed] = frozenset()
    contracts: Mapping[str, str] = field(default_factory=dict[str, str])
    """The fingerprint of each stream's contract."""
    personal: Mapping[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    """The personal fields of each stream."""
    expressions: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    """Of each stream, by derived field or condition."""


def desired(contracts: Iterable[Contract]) -> Desired:
    contracts = tuple(contracts)
    return Desired(
        topics=tuple(t for c in contracts for t in _topics(c)),
        subjects=tuple(s for c in contracts for s in _subjects(c)),
        acls=tuple(a for c in contracts for a in _acls(c)),
        database=database(contracts),
        renamed=renamed(contracts),
        contracts={c.stream: fingerprint(c) for c in contracts},
        personal={c.stream: c.personal for c in contracts},
        expressions={c.stream: c.expressions for c in contracts},
    )


# Makes offsets by time exact: what the broker had appended by then, whatever a client's clock said.
_LOG_APPEND = {"message.timestamp.type": "LogAppendTime"}


def _topics(c: Contract) -> list[Topic]:
    partitions = c.topic_spec.partitions
    topics = [
        Topic(
            c.topic,
            partitions,
            {**_LOG_APPEND, "cleanup.policy": "delete", "retention.ms": str(c.retention_ms)},
        ),
        Topic(
            c.dead_letter_topic,
            1,
            {
                **_LOG_APPEND,
                "cleanup.policy": "delete",
                "retention.ms": str(max(DEAD_LETTER_RETENTION_MS, c.retention_ms)),
                "max.message.bytes": str(DEAD_LETTER_MAX_BYTES),
            },
        ),
    ]
    if c.topic_spec.countsTopic:
        config = {**_LOG_APPEND, "cleanup.policy": "compact"}
        topics.append(Topic(c.topic_spec.countsTopic, partitions, config))
    return topics


def _subjects(c: Contract) -> list[Subject]:
    subjects = [Subject(c.subject, c.topic_spec.compatibility, avro_schema(c))]
    if c.counts_subject:
        subjects.append(Subject(c.counts_subject, c.topic_spec.compatibility, counts_schema(c)))
    return subjects


def _acls(c: Contract) -> list[Acl]:
    written = [c.dead_letter_topic, *([c.topic_spec.countsTopic] if c.topic_spec.countsTopic else [])]
    # Reading or writing a topic implies describing it, so no ACL says that.
    return [
        Acl(PRODUCER, "topic", c.topic, "write"),
        Acl(WORKER, "topic", c.topic, "read"),
        Acl(WORKER, "group", c.group, "read"),
        *(Acl(WORKER, "topic", t, "write") for t in written),
        Acl(BATCH, "topic", c.topic, "read"),
        Acl(BATCH, "group", c.group, "describe"),
        Acl(API, "topic", c.topic, "write"),
        *(Acl(READER, "topic", t, "read") for t in (c.topic, *written)),
        Acl(READER, "group", c.group, "describe"),
    ]
