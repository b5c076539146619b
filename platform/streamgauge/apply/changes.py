"""What `apply` can do: one class a kind of change, and how each reads."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from streamgauge.access.kafka import Acl
from streamgauge.access.redis import RedisUser
from streamgauge.apply.desired import Subject, Topic
from streamgauge.apply.generations import Pending
from streamgauge.contract.model import Contract
from streamgauge.dagster.keys import Renamed
from streamgauge.stores.ddl import Column, Function, Index, Table, View
from streamgauge.text import plural


@dataclass(frozen=True)
class CreateTopic:
    topic: Topic


@dataclass(frozen=True)
class GrowTopic:
    name: str
    partitions: int


@dataclass(frozen=True)
class SetTopicConfig:
    name: str
    config: Mapping[str, str]


@dataclass(frozen=True)
class AllowKafka:
    acl: Acl


@dataclass(frozen=True)
class ForbidKafka:
    acl: Acl


@dataclass(frozen=True)
class SetRedisRights:
    user: RedisUser
    before: RedisUser


@dataclass(frozen=True)
class SetCompatibility:
    subject: str
    before: str | None
    level: str


@dataclass(frozen=True)
class RegisterSchema:
    subject: Subject


@dataclass(frozen=True)
class CreateSchema:
    name: str


@dataclass(frozen=True)
class AllowSchema:
    name: str
    role: str


@dataclass(frozen=True)
class ForbidSchema:
    name: str
    role: str
    privilege: str


@dataclass(frozen=True)
class CreateTable:
    table: Table


@dataclass(frozen=True)
class AddColumn:
    table: str
    column: Column


@dataclass(frozen=True)
class CreateIndex:
    table: str
    index: Index


@dataclass(frozen=True)
class MakeView:
    view: View


@dataclass(frozen=True)
class MakeFunction:
    function: Function


@dataclass(frozen=True)
class AllowRelation:
    relation: str
    role: str
    privileges: tuple[str, ...]


@dataclass(frozen=True)
class ForbidRelation:
    relation: str
    role: str
    privileges: tuple[str, ...]


@dataclass(frozen=True)
class TakeUpPrincipals:
    """Remembered, so that the rights of who is taken out of the access file are found and taken away."""

    principals: frozenset[str]
    before: frozenset[str]


@dataclass(frozen=True)
class RenameAsset:
    """In what Postgres knows of an asset: its check results and alerts."""

    asset: Renamed


@dataclass(frozen=True)
class TakeUpContract:
    """Worker, API and Dagster work by it from then on."""

    contract: Contract
    before: Contract | None = None
    """As it was applied last, where that is known."""


@dataclass(frozen=True)
class FillGeneration:
    """Worker, API and Dagster work by the contract when its generation of rollups is filled."""

    pending: Pending
    hours: int
    """That are made from the lake."""
    lost: int
    """That can't be made again."""


@dataclass(frozen=True)
class DropGeneration:
    """One that was being filled."""

    stream: str
    generation: int


RegistryChange: TypeAlias = SetCompatibility | RegisterSchema
KafkaChange: TypeAlias = CreateTopic | GrowTopic | SetTopicConfig | AllowKafka | ForbidKafka
RedisChange: TypeAlias = SetRedisRights
PostgresChange: TypeAlias = (
    CreateSchema
    | AllowSchema
    | ForbidSchema
    | CreateTable
    | AddColumn
    | CreateIndex
    | MakeView
    | MakeFunction
    | AllowRelation
    | ForbidRelation
    | TakeUpPrincipals
    | RenameAsset
    | TakeUpContract
    | FillGeneration
    | DropGeneration
)
Change: TypeAlias = RegistryChange | KafkaChange | RedisChange | PostgresChange


@dataclass(frozen=True)
class Described:
    action: str
    target: str
    detail: str


def describe(change: Change) -> Described:
    match change:
        case CreateTopic(topic):
            detail = f"{topic.partitions} partitions, {_text(topic.config)}"
            return Described("create", f"topic {topic.name}", detail)
        case GrowTopic(name, partitions):
            return Described("change", f"topic {name}", f"{partitions} partitions; it was never written to")
        case SetTopicConfig(name, config):
            return Described("change", f"topic {name}", _text(config))
        case AllowKafka(acl):
            return Described("allow", f"{acl.resource} {acl.name}", f"{acl.user}: {acl.operation}")
        case ForbidKafka(acl):
            more = "" if acl.pattern == "literal" else f" and whatever begins so ({acl.pattern})"
            return Described("forbid", f"{acl.resource} {acl.name}", f"{acl.user}: {acl.operation}{more}")
        case SetRedisRights(user, before):
            return Described("change", f"redis user {user.name}", "; ".join(_redis_rights(user, before)))
        case SetCompatibility(subject, before, level):
            detail = f"compatibility {level}, was {before or 'not set'}"
            return Described("change", f"subject {subject}", detail)
        case RegisterSchema(subject):
            return Described("register", f"subject {subject.name}", f"{len(subject.schema['fields'])} fields")
        case CreateSchema(name):
            return Described("create", f"schema {name}", "")
        case AllowSchema(name, role):
            return Described("allow", f"schema {name}", f"{role}: usage")
        case ForbidSchema(name, role, privilege):
            return Described("forbid", f"schema {name}", f"{role}: {privilege.lower()}")
        case CreateTable(table):
            kind = "hypertable" if table.time else "table"
            return Described("create", f"{kind} {table.name}", f"key {', '.join(table.primary_key)}")
        case AddColumn(table, column):
            return Described("change", f"table {table}", f"new column {column.name} {column.type}")
        case CreateIndex(table, index):
            return Described("create", f"index {index.name}", f"on {table} ({', '.join(index.columns)})")
        case MakeView(view):
            return Described("create", f"view {view.name}", "")
        case MakeFunction(function):
            return Described("create", f"function {function.name}", "")
        case AllowRelation(relation, role, privileges):
            return Described("allow", f"table {relation}", f"{role}: {', '.join(privileges).lower()}")
        case ForbidRelation(relation, role, privileges):
            return Described("forbid", f"table {relation}", f"{role}: {', '.join(privileges).lower()}")
        case TakeUpPrincipals(principals, before):
            message = [f"with {', '.join(sorted(principals - before))}"] if principals - before else []
            message += [f"without {', '.join(sorted(before - principals))}"] if before - principals else []
            return Described("change", "access", "; ".join(message))
        case TakeUpContract(contract, before):
            consequences = [*_reclassified(contract, before), *_recomputed(contract, before)] if before else []
            detail = "; ".join(["for worker, API and Dagster to work by", *consequences])
            return Described("change", f"contract {contract.stream}", detail)
        case FillGeneration(pending, hours, lost):
            contract = pending.contract
            detail = f"{', '.join(pending.reasons)}: generation {contract.generation} will be made of the lake, "
            detail += f"{plural(hours - lost, 'hour')}, and read once all are there"
            if lost:
                detail += f"; {plural(lost, 'hour')} before that will be empty: their facts are kept no longer"
            return Described("rebuild", f"rollups {contract.stream}", detail)
        case DropGeneration(stream, generation):
            return Described("drop", f"rollups {stream}", f"generation {generation}, which was being filled")
        case RenameAsset((_, former, name)):
            return Described("rename", f"asset {former}", f"to {name}, in check results and alerts")


def _redis_rights(user: RedisUser, before: RedisUser) -> Iterator[str]:
    for word, more, less in (
        ("keys", user.keys - before.keys, before.keys - user.keys),
        ("commands", user.commands - before.commands, before.commands - user.commands),
        ("rules", user.beyond - before.beyond, before.beyond - user.beyond),
    ):
        if more:
            yield f"may use the {word} {', '.join(sorted(more))}"
        if less:
            yield f"no longer the {word} {', '.join(sorted(less))}"


def _reclassified(contract: Contract, before: Contract) -> Iterator[str]:
    if new := sorted(contract.personal - before.personal):
        yield (
            f"personal from now on: {', '.join(new)}, pseudonyms in rollups and top lists; rows from before keep the"
            " values until `streamgauge rebuild` and `streamgauge backfill` make them again"
        )
    if gone := sorted(before.personal - contract.personal):
        yield (
            f"personal no more: {', '.join(gone)}, which all who may read the stream see from now on; rows from before"
            " keep pseudonyms until they are made again"
        )


def _recomputed(contract: Contract, before: Contract) -> Iterator[str]:
    known = before.expressions
    if others := sorted(name for name, text in contract.expressions.items() if known.get(name, text) != text):
        yield f"computed otherwise from now on: {', '.join(others)}, but what was counted stays as it is"


def _text(config: Mapping[str, str]) -> str:
    return ", ".join(f"{k}={v}" for k, v in config.items())
