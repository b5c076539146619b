"""What platform/access.yaml may say. docs/access.md explains each word."""

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, StringConstraints

from streamgauge.stores.ddl import RelationGroup

KafkaGroup: TypeAlias = Literal["events", "dead-letters", "counts", "worker-group"]
"""A stream's topics, and the consumer group of its workers."""
KafkaOperation: TypeAlias = Literal["read", "write", "describe"]
Privilege: TypeAlias = Literal["select", "insert", "update", "delete", "execute"]
RedisCommands: TypeAlias = Literal["read", "write", "figures"]
RedisKeys: TypeAlias = Literal["minutes", "tops"]
Monitor: TypeAlias = Literal["prometheus", "alertmanager"]
Scope: TypeAlias = Literal["read", "write", "operations", "dagster", "personal", "admin"]
Route: TypeAlias = Annotated[str, StringConstraints(pattern=r"^(GET|POST|PUT|PATCH|DELETE) /\S*$")]
Name: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RedisRights(_Part):
    commands: RedisCommands
    keys: tuple[RedisKeys, ...] = ()


class Principal(_Part):
    """A process, or several with the same login."""

    about: str
    owner: bool = False
    """All rights everywhere: by its ownership, not by grants."""
    streams: tuple[str, ...] | None = None
    """The streams whose topics it may use; None for all."""
    kafka: dict[KafkaGroup, tuple[KafkaOperation, ...]] = {}
    postgres: dict[RelationGroup, tuple[Privilege, ...]] = {}
    redis: RedisRights | None = None
    database: Name | None = None
    """A database of its own, in which it may do everything."""
    member_of: tuple[Name, ...] = ()
    """Of roles that Postgres brings."""
    monitoring: tuple[Monitor, ...] = ()


class OpenedByScope(_Part):
    about: str
    of_streams: bool = False
    """A key has it for one stream (`read:user_events`) or for all (`read:*`)."""
    routes: tuple[Route, ...] = ()
    """What a key needs it for. Of the scopes without any, the code says what they are for."""


class KindOfCaller(_Part):
    about: str
    scopes: tuple[str, ...]


class DagsterPages(_Part):
    see: tuple[str, ...]
    change: str


class Api(_Part):
    open: tuple[Route, ...]
    """Routes that need no key."""
    any: tuple[Route, ...]
    """Routes that need a key with whatever scope, and answer of the streams that it may read."""
    scopes: dict[Scope, OpenedByScope]
    callers: dict[Name, KindOfCaller]
    dagster: DagsterPages


class Access(_Part):
    principals: dict[Name, Principal]
    api: Api
