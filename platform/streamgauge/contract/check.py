"""What a contract must hold before anything is made from it: names, rules and bounds that every layer can keep."""

import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import polars as pl

from streamgauge.contract.columns import POLARS_TYPES
from streamgauge.contract.document import Document, Place
from streamgauge.contract.measures import condition, stored_columns
from streamgauge.contract.model import (
    BY_POSITION,
    CALENDAR,
    CLASSIFICATIONS,
    MAX_UNRULED_TEXT,
    Contract,
    FieldSpec,
    Measure,
    Named,
    NumberAlert,
    Ratio,
    ReferenceSpec,
    RollupSpec,
    Source,
    SourceSpec,
    Top,
)
from streamgauge.contract.paths import Steps, contradictions, steps
from streamgauge.contract.rules import field_rules, pattern_fault
from streamgauge.contract.text_bounds import LONGEST_CHARACTER
from streamgauge.contract.times import EARLIEST_MS, LATEST_MS
from streamgauge.expression.scope import meant
from streamgauge.rollup.enrich import KEY
from streamgauge.rollup.measure_kinds import error_names, figures_of, ratio_terms
from streamgauge.rollup.number_alerts import alert_numbers
from streamgauge.rollup.pseudonyms import LENGTH as PSEUDONYM_BYTES
from streamgauge.rollup.windows import WINDOW
from streamgauge.stores.ddl import MAX_NAME_BYTES, Table
from streamgauge.stores.dimension_tables import member_schema
from streamgauge.stores.fact_tables import facts_schema, key_column, quarantine_schema
from streamgauge.stores.lake import lake_schema
from streamgauge.stores.rollup_tables import daily_schema, hourly_schema
from streamgauge.stores.tables import batch, speed, windows
from streamgauge.text import number

MAX_KEY_BYTES = 2600
"""Of the dimensions together: Postgres takes 2704 in an entry of an index, and time and partition are in it too."""
_NUMBER_BYTES = 32
_MAX_TOPIC = 249
_WHOLE = {"int": (-(2**31), 2**31 - 1), "long": (-(2**63), 2**63 - 1), "timestamp-millis": (EARLIEST_MS, LATEST_MS)}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TOPIC = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Placed:
    """An entry of the list `what`, and its place in the file."""

    what: str
    place: Place
    source: Named


@dataclass(frozen=True)
class Places:
    """Where in the file a contract's parts stand. Fields stand in their order."""

    sources: Sequence[Placed]
    alerts: Sequence[Placed]
    blocks: Mapping[str, Place]
    unclear: Collection[str] = ()
    """Fields and derived fields that have a mistake."""

    def block(self, name: str, *keys: str) -> Place:
        return (*self.blocks.get(name, ("customProperties",)), *keys)


def check_contract(c: Contract, places: Places, document: Document) -> None:
    """Adds to the document what is wrong."""
    _Check(c, places, document).run()


class _Check:
    def __init__(self, c: Contract, places: Places, document: Document) -> None:
        self._c = c
        self._places = places
        self._document = document
        self._add = document.add
        self._at: dict[str, Place] = {}
        for i, f in enumerate(c.fields):
            self._at.setdefault(f.name, ("schema", 0, "properties", i))

    def run(self) -> None:
        for i, f in enumerate(self._c.fields):
            self._field(f, ("schema", 0, "properties", i))
        self._identity()
        self._together()
        self._topics()
        self._reference()
        for placed in self._places.sources:
            if isinstance(placed.source, Source):
                self._source(placed, placed.source)
            self._condition(placed)
            if isinstance(placed.source, Ratio):
                self._ratio(placed.source, placed.place)
        self._rollup_names()
        self._star_names()
        self._keys()
        self._alerts()
        self._relation_names()

    def _field(self, f: FieldSpec, at: Place) -> None:
        if not _NAME.fullmatch(f.name) or f.name.startswith("__"):
            self._add((*at, "name"), f'"{f.name}" must be letters, digits and _, and not begin with a digit or __')
        if self._at[f.name] != at:
            self._add((*at, "name"), f'"{f.name}" stands twice')
        if f.name in _lake_columns(self._c):
            self._add((*at, "name"), f'"{f.name}" is a column that lake and facts have; give the field another name')
        if f.classification not in CLASSIFICATIONS:
            known = ", ".join(CLASSIFICATIONS)
            self._add((*at, "classification"), f'"{f.classification}" is not known; known are {known}')
        if self._document.mistaken((*at, "physicalType")):
            return
        options = (*at, "logicalTypeOptions")
        for key, value in (("minLength", f.min_length), ("maxLength", f.max_length), ("pattern", f.pattern)):
            if value is not None and f.type != "string":
                self._add((*options, key), f"is for a string, and {f.name} is a {f.type}")
        for key, value in (("minimum", f.minimum), ("maximum", f.maximum)):
            if value is None:
                continue
            if not (f.is_number or f.type == "timestamp-millis"):
                self._add((*options, key), f"is for a number or a time, and {f.name} is a {f.type}")
            elif f.type in _WHOLE and not _WHOLE[f.type][0] <= value <= _WHOLE[f.type][1]:
                what = "the years 1 to 9999" if f.type == "timestamp-millis" else f"what a {f.type} can be"
                self._add((*options, key), f"is outside {what}")
        if f.minimum is not None and f.maximum is not None and f.minimum > f.maximum:
            self._add((*options, "minimum"), "is above maximum, so that no value could be right")
        if f.min_length is not None and f.max_length is not None and f.min_length > f.max_length:
            self._add((*options, "minLength"), "is above maxLength, so that no value could be right")
        if f.pattern is not None and (fault := pattern_fault(f.pattern)):
            self._add((*options, "pattern"), fault)
        if f.finite and f.type != "double":
            self._add((*at, "quality"), f"finite is for a double, and {f.name} is a {f.type}")
        if self._document.mistaken(options) or self._document.mistaken((*at, "quality")):
            return
        for value in f.allowed:
            if f.type == "timestamp-millis" or f.is_map or not _fits(f, value):
                self._add((*at, "quality"), f"validValues has {_shown(value)}, which is no {f.type}")
            elif broken := _broken(replace(f, allowed=()), value):
                self._add((*at, "quality"), f"validValues has {_shown(value)}, which breaks a rule: {broken}")
        if f.default is not None and not f.required:
            self._add(
                (*at, "customProperties", 0, "value"),
                f"{f.name} is optional, and what an optional field has where it is missing is null; make it required or"
                " leave the default out",
            )
        elif f.default is not None and not self._document.mistaken((*at, "quality")):
            place = (*at, "customProperties", 0, "value")
            if not _fits(f, f.default):
                self._add(place, f"the default {_shown(f.default)} is no {f.type}")
            elif broken := _broken(f, f.default):
                self._add(place, f"the default {_shown(f.default)} breaks a rule: {broken}")

    def _identity(self) -> None:
        c = self._c
        for name in (c.event_id, c.event_time):
            if not c.field[name].required:
                self._add((*self._at[name], "required"), f"{name} must be required")
        if c.field[c.event_time].minimum is None:
            self._add(
                (*self._at[c.event_time], "logicalTypeOptions", "minimum"),
                "is missing: without it one wrong clock makes tables for every hour since the year 1",
            )
        if c.field[c.event_id].type != "string":
            self._add((*self._at[c.event_id], "physicalType"), "the event id must be a string")
        self._bounded(c.event_id, self._at[c.event_id], "the event id")

    def _together(self) -> None:
        for rule in self._c.together:
            at = ("schema", 0, "quality")
            wrong = [n for n in rule.fields if n not in self._c.field or self._c.field[n].required]
            if len(rule.fields) < 2 or wrong:
                which = f", which {', '.join(wrong)} is not" if wrong else ""
                self._add(at, f"{rule.name} must name two or more optional properties{which}")

    def _topics(self) -> None:
        for name, place in (
            (self._c.topic, self._places.block("source", "topic") if self._c.source else ("schema", 0, "physicalName")),
            (self._c.dead_letter_topic, ("schema", 0, "physicalName")),
            (self._c.counts_topic or "counts", self._places.block("topic", "countsTopic")),
        ):
            if not _TOPIC.fullmatch(name) or len(name) > _MAX_TOPIC:
                self._add(place, f'"{name}" can\'t name a topic: letters, digits, ., _ and -, at most {_MAX_TOPIC}')
        if self._c.counts_topic in (self._c.topic, self._c.dead_letter_topic):
            self._add(self._places.block("topic", "countsTopic"), f'"{self._c.counts_topic}" is another of its topics')
        if self._c.source is None:
            self._own_topic()
        else:
            self._source_topic(self._c.source)

    def _source_topic(self, source: SourceSpec) -> None:
        c = self._c
        if source.key is not None and source.key not in c.field:
            self._add(self._places.block("source", "key"), f'"{source.key}" is no property')
        id_sources = () if source.id is None or source.id == BY_POSITION else source.id
        if source.id == ():
            self._add(self._places.block("source", "id"), "names no property")
        for name in id_sources:
            at = self._places.block("source", "id")
            if name not in c.field:
                self._add(at, f'"{name}" is no property; write {BY_POSITION}, or a list of properties')
            elif name == c.event_id or c.field[name].is_map:
                what = "the event id itself" if name == c.event_id else "a map"
                self._add(at, f'"{name}" is {what}, and ids can\'t be made of it')
        if source.format == "json":
            self._paths()

    def _paths(self) -> None:
        found: dict[str, Steps] = {}
        for f in self._c.read_fields:
            at = self._at[f.name]
            if f.is_map:
                self._add((*at, "physicalType"), f"is not read from JSON; give {f.name} a path to one of its values")
            if f.default is not None:
                self._add((*at, "customProperties"), "a default is Avro's; JSON leaves out what has no value")
            path = steps(f.path)
            if path is None:
                self._add((*at, "physicalName"), f'"{f.path}" is no path such as user.id or items[0].sku')
            else:
                found[f.name] = path
        for name, text in contradictions(found).items():
            self._add((*self._at[name], "physicalName"), f"contradicts another field's path: {text}")

    def _own_topic(self) -> None:
        spec = self._c.topic_spec
        at = self._places.block("topic", "partitionKey")
        if spec.partitionKey not in self._c.field:
            self._add(at, f'topic.partitionKey "{spec.partitionKey}" is no property')
        elif self._c.field[spec.partitionKey].is_map:
            self._add(at, f'"{spec.partitionKey}" is a map, and can\'t be a key')
        else:
            self._bounded(spec.partitionKey, at, "the partition key")

    def _reference(self) -> None:
        spec = self._c.reference
        if spec is None:
            return
        at = self._places.block("reference", "key")
        if spec.key not in self._c.field:
            self._add(at, f'"{spec.key}" is no property')
        elif self._c.field[spec.key].type != "string":
            self._add(at, f'"{spec.key}" must be a string')
        else:
            self._bounded(spec.key, at, "the key of a reference")
        if not re.fullmatch(r"[a-z][a-z0-9_]*", spec.name):
            self._add(self._places.block("reference", "name"), f'"{spec.name}" must be lower-case letters')
        bare = replace(self._c, reference=spec.model_copy(update={"columns": (), "name": "r"}))
        tables = (speed.reference_table(bare), speed.reference_history_table(bare))
        used = dict.fromkeys(_columns(t for t in tables if t), "is a column that every reference has")
        used |= dict.fromkeys(self._c.field, "is a field too, and facts have both")
        used |= dict.fromkeys(_lake_columns(self._c), "is a column that lake and facts have")
        used |= dict.fromkeys(_version_columns(), "is a column of the dimensions that have its attributes")
        used[KEY] = "is what the table's key is called where it is read"
        for i, column in enumerate(spec.columns):
            place = (*self._places.block("reference", "columns"), i)
            if not _NAME.fullmatch(column) or column.startswith("__") or len(column.encode()) > MAX_NAME_BYTES:
                self._add(
                    place, f'"{column}" must be letters, digits and _, at most {MAX_NAME_BYTES}, and not begin with __'
                )
            if column in used:
                self._add(place, f'"{column}" {used[column]}; give the column another name')
            used[column] = "stands twice"

    def _condition(self, placed: Placed) -> None:
        if self._c.reads_personal(condition(placed.source.name)):
            self._add(
                (*placed.place, "where"),
                "hangs on a personal field, and how many events a person has would be shown to all who may read the"
                " stream",
            )

    def _ratio(self, ratio: Ratio, at: Place) -> None:
        known = ratio_terms(self._c.rollup)
        for key, term in (("of", ratio.of), ("to", ratio.to)):
            if term not in known:
                self._add((*at, key), f'"{term}" is none of {", ".join(known)}{meant(term, known)}')

    def _source(self, placed: Placed, source: Source) -> None:
        at = (*placed.place, "source")
        head, _, tail = source.source.partition(".")
        c = self._c
        if head == "reference" and self._document.mistaken(self._places.block("reference")):
            return
        if head in self._at and self._document.mistaken(self._at[head]):
            return
        derived = None if tail else c.derived_field.get(head)
        if head in self._places.unclear:
            return
        if derived is not None:
            known = True
        elif head == "reference" and c.reference:
            known = tail in c.reference.columns
        else:
            known = head in c.field and c.field[head].is_map == bool(tail)
        if not known:
            self._add(at, f'"{source.source}" is no property, derived field, map key or reference column')
        elif isinstance(source, Measure) and not tail and not self._is_number(head):
            self._add(at, f'"{source.source}" is not a number, and can\'t be measured')
        elif isinstance(source, Measure) and c.is_personal(source):
            self._add(
                at,
                f'"{source.source}" is personal, and what measures are made of is shown to all who may read the stream;'
                " count it in distinct, or make it a dimension or rank it in top, which have pseudonyms",
            )
        elif not tail and not isinstance(source, Measure):
            if derived is None:
                self._bounded(head, at, f"what {placed.what} is made of")
            elif derived.type == "string" and derived.max_length is None:
                self._add(
                    at,
                    f'"{head}" may be of any length, and what {placed.what} is made of must not be longer than an index'
                    f" takes; cut it, as in substr({head}, 1, 100), or give its fields a maxLength",
                )

    def _is_number(self, name: str) -> bool:
        derived = self._c.derived_field.get(name)
        return derived.type in ("long", "double") if derived else self._c.field[name].is_number

    def _bounded(self, name: str, at: Place, what: str) -> None:
        f = self._c.field[name]
        if f.type == "string" and _bytes(f) is None and not self._document.mistaken(self._at[name]):
            self._add(at, f'"{name}" has no maxLength, and {what} must not be longer than an index takes')

    def _rollup_names(self) -> None:
        """Each name against those before it, with all that is derived from it."""
        used = dict.fromkeys(reserved(self._c), "is a column that every rollup has")
        for placed in self._places.sources:
            if placed.what == "star":
                continue
            name = placed.source.name
            for column in derived(self._c, placed):
                if column in used:
                    which = f'"{name}"' if column == name else f'"{name}" makes the column {column}, which'
                    self._add(
                        (*placed.place, "name"),
                        f"{which} {used[column]}; give the {_SINGULAR[placed.what]} another name",
                    )
                if len(column.encode()) > MAX_NAME_BYTES:
                    self._add((*placed.place, "name"), f"{column} is longer than Postgres's {MAX_NAME_BYTES} bytes")
                used.setdefault(column, f"stands twice: {placed.what} has {name} too")

    def _star_names(self) -> None:
        c = self._c
        used = dict.fromkeys(_lake_columns(c), "is a column that lake and facts have")
        used |= dict.fromkeys(_version_columns(), "is a column of dimensions with attributes")
        used |= dict.fromkeys(CALENDAR, "is a dimension that every star has")
        used |= {n: "is a field too, and facts have both" for n in c.field if n.endswith("_key")}
        attributes = c.reference.columns if c.reference else ()
        own = [p for p in self._places.sources if p.what == "star"]
        for placed in own or [p for p in self._places.sources if p.what == "dimensions"]:
            name = placed.source.name
            for column in (name, key_column(name)):
                if column in used:
                    self._add((*placed.place, "name"), f'"{column}" {used[column]}; give the dimension another name')
                used[column] = "stands twice"
            known = isinstance(placed.source, Source) and name in c.attributes(placed.source)
            if known or key_column(name) in attributes:
                self._add((*placed.place, "name"), f'"{name}" is a column of the reference; give it another name')

    def _keys(self) -> None:
        sizes = {d.name: self._size(d) for d in self._c.rollup.dimensions}
        if sum(sizes.values()) > MAX_KEY_BYTES:
            each = ", ".join(f"{name} {size}" for name, size in sizes.items())
            self._add(
                self._places.block("rollup", "dimensions"),
                f"together may be {sum(sizes.values())} bytes ({each}), and a key has room for {MAX_KEY_BYTES};"
                " lower a maxLength or leave one out",
            )
        spec = self._c.reference
        size = _bytes(self._c.field[spec.key]) if spec and spec.key in self._c.field else None
        if (size or 0) > MAX_KEY_BYTES:
            self._add(
                self._places.block("reference", "key"), f"may be {size} bytes, and a key has room for {MAX_KEY_BYTES}"
            )

    def _alerts(self) -> None:
        dimensions = {d.name: d for d in self._c.rollup.dimensions}
        names: set[str] = set()
        for placed in self._places.alerts:
            alert = placed.source
            assert isinstance(alert, NumberAlert)
            if alert.name in names:
                self._add((*placed.place, "name"), f'"{alert.name}" stands twice; give the alert another name')
            names.add(alert.name)
            known = alert_numbers(self._c.rollup)
            if alert.number not in known and not self._places.unclear:
                self._add(
                    (*placed.place, "number"),
                    f'"{alert.number}" is none of {", ".join(known)}{meant(alert.number, known)}',
                )
            self._alert_bounds(alert, placed.place)
            for name in alert.dimensions:
                at = (*placed.place, "dimensions", name)
                if name not in dimensions:
                    self._add(at, f'"{name}" is no dimension{meant(name, dimensions)}')
                elif self._c.is_personal(dimensions[name]):
                    self._add(at, "is personal, and an alert would name a person")

    def _alert_bounds(self, alert: NumberAlert, at: Place) -> None:
        if alert.above is alert.below is alert.criticalAbove is alert.criticalBelow is None:
            self._add(at, "has no bound: say above, below, criticalAbove or criticalBelow")
        for bound, critical, sign in (("above", "criticalAbove", 1), ("below", "criticalBelow", -1)):
            first, second = getattr(alert, bound), getattr(alert, critical)
            if first is not None and second is not None and (second - first) * sign <= 0:
                self._add(
                    (*at, critical), f"{number(second)} must be {bound} {number(first)}, where the warning begins"
                )
        highest = [v for v in (alert.above, alert.criticalAbove) if v is not None]
        lowest = [v for v in (alert.below, alert.criticalBelow) if v is not None]
        if highest and lowest and max(lowest) > min(highest):
            self._add(
                at,
                f"is always out of bounds: above {number(min(highest))} or below {number(max(lowest))} is every number",
            )

    def _size(self, source: Source) -> int:
        if self._c.is_personal(source):
            return PSEUDONYM_BYTES
        head, _, tail = source.source.partition(".")
        if derived := self._c.derived_field.get(source.source):
            return (derived.max_length or 0) * LONGEST_CHARACTER if derived.type == "string" else _NUMBER_BYTES
        return MAX_UNRULED_TEXT * LONGEST_CHARACTER if tail else _bytes(self._c.field.get(head)) or 0

    def _relation_names(self) -> None:
        bare = replace(_bare(self._c), stream="")
        tables = [*speed.stream_tables(bare), *batch.stream_tables(bare)]
        names = [t.name for t in tables] + [i.name for t in tables for i in t.indexes]
        longest = max((*names, *(v.name for v in windows.window_views(bare))), key=len)
        if len(self._c.stream) + len(longest) > MAX_NAME_BYTES:
            at: Place = ("schema", 0, "name")
            most = MAX_NAME_BYTES - len(longest)
            self._add(at, f'"{self._c.stream}" is too long for Postgres: at most {most} letters')
        if self._c.reference and len(self._c.reference.history_table) > MAX_NAME_BYTES:
            name = self._c.reference.name
            self._add(self._places.block("reference", "name"), f'"{name}" is too long for Postgres')


_SINGULAR = {
    "dimensions": "dimension",
    "distinct": "distinct count",
    "counts": "count",
    "measures": "measure",
    "top": "top-N",
    "ratios": "ratio",
}


def reserved(c: Contract) -> set[str]:
    """The columns that rollups of any stream have, from the definitions of the tables, views and answers themselves."""
    bare = _bare(c)
    tables = [*speed.stream_tables(bare), *batch.stream_tables(bare)]
    return {*_columns(tables), *windows.view_columns(bare), *hourly_schema(bare), *daily_schema(bare), *WINDOW}


def reserved_columns(c: Contract) -> set[str]:
    """Names that no field should have which may also be a dimension."""
    return {*reserved(c), *_lake_columns(c), *_version_columns(), *CALENDAR}


def derived(c: Contract, placed: Placed) -> list[str]:
    """All columns that are made of a source of the rollup, stored or shown."""
    source = placed.source
    if isinstance(source, Top):
        return [f"top_{source.name}"]
    if placed.what not in ("measures", "distinct", "counts"):
        return [source.name]
    stored, shown = stored_columns([source]), figures_of(source)
    names = [source.name, *(s.name for s in stored), *(f.name for f in shown), *error_names(source)]
    return list(dict.fromkeys(names))


def _bare(c: Contract) -> Contract:
    return replace(c, stream="s", fields=(), star=(), reference=None, rollup=RollupSpec(dimensions=()))


def _columns(tables: Iterable[Table]) -> Iterator[str]:
    return (column.name for table in tables for column in table.columns)


def _lake_columns(c: Contract) -> set[str]:
    bare = _bare(c)
    return {*lake_schema(bare), *facts_schema(bare), *quarantine_schema(bare)}


def _version_columns() -> set[str]:
    """What the table of a dimension has beside its member, its key and its attributes."""
    return {*member_schema("d", ("attribute",))} - {"d", key_column("d"), "attribute"}


def _bytes(f: FieldSpec | None) -> int | None:
    """How long a field's text may be; None where nothing bounds it."""
    if f is None or f.type != "string":
        return _NUMBER_BYTES
    if f.allowed:
        return max(len(str(value).encode()) for value in f.allowed)
    return None if f.max_length is None else f.max_length * LONGEST_CHARACTER


def _fits(f: FieldSpec, value: Any) -> bool:
    if isinstance(value, bool) or f.type == "boolean":
        return isinstance(value, bool) and f.type == "boolean"
    if f.type == "string":
        return isinstance(value, str)
    if f.is_map:
        entries = cast(dict[Any, Any], value) if isinstance(value, dict) else {1: 1}
        return all(isinstance(k, str) and isinstance(v, str) for k, v in entries.items())
    if f.type == "double":
        return isinstance(value, int | float) and math.isfinite(value)
    low, high = _WHOLE[f.type]
    return isinstance(value, int) and low <= value <= high


def _broken(f: FieldSpec, value: Any) -> str | None:
    """The first of the field's own rules that the value breaks."""
    if f.is_map:
        return None
    frame = pl.DataFrame({f.name: pl.Series([value]).cast(POLARS_TYPES[f.type])})
    return next((rule.name for rule in field_rules(f) if frame.select(rule.expr).item()), None)


def _shown(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


@dataclass(frozen=True)
class ContractFile:
    """A file, and its contract as far as one could be made of it."""

    document: Document
    contract: Contract | None
    places: Places


def check_together(files: Iterable[ContractFile]) -> None:
    """Adds to the document of the later of two files where their contracts contradict each other."""
    used: dict[tuple[str, str], str] = {}
    described: dict[str, tuple[str, ReferenceSpec | None]] = {}
    for file in files:
        c, document = file.contract, file.document
        if c is None:
            continue
        for what, name, place in (("stream", c.stream, "name"), ("topic", c.topic, "physicalName")):
            other = used.setdefault((what, name), document.path.name)
            if other != document.path.name:
                document.add(("schema", 0, place), f"the {what} {name} stands in {other} too; each has one file")
        for d in c.star:
            # one dimension, one table: its members' attributes can't come from two places
            reference = c.reference if c.attributes(d) else None
            other, known = described.setdefault(d.name, (document.path.name, reference))
            if known != reference:
                document.add(
                    next((p.place for p in file.places.sources if p.source is d), ("customProperties",)),
                    f"the dimension {d.name} has another reference in {other}; give both the same reference, or one of"
                    " them another name for the dimension",
                )
