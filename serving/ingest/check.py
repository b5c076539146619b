"""Which events keep the contract: by the code that our own producer uses, and with a reason for each that doesn't."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

import polars as pl

from serving.ingest.body import Entry
from serving.ingest.unreadable import Unreadable
from streamgauge.contract.model import Contract
from streamgauge.producer.frame import breaches, frame_of

_KINDS = {
    "string": "must be text",
    "int": "must be a whole number of 32 bits",
    "long": "must be a whole number of 64 bits",
    "double": "must be a number",
    "boolean": "must be true or false",
    "timestamp-millis": "must be milliseconds since 1970 as a whole number, or ISO 8601 text with a time zone",
    "map<string,string>": "must be an object whose values are text",
}


Wrong: TypeAlias = tuple[str | None, str]
"""A field, where it is one, and a reason."""


@dataclass(frozen=True)
class Refused:
    """The event `index`, from 0, with what is wrong. `reason` holds no value of it; `field` may be None."""

    index: int
    field: str | None
    reason: str


@dataclass(frozen=True)
class Checked:
    """`indexes` has the place in the request of each row of `events`, which all keep the contract."""

    events: pl.DataFrame
    indexes: list[int]
    refused: list[Refused]


def check(contract: Contract, entries: Sequence[Entry]) -> Checked:
    refused: list[Refused] = []
    given: list[dict[str, Any]] = []
    indexes: list[int] = []
    known = contract.field.keys()
    times = [f.name for f in contract.fields if f.type == "timestamp-millis"]
    for index, entry in enumerate(entries):
        if isinstance(entry, Unreadable):
            refused.append(Refused(index, entry.field, entry.reason))
        elif not entry.keys() <= known:
            alien = next(name for name in entry if name not in known)
            refused.append(Refused(index, alien[:64], "is no field of the contract"))
        else:
            for name in times:
                if isinstance(entry.get(name), str):
                    entry[name] = _time(entry[name])
            given.append(entry)
            indexes.append(index)
    frame, mistyped = frame_of(contract, given)
    indexes = _without(indexes, {b.row: _of_type(contract, b.rule) for b in mistyped}, refused)
    broken = {b.row: _of_rule(contract, b.rule) for b in breaches(contract, frame)}
    indexes = _without(indexes, broken, refused)
    kept = frame.filter(~pl.int_range(pl.len()).is_in(list(broken))) if broken else frame
    return Checked(kept, indexes, sorted(refused, key=lambda r: r.index))


def _without(indexes: list[int], wrong: Mapping[int, Wrong], refused: list[Refused]) -> list[int]:
    """The indexes of the other rows; those of the wrong ones are added to `refused`."""
    refused += [Refused(indexes[row], *why) for row, why in wrong.items()]
    return [index for row, index in enumerate(indexes) if row not in wrong]


def _of_type(contract: Contract, rule: str) -> Wrong:
    field = rule.partition(":")[0]
    kind = contract.field[field].type
    return field, _KINDS.get(kind, f"must be a {kind}")


def _of_rule(contract: Contract, rule: str) -> Wrong:
    field, _, reason = rule.partition(": ")
    return (field, reason) if field in contract.field else (None, rule)


def _time(text: str) -> datetime | str:
    """What is no time with a zone stays as it is, to be refused as any other value of the wrong type."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return text
    return time if time.tzinfo is not None else text
