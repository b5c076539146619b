"""Avro as Confluent's clients frame it: a zero byte, the schema id in four bytes, the record.

https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format
"""

from io import BytesIO
from typing import Any, cast

import fastavro

from streamgauge.contract.model import Contract, FieldSpec

_AVRO_TYPES: dict[str, Any] = {
    "timestamp-millis": {"type": "long", "logicalType": "timestamp-millis"},
    "map<string,string>": {"type": "map", "values": "string"},
}


def frame(schema_id: int) -> bytes:
    """The bytes before the record."""
    return b"\x00" + schema_id.to_bytes(4, "big")


def unframed(value: bytes) -> tuple[int, bytes] | None:
    """The id of the schema, and the record; None where no frame stands before it."""
    size = len(frame(0))
    return (int.from_bytes(value[1:size], "big"), value[size:]) if len(value) >= size and value[0] == 0 else None


def avro_schema(contract: Contract) -> dict[str, Any]:
    """The contract's record as an Avro schema, as it stands in the registry."""
    return {
        "type": "record",
        "name": _record_name(contract),
        "namespace": "streamgauge",
        "doc": contract.purpose,
        "fields": [_field(f) for f in contract.fields],
    }


def counts_schema(contract: Contract) -> dict[str, Any]:
    """A minute's count by the contract's dimensions, absolute: a later record with the same key replaces an
    earlier one.
    """
    minute = {"name": "minute", "type": _AVRO_TYPES["timestamp-millis"], "doc": "Start of the minute of event time."}
    counters = [{"name": n, "type": "long"} for n in ("count", "late", "duplicates")]
    return {
        "type": "record",
        "name": f"{_record_name(contract)}Counts",
        "namespace": "streamgauge",
        "doc": f"Provisional minute counts of {contract.stream}.",
        "fields": [minute, *({"name": d, "type": "string"} for d in contract.dimension_names), *counters],
    }


def _record_name(contract: Contract) -> str:
    return "".join(part.capitalize() for part in contract.stream.split("_"))


def _field(f: FieldSpec) -> dict[str, Any]:
    kind = _AVRO_TYPES.get(f.type, f.type)
    if not f.required:
        return {"name": f.name, "type": ["null", kind], "doc": f.description, "default": None}
    field = {"name": f.name, "type": kind, "doc": f.description}
    return field if f.default is None else {**field, "default": f.default}


def parse(schema: dict[str, Any]) -> Any:
    """The schema prepared for `read_record` and `write_record`."""
    return fastavro.parse_schema(schema)


def read_record(stream: BytesIO, parsed: Any) -> dict[str, Any]:
    """One record without its frame. fastavro raises many types for a bad one, and their texts may quote it."""
    read: Any = fastavro.schemaless_reader  # pyright: ignore[reportUnknownVariableType,reportUnknownMemberType]
    return cast(dict[str, Any], read(stream, parsed, None))


def write_record(stream: BytesIO, parsed: Any, record: dict[str, Any]) -> None:
    write: Any = fastavro.schemaless_writer  # pyright: ignore[reportUnknownVariableType,reportUnknownMemberType]
    write(stream, parsed, record)
