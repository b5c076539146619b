"""What a topic's fields seem to be. Pure."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, cast

from streamgauge.adopt.sample import Topic
from streamgauge.contract.model import FieldType, TimeFormat
from streamgauge.contract.paths import steps

_MOSTLY = 0.95
"""The share of values that decides: a sample may have a few odd records."""
_FEW = 20
"""Different values that a dimension may have."""
_DIMENSIONS, _MEASURES = 3, 3
"""So many are proposed at most."""
_TIME_WORDS = re.compile(r"(^|_)(time|timestamp|ts|date|at|on|created|updated|occurred|happened|placed)(_|$)")
_ID_WORDS = re.compile(r"(^|_)(id|uuid|guid|key|number|no)$")
_NUMBER_WORDS = re.compile(r"(^|_)(amount|price|total|sum|cost|fee|tax|quantity|value|rate|weight)(_|$)")
_PERSONAL_WORDS = re.compile(
    r"(^|_)(e?mail|phone|mobile|street|zip|postcode|birthday|birth_date|iban|ip|first_name|last_name|surname"
    r"|(user|customer|person)(_id|_name|_number)?)$"
)
_DECIMAL = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")
_EPOCHS: tuple[tuple[TimeFormat, float], ...] = (("epoch-s", 1e9), ("epoch-ms", 1e12), ("epoch-us", 1e15))
"""What times of 2001 to 2065 are at least in each, and three times as much at most."""


@dataclass(frozen=True)
class Guess:
    """A field. `share` is how many of the sample's records have a value that fits, between 0 and 1."""

    name: str
    path: str
    type: FieldType
    share: float
    required: bool
    longest: int
    distinct: int
    distinct_share: float
    time_format: TimeFormat | None
    key_share: float
    """In how many records it is what the key says."""

    @property
    def personal(self) -> bool:
        return _PERSONAL_WORDS.search(self.name) is not None

    @property
    def is_number(self) -> bool:
        return self.type in ("int", "long", "double")


@dataclass(frozen=True)
class Shape:
    """A topic's fields and the parts that some of them play; `event_id` is None where none names events."""

    fields: tuple[Guess, ...]
    event_id: Guess | None
    event_time: Guess | None
    key: Guess | None
    dimensions: tuple[Guess, ...]
    measures: tuple[Guess, ...]
    lists: tuple[str, ...]
    """Paths of lists; one of their entries may be a field."""
    left_out: tuple[str, ...]
    """Paths and names that no field can be made of."""


@dataclass
class _Seen:
    values: list[Any] = field(default_factory=list[Any])
    keyed: int = 0


def shape_of(topic: Topic) -> Shape:
    total = len(topic.sampled)
    seen: dict[str, _Seen] = defaultdict(_Seen)
    lists: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    kinds = None if topic.schema is None else _avro_types(topic.schema)
    for one in topic.sampled:
        for keys, value in _leaves(one.record, (), nested=kinds is None):
            path = ".".join(keys)
            if steps(path) != keys or (kinds is not None and path not in kinds):
                left_out[path] += 1
            elif isinstance(value, list):
                lists[path] += 1
            elif value is not None:
                seen[path].values.append(value)
                seen[path].keyed += one.key is not None and str(value) == one.key

    def common(paths: Counter[str]) -> tuple[str, ...]:
        # what is rare may be a value that stands in the place of a name
        return tuple(path for path, count in paths.items() if count > (1 - _MOSTLY) * total)

    fields = [
        _guess(path, found, total, None if kinds is None else kinds[path])
        for path, found in seen.items()
        if path not in lists
    ]
    return _with_parts(
        _named(f for f in fields if f.share > 1 - _MOSTLY and not _within_value(f.path, fields)),
        common(lists),
        common(left_out),
    )


def _within_value(path: str, fields: Sequence[Guess]) -> bool:
    """Whether some records have a value where others have the object that the path leads into."""
    return any(path.startswith(f"{f.path}.") and f.share > 1 - _MOSTLY for f in fields)


def _leaves(value: Mapping[str, Any], at: tuple[str, ...], nested: bool) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, within in value.items():
        if isinstance(within, dict) and nested:
            yield from _leaves(cast(dict[str, Any], within), (*at, key), nested)
        else:
            yield (*at, key), within


def _avro_types(schema: dict[str, Any]) -> dict[str, FieldType]:
    """Of the fields that a contract has a type for."""
    found: dict[str, FieldType] = {}
    for f in schema.get("fields", ()):
        kind = f["type"]
        if isinstance(kind, list):
            branches = [b for b in cast(list[Any], kind) if b != "null"]
            kind = branches[0] if len(branches) == 1 else None
        if isinstance(kind, dict):
            built = cast(dict[str, Any], kind)
            logical = built.get("logicalType")
            kind = built["type"] if logical in (None, "uuid") else logical
        plain: dict[Any, FieldType] = {"string": "string", "int": "int", "long": "long", "boolean": "boolean"}
        plain |= {"float": "double", "double": "double", "timestamp-millis": "timestamp-millis"}
        if isinstance(kind, str) and kind in plain:
            found[f["name"]] = plain[kind]
    return found


def _guess(path: str, seen: _Seen, total: int, kind: FieldType | None) -> Guess:
    name = re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", path).lower()).strip("_") or "field"
    name = f"field_{name}" if name[0].isdigit() else name
    written: TimeFormat | None = None
    if kind is None:
        kind, written = _type_of(name, seen.values)
        fitting = [v for v in seen.values if _FITS[kind](v, written)]
    else:
        fitting = seen.values
    different = len(set(map(str, fitting)))
    return Guess(
        name=name,
        path=path,
        type=kind,
        share=len(fitting) / total,
        required=len(fitting) == total,
        longest=max((len(str(v)) for v in fitting), default=0),
        distinct=different,
        distinct_share=different / len(fitting) if fitting else 0.0,
        time_format=written,
        key_share=seen.keyed / total,
    )


def _type_of(name: str, values: Sequence[Any]) -> tuple[FieldType, TimeFormat | None]:
    def mostly(fits: Callable[[Any], bool]) -> bool:
        return sum(map(fits, values)) >= _MOSTLY * len(values)

    if mostly(lambda v: isinstance(v, bool)):
        return "boolean", None
    if mostly(_is_rfc3339):
        return "timestamp-millis", "rfc3339"
    if _TIME_WORDS.search(name):
        for written, least in _EPOCHS:
            if mostly(lambda v, least=least: _is_number(v) and least <= float(v) < 3 * least):
                return "timestamp-millis", written
    if mostly(_is_whole) and not any(isinstance(v, str) for v in values):
        return "long", None
    numbers = sum(_is_number(v) for v in values) >= _MOSTLY * len(values)
    texts = sum(isinstance(v, str) for v in values)
    if numbers and (texts < (1 - _MOSTLY) * len(values) or _NUMBER_WORDS.search(name)):
        return "double", None
    return "string", None


def _is_number(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, str):
        return _DECIMAL.fullmatch(value) is not None
    return isinstance(value, int | float) and math.isfinite(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


def _is_rfc3339(value: Any) -> bool:
    if not isinstance(value, str) or len(value) < len("2026-01-01T00:00:00Z"):
        return False
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


_FITS: dict[str, Callable[[Any, TimeFormat | None], bool]] = {
    "boolean": lambda v, _: isinstance(v, bool),
    "long": lambda v, _: _is_whole(v),
    "double": lambda v, _: _is_number(v),
    "string": lambda v, _: isinstance(v, str | int | float),
    "timestamp-millis": lambda v, written: _is_rfc3339(v) if written == "rfc3339" else _is_number(v),
}


def _named(fields: Iterable[Guess]) -> tuple[Guess, ...]:
    """Each with a name of its own."""
    used: set[str] = set()
    built: list[Guess] = []
    for f in fields:
        name, n = f.name, 2
        while name in used:
            name, n = f"{f.name}_{n}", n + 1
        used.add(name)
        built.append(replace(f, name=name))
    return tuple(built)


def _with_parts(fields: tuple[Guess, ...], lists: tuple[str, ...], left_out: tuple[str, ...]) -> Shape:
    common = [f for f in fields if f.share >= _MOSTLY]
    ids = [f for f in common if f.type in ("string", "long") and f.distinct_share >= _MOSTLY and f.distinct > _FEW]
    ids.sort(key=lambda f: (_ID_WORDS.search(f.name) is None, f.path.count("."), -f.distinct_share))
    event_id = ids[0] if ids and _ID_WORDS.search(ids[0].name) else None
    times = [f for f in common if f.type == "timestamp-millis"]
    times.sort(key=lambda f: (-round(f.share, 2), _TIME_WORDS.search(f.name) is None, f.path.count(".")))
    keys = sorted((f for f in fields if f.key_share >= _MOSTLY), key=lambda f: -f.key_share)
    spoken_for = {event_id, *times[:1], *keys[:1]}
    free = [f for f in fields if f not in spoken_for and not f.personal and not _ID_WORDS.search(f.name)]
    dimensions = [f for f in free if f.type in ("string", "boolean") and 1 < f.distinct <= _FEW]
    measures = [f for f in free if f.is_number and f.distinct > 1]
    return Shape(
        fields,
        event_id,
        times[0] if times else None,
        keys[0] if keys else None,
        tuple(dimensions[:_DIMENSIONS]),
        tuple(measures[:_MEASURES]),
        lists,
        left_out,
    )
