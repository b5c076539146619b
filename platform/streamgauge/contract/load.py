"""From a file to a contract.

The file format is the Open Data Contract Standard 3.1 (https://bitol-io.github.io/open-data-contract-standard/).
What ODCS has no field for stands in its `customProperties`.
"""

import math
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from copy import deepcopy
from datetime import UTC, date, datetime
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, TypeVar, cast

from open_data_contract_standard.model import DataQuality, OpenDataContractStandard, SchemaProperty
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from streamgauge.contract.check import ContractFile, Placed, Places, check_contract, check_together
from streamgauge.contract.document import ContractMistake, Document, Place, inside, read_document, refuse
from streamgauge.contract.measures import condition
from streamgauge.contract.model import (
    FIELD_TYPES,
    TIME_FORMATS,
    AnomaliesSpec,
    ChecksSpec,
    Contract,
    Count,
    DeadLetterSpec,
    Expression,
    FieldSpec,
    Measure,
    Named,
    NumberAlert,
    Ratio,
    ReferenceSpec,
    RollupSpec,
    Source,
    SourceSpec,
    TimeSpec,
    Together,
    Top,
    TopicSpec,
    app_topic,
)
from streamgauge.errors import UserError
from streamgauge.expression.compile import read_expression
from streamgauge.expression.parse import ExpressionError, names
from streamgauge.expression.scope import Scope
from streamgauge.expression.values import NAMES

T = TypeVar("T")

_BLOCKS = (
    "source",
    "topic",
    "time",
    "deadLetters",
    "reference",
    "derived",
    "rollup",
    "star",
    "checks",
    "anomalies",
    "alerts",
)
_UNIT_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_PERIODS = (
    "freshness",
    "hourlyFreshness",
    "dailyFreshness",
    "retention",
    "lakeRetention",
    "factsRetention",
    "minutesRetention",
)
_MAX_LENGTH = 1_000_000
_MAX_PERIOD_MS = 100 * 366 * _UNIT_MS["d"]
"""No one keeps data longer, and what Kafka and Postgres count in has room for it."""
_RECORD: Place = ("schema", 0)


def load_contracts(folder: Path) -> tuple[Contract, ...]:
    """Every contract in `folder`, by stream name. Raises UserError naming each mistake of each file."""
    read = [read_contract(f) for f in contract_files(folder)]
    check_together(read)
    wrong = [f.document for f in read if f.document.mistakes]
    refuse([m for d in wrong for m in d.mistakes], [d.path for d in wrong])
    return tuple(f.contract for f in read if f.contract is not None)


def contract_files(folder: Path) -> list[Path]:
    """Raises UserError where there is none."""
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise UserError(
            f"no contract in {folder}",
            "put one YAML file a stream there, or set STREAMGAUGE_CONTRACTS_DIR",
        )
    return files


def mistakes_in(files: Iterable[Path]) -> list[ContractMistake]:
    """Of each contract alone, and of all together."""
    read = [read_contract(f) for f in files]
    check_together(read)
    return [m for f in read for m in f.document.mistakes]


def find_contract(contracts: Iterable[Contract], stream: str) -> Contract:
    by_name = {c.stream: c for c in contracts}
    if stream not in by_name:
        raise UserError(f"there is no stream {stream!r}", f"the streams are {', '.join(sorted(by_name))}")
    return by_name[stream]


def load_contract(path: Path) -> Contract:
    read = read_contract(path)
    refuse(read.document.mistakes, [path])
    assert read.contract is not None
    return read.contract


def read_contract(path: Path) -> ContractFile:
    """What can be made of the file. Its document has the mistakes. Raises UserError where it can't be read."""
    document = read_document(path)
    if not isinstance(document.data, dict):
        return ContractFile(document, None, Places((), (), {}))
    loader = _Loader(document)
    return ContractFile(document, loader.contract(), loader.places)


class _Loader:
    """Makes what can be made of a document, and leaves out what is mistaken, so that the rest is looked at too."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._add = document.add
        self._blocks: dict[str, tuple[Place, Any]] = {}
        self.places = Places((), (), {})
        self._unclear: set[str] = set()
        """What can't be said of expressions that name it: a field or a derived field with a mistake."""

    def contract(self) -> Contract | None:
        odcs = self._odcs()
        if odcs is None:
            return None
        if odcs.apiVersion is None or not odcs.apiVersion.startswith("v3."):
            self._add(("apiVersion",), f"{_shown(odcs.apiVersion)} must be v3.x")
        self._find_blocks(odcs)
        schemas = odcs.schema_ or []
        if len(schemas) != 1:
            self._add(("schema",), f"has {len(schemas)} objects; it must have exactly one, the stream's record")
            return None
        schema = schemas[0]
        stream = schema.name or ""
        if re.search(r"_g\d+$", stream):
            self._add((*_RECORD, "name"), f"{stream!r} ends as the tables of another stream's later rollups do")
        if not stream.isidentifier() or not stream.isascii() or stream.lower() != stream:
            self._add((*_RECORD, "name"), f"{_shown(schema.name)} must be a lower-case name: letters, digits and _")
        properties = list(enumerate(schema.properties or []))
        fields = [self._field(p, (*_RECORD, "properties", i)) for i, p in properties]
        keys = [p.name for _, p in properties if p.primaryKey]
        times = [f.name for f in fields if f.type == "timestamp-millis"]
        if len(keys) != 1 or not keys[0]:
            self._add((*_RECORD, "properties"), f"has {len(keys)} with primaryKey; the event id must be exactly one")
        if not times:
            self._add(
                (*_RECORD, "properties"), "has no physicalType timestamp-millis: the event time is the first of them"
            )
        if not getattr(odcs.team, "name", None):
            self._add(("team", "name"), "is missing: every stream has an owner; name the team")
        reference = self._block("reference", ReferenceSpec) if "reference" in self._blocks else None
        derived = self._derived(fields, reference)
        rollup, sources = self._rollup()
        conditions = self._conditions(sources, fields, reference, derived)
        star = rollup.dimensions
        if "star" in self._blocks:
            at, value = self._blocks["star"]
            built = self._sources(value, at, Source, "star")
            sources += built
            star = tuple(s.source for s in built if isinstance(s.source, Source))
        source = self._block("source", SourceSpec) if "source" in self._blocks else None
        topic = self._block("topic", TopicSpec) if "topic" in self._blocks else None
        time = self._block("time", TimeSpec)
        dead_letters = self._block("deadLetters", DeadLetterSpec)
        checks = self._block("checks", ChecksSpec) if "checks" in self._blocks else ChecksSpec()
        anomalies = self._block("anomalies", AnomaliesSpec) if "anomalies" in self._blocks else AnomaliesSpec()
        alerts: list[Placed] = []
        if "alerts" in self._blocks:
            at, value = self._blocks["alerts"]
            alerts = self._sources(value, at, NumberAlert, "alerts")
        together = self._together(schema.quality or [])
        periods = self._periods()
        if len(keys) != 1 or not keys[0] or not times:
            return None
        contract = Contract(
            stream=stream,
            version=odcs.version or "0.0.0",
            owner=str(getattr(odcs.team, "name", "")),
            purpose=(odcs.description.purpose if odcs.description else None) or "",
            topic=source.topic if source else schema.physicalName or app_topic(stream),
            fields=tuple(fields),
            together=tuple(together),
            derived=derived,
            conditions=conditions,
            event_id=keys[0],
            event_time=times[0],
            source=source,
            own_topic=None if source else topic or TopicSpec(partitions=1, partitionKey=keys[0]),
            time=time or TimeSpec(**_ANY_TIME),
            dead_letters=dead_letters or DeadLetterSpec(limit=1, perSeconds=1),
            rollup=rollup,
            star=star,
            checks=checks or ChecksSpec(),
            anomalies=anomalies or AnomaliesSpec(),
            alerts=tuple(a.source for a in alerts if isinstance(a.source, NumberAlert)),
            reference=reference,
            retention_ms=periods["retention"],
            freshness_ms=periods["freshness"],
            hourly_freshness_ms=periods.get("hourlyFreshness", 3 * _UNIT_MS["h"]),
            daily_freshness_ms=periods.get("dailyFreshness", 30 * _UNIT_MS["h"]),
            lake_retention_ms=periods.get("lakeRetention"),
            facts_retention_ms=periods.get("factsRetention"),
            minutes_retention_ms=periods.get("minutesRetention"),
        )
        self.places = Places(sources, alerts, {n: at for n, (at, _) in self._blocks.items()}, self._unclear)
        check_contract(contract, self.places, self._document)
        return contract

    def _odcs(self) -> OpenDataContractStandard | None:
        """A value that the standard has no room for is reported and removed, until the rest can be read."""
        data = deepcopy(self._document.data)
        for _ in range(100):
            try:
                return OpenDataContractStandard.model_validate(data)
            except ValidationError as e:
                for error in e.errors():
                    place = _place_of(data, error)
                    self._add(place, _explained(error))
                    _take_out(data, place)
        return None

    def _find_blocks(self, odcs: OpenDataContractStandard) -> None:
        for i, custom in enumerate(odcs.customProperties or []):
            at, name = ("customProperties", i), custom.property
            if name not in _BLOCKS:
                self._add(at, f"{_shown(name)} is not known; known are {', '.join(_BLOCKS)}")
            elif name in self._blocks:
                self._add(at, f"{name} stands twice; leave one of them")
            else:
                self._blocks[name] = ((*at, "value"), custom.value)
        for name in ("topic", "time", "deadLetters", "rollup"):
            if name not in self._blocks and not (name == "topic" and "source" in self._blocks):
                self._add(("customProperties",), f"has no {name}")
        if "source" in self._blocks and "topic" in self._blocks:
            self._add(self._blocks["topic"][0], "is for a topic that the platform makes; leave it out beside a source")

    def _block(self, name: str, kind: type[T]) -> T | None:
        at, value = self._blocks.get(name, (("customProperties",), None))
        return self._valid(value, at, kind)

    def _valid(self, value: Any, at: Place, kind: type[T]) -> T | None:
        try:
            return TypeAdapter(kind).validate_python(value)
        except ValidationError as e:
            for error in e.errors():
                self._add((*at, *_place_of(value, error)), _explained(error))
            return None

    def _rollup(self) -> tuple[RollupSpec, list[Placed]]:
        at, value = self._blocks.get("rollup", (("customProperties",), {}))
        if not isinstance(value, dict):
            self._add(at, "must hold keys and values")
            return RollupSpec(dimensions=()), []
        block = cast(dict[str, Any], value)
        kinds: dict[str, type[Named]] = {
            "dimensions": Source,
            "distinct": Source,
            "counts": Count,
            "measures": Measure,
            "top": Top,
            "ratios": Ratio,
        }
        for key in block:
            if key not in kinds:
                self._add((*at, key), f"is not known; known are {', '.join(kinds)}")
        if "dimensions" not in block:
            self._add((*at, "dimensions"), "is missing")
        placed = {k: self._sources(block.get(k, []), (*at, k), kind, k) for k, kind in kinds.items()}
        built: Any = {k: tuple(s.source for s in found) for k, found in placed.items()}
        return RollupSpec(**built), [s for found in placed.values() for s in found]

    def _derived(self, fields: Sequence[FieldSpec], reference: ReferenceSpec | None) -> tuple[Expression, ...]:
        at, value = self._blocks.get("derived", (("customProperties",), {}))
        self._unclear = {f.name for i, f in enumerate(fields) if self._document.mistaken((*_RECORD, "properties", i))}
        if "reference" in self._blocks and reference is None:
            self._unclear.add("reference")
        if not isinstance(value, dict):
            self._add(at, "must hold names, each with its expression")
            return ()
        known = {f.name: f for f in fields}
        texts = {n: t for n, t in cast(dict[str, Any], value).items() if self._is_derived_field((*at, n), n, t, known)}
        built: dict[str, Expression] = {}
        for name in self._in_order(at, texts):
            read = self._expression(name, texts[name], (*at, name), Scope(known, reference, built))
            if read is None:
                self._unclear.add(name)
            else:
                built[name] = read
        return tuple(built.values())

    def _is_derived_field(self, place: Place, name: str, text: Any, fields: Container[str]) -> bool:
        if self._valid({"name": name}, place, Named) is None:
            return False
        if name in fields or name == "reference":
            what = "a field" if name in fields else "what the reference's columns are named by"
            self._add(place, f'"{name}" is {what} already; give the derived field another name')
        elif not isinstance(text, str):
            self._add(place, f"{_shown(text)} must be an expression; put it in quotes")
            self._unclear.add(name)
        else:
            return True
        return False

    def _in_order(self, at: Place, texts: Mapping[str, str]) -> list[str]:
        """Each after those that it is computed of, and else as they stand."""
        reads = {name: names(text) & texts.keys() for name, text in texts.items()}
        try:
            return list(TopologicalSorter(reads).static_order())
        except CycleError as e:
            circle: list[str] = e.args[1]
            for name in circle[1:]:
                self._add((*at, name), f"is computed of itself: {' of '.join(reversed(circle))}")
            self._unclear.update(circle)
            return self._in_order(at, {n: t for n, t in texts.items() if n not in circle})

    def _expression(self, name: str, text: str, place: Place, scope: Scope) -> Expression | None:
        try:
            return read_expression(name, text, scope)
        except ExpressionError as e:
            # what follows from another mistake is not reported
            if not self._unclear & set(re.findall(r"\w+", text)):
                self._add(place, str(e))
            return None

    def _conditions(
        self,
        parts: Sequence[Placed],
        fields: Sequence[FieldSpec],
        reference: ReferenceSpec | None,
        derived: Sequence[Expression],
    ) -> tuple[Expression, ...]:
        scope = Scope({f.name: f for f in fields}, reference, {d.name: d for d in derived})
        built: list[Expression] = []
        for p in parts:
            if not isinstance(p.source, Count | Measure) or p.source.where is None:
                continue
            place = (*p.place, "where")
            read = self._expression(condition(p.source.name), p.source.where, place, scope)
            if read is not None and read.type != "boolean":
                self._add(place, f"must be true or false, and is {NAMES[read.type]}")
            elif read is not None:
                built.append(read)
        return tuple(built)

    def _sources(self, value: Any, at: Place, kind: type[Named], what: str) -> list[Placed]:
        if not isinstance(value, list):
            self._add(at, "must be a list")
            return []
        entries = cast(list[Any], value)
        built = [(i, self._valid(entry, (*at, i), kind)) for i, entry in enumerate(entries)]
        return [Placed(what, (*at, i), source) for i, source in built if source is not None]

    def _field(self, p: SchemaProperty, at: Place) -> FieldSpec:
        if not p.name:
            self._add((*at, "name"), "is missing")
        if p.physicalType not in FIELD_TYPES:
            kinds = ", ".join(FIELD_TYPES)
            self._add((*at, "physicalType"), f"{_shown(p.physicalType)} is not known; known are {kinds}")
        options: dict[str, Any] = dict(p.logicalTypeOptions or {})
        inside = (*at, "logicalTypeOptions")
        lengths = {key: self._length(options.pop(key, None), (*inside, key)) for key in ("minLength", "maxLength")}
        bounds = {key: self._bound(p, options.pop(key, None), (*inside, key)) for key in ("minimum", "maximum")}
        pattern = options.pop("pattern", None)
        if pattern is not None and not isinstance(pattern, str):
            self._add((*inside, "pattern"), f"{_shown(pattern)} must be text")
            pattern = None
        written = options.pop("format", None)
        if written is not None and not (self._reads_json and p.physicalType == "timestamp-millis"):
            self._add((*inside, "format"), "is for a time in the JSON of a source; leave it out")
        elif written is not None and written not in TIME_FORMATS:
            self._add((*inside, "format"), f"{_shown(written)} must be one of {', '.join(TIME_FORMATS)}")
        if p.physicalName is not None and not self._reads_json:
            self._add((*at, "physicalName"), "is for the path into the JSON of a source; leave it out")
        for key in options:
            self._add((*inside, key), "can't be checked here; leave it out")
        allowed = self._argument(p, "validValues", at)
        if allowed is not None and not isinstance(allowed, list):
            self._add((*at, "quality"), "validValues must be a list")
            allowed = None
        defaults = [c.value for c in p.customProperties or [] if c.property == "default"]
        for i, custom in enumerate(p.customProperties or []):
            if custom.property != "default":
                self._add((*at, "customProperties", i), f"{_shown(custom.property)} is not known; known is default")
        return FieldSpec(
            name=p.name or "",
            type=cast(Any, p.physicalType if p.physicalType in FIELD_TYPES else "string"),
            required=bool(p.required),
            description=p.description or "",
            classification=p.classification or "internal",
            default=defaults[0] if defaults else None,
            min_length=lengths["minLength"],
            max_length=lengths["maxLength"],
            pattern=pattern,
            minimum=bounds["minimum"],
            maximum=bounds["maximum"],
            allowed=tuple(cast(list[Any], allowed or ())),
            finite=bool(self._argument(p, "finite", at)),
            path=(p.physicalName or p.name or "") if self._reads_json else "",
            time_format=cast(Any, written if written in TIME_FORMATS else "rfc3339"),
        )

    @property
    def _reads_json(self) -> bool:
        return inside(self._blocks.get("source", ((), None))[1], "format") == "json"

    def _length(self, value: Any, at: Place) -> int | None:
        if value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_LENGTH):
            return value
        self._add(at, f"{_shown(value)} must be a whole number from 0 to {_MAX_LENGTH}")
        return None

    def _bound(self, p: SchemaProperty, value: Any, at: Place) -> float | None:
        """In epoch milliseconds where it is a time."""
        if value is None:
            return None
        if p.physicalType == "timestamp-millis":
            try:
                time = datetime.fromisoformat(str(value)) if isinstance(value, str | date) else None
                if time is not None:
                    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000
            except (ValueError, OverflowError):
                pass
            self._add(at, f"{_shown(value)} must be a time of ISO 8601, such as 2000-01-01T00:00:00Z")
        elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return value
        else:
            self._add(at, f"{_shown(value)} must be a number")
        return None

    def _argument(self, p: SchemaProperty, name: str, at: Place) -> Any:
        found = None
        for i, rule in enumerate(p.quality or []):
            arguments = rule.arguments or {}
            if rule.metric != "invalidValues" or not set(arguments) <= {"validValues", "finite"}:
                self._add(
                    (*at, "quality", i), "can't be checked here; known is invalidValues with validValues or finite"
                )
            found = arguments.get(name, found)
        return found

    def _together(self, rules: list[DataQuality]) -> list[Together]:
        """Quality entries of the record itself: ODCS leaves their meaning to the engine that they name."""
        built: list[Together] = []
        for i, rule in enumerate(rules):
            fields = rule.implementation.get("together") if isinstance(rule.implementation, dict) else None
            if rule.type != "custom" or rule.engine != "streamgauge" or not rule.name or not isinstance(fields, list):
                self._add(
                    (*_RECORD, "quality", i),
                    "can't be checked here: it must have a name, type custom, engine streamgauge and implementation"
                    " {together: [fields]}",
                )
            else:
                built.append(Together(rule.name, tuple(map(str, cast(list[Any], fields)))))
        return built

    def _periods(self) -> dict[str, int]:
        built: dict[str, int] = {}
        found = self._document.data.get("slaProperties")
        entries = cast(list[Any], found) if isinstance(found, list) else []
        for i, entry in enumerate(entries):
            name, value, unit = (inside(entry, key) for key in ("property", "value", "unit"))
            at = ("slaProperties", i)
            if name not in _PERIODS:
                self._add((*at, "property"), f"{_shown(name)} is not known; known are {', '.join(_PERIODS)}")
            elif not isinstance(unit, str) or unit not in _UNIT_MS:
                self._add((*at, "unit"), f"{_shown(unit)} must be one of {', '.join(_UNIT_MS)}")
            elif isinstance(value, bool) or not isinstance(value, int | float):
                self._add((*at, "value"), f"{_shown(value)} must be a number")
            elif not 1 <= value * _UNIT_MS[unit] <= _MAX_PERIOD_MS:
                self._add((*at, "value"), f"{_shown(value)} must be more than 0, and no more than 100 years")
            elif name in built:
                self._add((*at, "property"), "stands twice; leave one of them")
            else:
                built[str(name)] = int(value * _UNIT_MS[unit])
        for name in ("freshness", "retention"):
            if name not in built:
                built[name] = 1
                if not any(inside(entry, "property") == name for entry in entries):
                    self._add(("slaProperties",), f"has no {name}")
        return built


_ANY_TIME = {
    "allowedLatenessSeconds": 0,
    "futureToleranceSeconds": 0,
    "duplicateHorizonSeconds": 60,
    "idleAfterSeconds": 1,
}


def _shown(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return "nothing" if value is None else str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def _place_of(data: Any, error: ErrorDetails) -> Place:
    """Without the names of alternatives, which pydantic puts between the keys."""
    place: list[str | int] = []
    for n, part in enumerate(error["loc"]):
        last = n == len(error["loc"]) - 1
        there = (isinstance(data, dict) and part in data) or (isinstance(data, list) and isinstance(part, int))
        if there or (last and error["type"] == "missing"):
            place.append(part)
            data = inside(data, part)
    return tuple(place)


def _take_out(data: Any, place: Place) -> None:
    for part in place[:-1]:
        data = inside(data, part)
    if place and isinstance(data, list):
        data[cast(int, place[-1])] = {}
    elif place and isinstance(data, dict):
        cast(dict[Any, Any], data).pop(place[-1], None)


def _explained(error: ErrorDetails) -> str:
    """In the contract's words; pydantic's speak of Python."""
    kind, context = error["type"], error.get("ctx", {})
    value = error["input"]
    shown = "" if isinstance(value, dict | list) else f"{_shown(value)} "
    match kind:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return "is not known; leave it out, or correct its spelling"
        case "greater_than_equal" | "greater_than" | "less_than_equal" | "less_than":
            word = {"g": "least", "l": "most"}[kind[0]]
            limit = next(iter(context.values()))
            return f"{shown}must be {'more than' if kind == 'greater_than' else f'at {word}'} {limit}"
        case "literal_error":
            return f"{shown}must be one of {str(context['expected']).replace(chr(39), '')}"
        case "string_pattern_mismatch":
            return f"{shown}must be a name of lower-case letters, digits and _ that begins with a letter"
        case "string_too_long":
            return f"{shown}must have at most {context['max_length']} characters"
        case "finite_number":
            return f"{shown}must be a finite number"
        case _:
            pass
    words = {"string": "text", "int": "a whole number", "float": "a number", "bool": "true or false"}
    words |= {"list": "a list", "tuple": "a list", "dict": "keys and values", "model": "keys and values"}
    return f"{shown}must be {words.get(kind.partition('_')[0], 'of another kind')}"
