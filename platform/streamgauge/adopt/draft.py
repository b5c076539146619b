"""The text of a first contract: what was guessed stands there with a comment that says so."""

import re
from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from streamgauge.adopt.guess import Guess, Shape
from streamgauge.adopt.sample import Topic
from streamgauge.contract.check import reserved_columns
from streamgauge.contract.load import load_contract, mistakes_in
from streamgauge.contract.model import BY_POSITION, MAX_UNRULED_TEXT
from streamgauge.errors import UserError

EVENT_ID = "event_id"
_SHORTEST_LIMIT, _LONGEST_LIMIT = 64, 400
_DAY_MS = 86_400_000
_KEPT_FOR_EVER_DAYS = 3650
_LOGICAL = {"boolean": "boolean", "string": "string", "timestamp-millis": "timestamp", "double": "number"}


def stream_name(topic: str) -> str:
    """As a contract may name a stream."""
    name = re.sub(r"[^a-z0-9]+", "_", topic.lower()).strip("_")
    return f"stream_{name}" if not name or name[0].isdigit() else name


def draft(stream: str, topic: Topic, shape: Shape) -> str:
    """Keeps the rules of a contract. Raises UserError where the records have no time."""
    event_time = shape.event_time
    if event_time is None:
        raise UserError(
            f"no field of {topic.name} seems to be a time that nearly every record has",
            "a stream needs an event time: RFC 3339 with a zone, or seconds, milliseconds or microseconds since 1970",
        )
    text = "\n".join([*_lines(stream, topic, *_renamed(shape, event_time, topic)), ""])
    with TemporaryDirectory() as folder:
        file = Path(folder) / f"{stream}.yaml"
        file.write_text(text)
        if mistakes := mistakes_in([file]):
            raise UserError(
                f"the contract for {topic.name} can't be guessed: {'; '.join(map(str, mistakes))}",
                "write one by hand: docs/adopt.md",
            )
    return text


def _renamed(shape: Shape, event_time: Guess, topic: Topic) -> tuple[Shape, Guess]:
    """Without names that tables have already. An Avro field's name is where it is found, so such a one is left out.
    With it the event time, which is one of the fields.
    """
    with as_file(files("streamgauge.project").joinpath("files", "contracts", "orders.yaml")) as example:
        used = reserved_columns(load_contract(example))
    if shape.event_id is None:
        used.add(EVENT_ID)
    names: dict[Guess, Guess] = {}
    gone: list[str] = []
    for f in shape.fields:
        if topic.format == "json":
            names[f] = replace(f, name=f"field_{f.name}" if f.name in used else f.name)
        elif f.path in used and f not in (shape.event_id, event_time):
            gone.append(f.path)
        else:
            names[f] = replace(f, name=f.path)

    def one(guess: Guess | None) -> Guess | None:
        return None if guess is None else names.get(guess)

    renamed = replace(
        shape,
        fields=tuple(names.values()),
        event_id=one(shape.event_id),
        key=one(shape.key),
        dimensions=tuple(names[f] for f in shape.dimensions if f in names),
        measures=tuple(names[f] for f in shape.measures if f in names),
        left_out=(*shape.left_out, *gone),
    )
    return renamed, names[event_time]


def _lines(stream: str, topic: Topic, shape: Shape, event_time: Guess) -> Iterator[str]:
    yield f"# A first contract for the topic {topic.name}, which others write: {topic.partitions} partitions,"
    yield f"# {topic.timestamp_type}. From {len(topic.sampled)} records; {topic.unreadable} more of the sample can't be"
    yield "# read. Look at what is marked as a guess, at which fields are personal, and at what is to be counted."
    yield "# The form is the Open Data Contract Standard 3.1; what each key means: docs/contracts.md of Streamgauge."
    yield "apiVersion: v3.1.0"
    yield "kind: DataContract"
    yield f"id: {stream}"
    yield f"name: {stream}"
    yield "version: 1.0.0"
    yield "status: active"
    yield "description:"
    yield f"  purpose: {_quoted(f'Records of {topic.name}.')} # say what they are"
    yield "team:"
    yield "  name: unknown # say whose stream it is"
    yield "schema:"
    yield f"  - name: {stream}"
    yield "    physicalType: topic"
    yield "    properties:"
    if shape.event_id is None:
        yield f"      - name: {EVENT_ID}"
        yield "        logicalType: string"
        yield "        physicalType: string"
        yield "        required: true"
        yield "        primaryKey: true"
        yield "        description: Made of the record's place in the topic, as no field names each record."
        yield "        logicalTypeOptions: { maxLength: 64 }"
    # the first time is the event time
    for f in (event_time, *(f for f in shape.fields if f != event_time)):
        yield from _property(f, topic, shape, event_time)
    yield from (f"      # left out: {_quoted(path)}" for path in shape.left_out)
    yield from (f"      # a list, of which a field may read an entry as [0]: {_quoted(path)}" for path in shape.lists)
    yield "slaProperties:"
    yield "  - { property: freshness, value: 60, unit: s }"
    days = max(1, topic.retention_ms // _DAY_MS) if topic.retention_ms > 0 else _KEPT_FOR_EVER_DAYS
    yield f"  - {{ property: retention, value: {min(days, _KEPT_FOR_EVER_DAYS)}, unit: d }} # as the topic has it"
    yield "customProperties:"
    yield "  - property: source"
    yield "    value:"
    yield f"      topic: {_quoted(topic.name)}"
    yield f"      format: {topic.format}"
    if shape.event_id is None:
        yield f"      id: {BY_POSITION} # a guess: a record that is sent twice counts twice; or a list of fields"
    if shape.key is not None:
        yield f"      key: {shape.key.name} # {_share(shape.key.key_share)} of the records' keys"
    yield "  - property: time # a guess"
    yield "    value: { allowedLatenessSeconds: 120, futureToleranceSeconds: 300, duplicateHorizonSeconds: 3600,"
    yield "      idleAfterSeconds: 10 }"
    yield "  - property: deadLetters # a guess: more pause the partition"
    yield "    value: { limit: 1000, perSeconds: 60 }"
    yield "  # What is counted by minute: by which dimensions, how many different ones, sums of which numbers."
    yield "  - property: rollup # a guess"
    yield "    value:"
    yield f"      dimensions: [{', '.join(_named(f) for f in shape.dimensions)}]"
    yield f"      measures: [{', '.join(_named(f) for f in shape.measures)}]"


def _named(f: Guess) -> str:
    return f"{{ name: {_quoted(f.name)}, source: {_quoted(f.name)} }}"


def _property(f: Guess, topic: Topic, shape: Shape, event_time: Guess) -> Iterator[str]:
    is_id = f == shape.event_id
    required = f.required or is_id or f == event_time
    kind = "string" if is_id else f.type
    yield f"      - name: {_quoted(f.name)}"
    if topic.format == "json":
        yield f"        physicalName: {_quoted(f.path)}"
    yield f"        logicalType: {_LOGICAL.get(kind, 'integer')}"
    message = f"{_share(f.share)} of the records have it"
    yield f"        physicalType: {kind} # {'' if topic.schema else 'a guess: '}{message}"
    if required:
        yield f"        required: true # {'' if topic.schema else 'a guess'}".rstrip(" #")
    if is_id:
        yield f"        primaryKey: true # a guess: {_share(f.distinct_share)} of its values are different"
    if f == event_time:
        yield "        # the event time: a guess, as it is the likeliest of the times"
    yield f"        classification: {'personal' if f.personal else 'internal'} # a guess, by its name"
    options: list[str] = []
    if kind == "string":
        options.append(f"maxLength: {_limit(f.longest)}")
    if f == event_time:
        options.append('minimum: "2000-01-01T00:00:00Z"')
    if topic.format == "json" and f.time_format is not None and kind == "timestamp-millis":
        options.append(f"format: {f.time_format}")
    if options:
        yield f"        logicalTypeOptions: {{ {', '.join(options)} }} # a guess"


def _limit(longest: int) -> int:
    """Twice what was seen, and no more than dimensions have room for unless more was seen."""
    limit = _SHORTEST_LIMIT
    while limit < 2 * longest:
        limit *= 2
    return limit if longest > MAX_UNRULED_TEXT else min(limit, _LONGEST_LIMIT)


def _share(share: float) -> str:
    return f"{share:.0%}" if share in (0, 1) or share < 0.995 else "nearly all"


def _quoted(text: str) -> str:
    return yaml.safe_dump(text, default_style='"', width=10_000).strip()
