"""What a contract says of a stream's fields and numbers, for people who look for the right one."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from streamgauge.contract.measures import Named
from streamgauge.contract.model import Contract, FieldSpec

DIMENSION, DISTINCT, COUNT, MEASURE, RATIO, TOP = "dimension", "distinct", "count", "measure", "ratio", "top"
_PARTITION_KEY = "partition key"


@dataclass(frozen=True)
class FieldEntry:
    """A field of the stream's events, what holds of its values, and what is made of it."""

    name: str
    type: str
    required: bool
    classification: str
    description: str
    allowed: tuple[str, ...]
    """What holds of its values: a record with another becomes a dead letter."""
    read_from: str
    """Where a record of a JSON source has it; else empty."""
    used_as: tuple[str, ...]
    """Such as `event time`, or the number's kind and name."""


@dataclass(frozen=True)
class NumberEntry:
    """A number, a dimension or a top list. `personal` ones are shown as pseudonyms."""

    name: str
    kind: str
    definition: str
    personal: bool


def described_fields(contract: Contract) -> list[FieldEntry]:
    used: dict[str, list[str]] = {f.name: [] for f in contract.fields}
    for name, use in _uses(contract):
        if use not in used[name]:
            used[name].append(use)
    return [
        FieldEntry(
            f.name,
            f.type,
            f.required,
            f.classification,
            f.description,
            (*_allowed(f), *_together(contract, f)),
            f.path,
            tuple(used[f.name]),
        )
        for f in contract.fields
    ]


def described_numbers(contract: Contract) -> list[NumberEntry]:
    """Dimensions first, then what is counted and measured by them, then the top lists."""
    rollup = contract.rollup
    parts: list[tuple[str, Named, str]] = [
        *((DIMENSION, d, d.source) for d in rollup.dimensions),
        *((COUNT, c, f"events where {c.where}") for c in rollup.counts),
        *((MEASURE, m, m.source if m.where is None else f"{m.source} where {m.where}") for m in rollup.measures),
        *((RATIO, r, f"{r.of} / {r.to}") for r in rollup.ratios),
        *((DISTINCT, d, f"how many different {d.source}") for d in rollup.distinct),
        *((TOP, t, f"the most frequent {t.source}") for t in rollup.top),
    ]
    return [NumberEntry(part.name, kind, text, contract.is_personal(part)) for kind, part, text in parts]


def _allowed(field: FieldSpec) -> Iterator[str]:
    least, most = field.min_length, field.max_length
    if least is not None or most is not None:
        yield f"{_range(least, most)} characters"
    if field.pattern is not None:
        yield f"matches {field.pattern}"
    if field.minimum is not None or field.maximum is not None:
        yield _range(*(b if b is None else _bound(field, b) for b in (field.minimum, field.maximum)))
    if field.allowed:
        yield f"one of {', '.join(field.allowed)}"
    if field.finite:
        yield "a finite number"


def _range(least: int | str | None, most: int | str | None) -> str:
    if most is None:
        return f"at least {least}"
    return f"at most {most}" if least is None else f"{least} to {most}"


def _bound(field: FieldSpec, bound: float) -> str:
    if field.type == "timestamp-millis":
        return f"{datetime.fromtimestamp(bound / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
    return f"{bound:g}"


def _together(contract: Contract, field: FieldSpec) -> Iterator[str]:
    for rule in contract.together:
        if field.name in rule.fields:
            yield f"only together with {', '.join(name for name in rule.fields if name != field.name)}"


def _uses(contract: Contract) -> Iterator[tuple[str, str]]:
    """Fields with what is made of them."""
    yield contract.event_id, "event id"
    yield contract.event_time, "event time"
    if contract.own_topic is not None:
        yield contract.own_topic.partitionKey, _PARTITION_KEY
    elif contract.source is not None and contract.source.key is not None:
        yield contract.source.key, _PARTITION_KEY
    if contract.reference is not None:
        yield contract.reference.key, f"key of the reference table {contract.reference.name}"
    rollup = contract.rollup
    parts = [
        *((DIMENSION, d) for d in rollup.dimensions),
        *((COUNT, c) for c in rollup.counts),
        *((MEASURE, m) for m in rollup.measures),
        *((DISTINCT, d) for d in rollup.distinct),
        *((TOP, t) for t in rollup.top),
    ]
    for kind, part in parts:
        for read in contract.read_of(part):
            name = read.partition(".")[0]
            if name in contract.field:
                yield name, f"{kind} {part.name}"
            elif contract.reference is not None:
                yield contract.reference.key, f"{kind} {part.name}, by the reference table"
