"""Whether readers of one Avro schema can read what was written by another, and what a compatibility level asks of that.

A registry only answers for the level that is in force: what a plan would make of another level is judged here, by the
rules of Avro's specification (https://avro.apache.org/docs/1.12.0/specification/#schema-resolution), which the registry
judges by when the level is set.
"""

from collections.abc import Iterator, Sequence
from typing import Any, cast

_PROMOTED = {
    "int": ("long", "float", "double"),
    "long": ("float", "double"),
    "float": ("double",),
    "string": ("bytes",),
    "bytes": ("string",),
}
"""What a reader may have in the place of what was written."""


def incompatibilities(level: str, schema: Any, versions: Sequence[Any]) -> tuple[str, ...]:
    """What the level, of the kinds BACKWARD and FULL, has against the schema as the next version after these.

    All of them are looked at also where the level is not transitive: Apicurio does so, and a plan must not approve what
    the registry refuses then.
    """
    found: list[str] = []
    for version in versions:
        found += (f"{reason}, as it was written before" for reason in unreadable(schema, version))
        if level.startswith("FULL"):
            found += (f"{reason}, for readers of before" for reason in unreadable(version, schema))
    return tuple(dict.fromkeys(found))


def unreadable(reader: Any, writer: Any, place: str = "") -> Iterator[str]:
    """Why a reader of the one can't read all that is written by the other; nothing if it can."""
    if isinstance(writer, list):
        for branch in cast(list[Any], writer):
            yield from unreadable(reader, branch, place)
        return
    if isinstance(reader, list):
        branches = cast(list[Any], reader)
        if all(any(unreadable(branch, writer, place)) for branch in branches):
            yield f"{place or '/'} can't be {_kind(writer)}"
        return
    kind, written = _kind(reader), _kind(writer)
    if kind != written:
        if kind not in _PROMOTED.get(written, ()):
            yield f"{place or '/'} is {kind} and was {written}"
    elif kind == "record":
        yield from _unreadable_fields(reader, writer, place)
    elif kind in ("array", "map"):
        inner = "items" if kind == "array" else "values"
        yield from unreadable(reader[inner], writer[inner], f"{place}/{inner}")
    elif kind == "enum":
        missing = [s for s in writer["symbols"] if s not in reader["symbols"]]
        if missing and "default" not in reader:
            yield f"{place or '/'} has no symbol {', '.join(missing)}"
    elif kind == "fixed" and reader["size"] != writer["size"]:
        yield f"{place or '/'} has another size"


def _unreadable_fields(reader: Any, writer: Any, place: str) -> Iterator[str]:
    written = {f["name"]: f for f in writer["fields"]}
    for field in reader["fields"]:
        at = f"{place}/{field['name']}"
        there = next((written[n] for n in (field["name"], *field.get("aliases", ())) if n in written), None)
        if there is not None:
            yield from unreadable(field["type"], there["type"], at)
        elif "default" not in field:
            yield f"{at} has no default"


def _kind(schema: Any) -> str:
    """Of a type that is no union; a logical type is read as what it is written as."""
    while isinstance(schema, dict):
        schema = cast(dict[str, Any], schema)["type"]
    return str(schema)
