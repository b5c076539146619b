"""What the contracts and the access file ask for. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from streamgauge.access.kafka import Acl, acls
from streamgauge.access.model import Access
from streamgauge.access.postgres import grants, roles
from streamgauge.access.redis import RedisUser, users
from streamgauge.apply.generations import Generations, Pending
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
    """By stream, those to be worked by now."""
    pending: Mapping[str, Pending] = field(default_factory=dict[str, Pending])
    """By stream, those to be worked by when their generation of rollups is filled."""
    unneeded: tuple[tuple[str, int], ...] = ()
    """Generations that were to be filled and nobody asks for any more."""
    unreadable: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """By stream, what a contract no longer has and its present rollups are made of."""


def desired(contracts: Iterable[Contract], access: Access, generations: Generations | None = None) -> Desired:
    """`generations` says which contracts need a new one; without it none does."""
    generations = generations or Generations(tuple(contracts))
    contracts, pending = generations.contracts, tuple(p.contract for p in generations.pending)
    wanted = database(contracts, pending)
    return Desired(
        topics=(*(t for c in contracts for t in _topics(c)), *(t for c in pending for t in _counts_topics(c))),
        subjects=(*(s for c in contracts for s in _subjects(c)), *(s for c in pending for s in _counts_subjects(c))),
        database=wanted,
        principals=frozenset(access.principals),
        acls=acls(access, (*contracts, *pending)),
        roles=roles(access),
        grants=grants(access, wanted),
        redis_users=users(access),
        read_topics=tuple(ReadTopic(c.topic, source_promises(c)) for c in contracts if c.source is not None),
        groups=frozenset(c.group for c in contracts),
        renamed=renamed(contracts),
        contracts={c.stream: c for c in contracts},
        pending={p.contract.stream: p for p in generations.pending},
        unneeded=generations.unneeded,
        unreadable=generations.unreadable,
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
    return [Topic(c.topic, partitions, config), dead_letters, *_counts_topics(c)]


def _counts_topics(c: Contract) -> list[Topic]:
    if c.counts_topic is None:
        return []
    return [Topic(c.counts_topic, c.topic_spec.partitions, {**_LOG_APPEND, "cleanup.policy": "compact"})]


def _subjects(c: Contract) -> list[Subject]:
    if c.source is not None:
        return []
    return [Subject(c.subject, c.topic_spec.compatibility, avro_schema(c)), *_counts_subjects(c)]


def _counts_subjects(c: Contract) -> list[Subject]:
    if c.counts_subject is None:
        return []
    return [Subject(c.counts_subject, c.topic_spec.compatibility, counts_schema(c))]
