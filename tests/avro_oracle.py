"""Avro's binary encoding read plainly, value by value: https://avro.apache.org/docs/1.12.0/specification/."""

import struct
from typing import Any, cast


class NotAvro(Exception):
    """The reason, in the decoder's words."""


def name_of(schema: Any) -> str:
    """Of an Avro type, whichever way it is written."""
    if isinstance(schema, list):
        return "union"
    return str(cast(dict[str, Any], schema)["type"]) if isinstance(schema, dict) else str(schema)


def read(schema: Any, data: bytes) -> Any:
    """One record without its frame, and nothing behind it."""
    reader = _Reader(data)
    value = reader.value(schema)
    if reader.at < len(data):
        raise NotAvro(f"{len(data) - reader.at} bytes behind the record")
    return value


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        if size < 0:
            raise NotAvro("not a record of its schema")
        if size > len(self.data) - self.at:
            raise NotAvro("the record ends too early")
        self.at += size
        return self.data[self.at - size : self.at]

    def long(self) -> int:
        bits = 0
        for nth in range(10):
            byte = self.take(1)[0]
            bits |= (byte & 0x7F) << 7 * nth
            if bits >= 2**64:
                break
            if byte < 0x80:
                return bits >> 1 ^ -(bits & 1)
        raise NotAvro("not a record of its schema")

    def string(self) -> str:
        try:
            return self.take(self.long()).decode()
        except UnicodeDecodeError:
            raise NotAvro("a string is not UTF-8") from None

    def one_of(self, choices: int) -> int:
        chosen = self.long()
        if not 0 <= chosen < choices:
            raise NotAvro("a value doesn't fit its type")
        return chosen

    def blocks(self, item: Any) -> list[Any]:
        found: list[Any] = []
        while count := self.long():
            if count == -(2**63):
                raise NotAvro("not a record of its schema")
            if count < 0:
                self.long()
            if abs(count) > len(self.data) - self.at:
                raise NotAvro("the record ends too early")
            found += [item() for _ in range(abs(count))]
        return found

    def value(self, schema: Any) -> Any:
        match name_of(schema):
            case "union":
                return self.value(schema[self.one_of(len(schema))])
            case "null":
                return None
            case "boolean":
                truth = self.take(1)[0]
                if truth > 1:
                    raise NotAvro("not a record of its schema")
                return truth == 1
            case "int" | "long":
                return self.long()
            case "float":
                return struct.unpack("<f", self.take(4))[0]
            case "double":
                return struct.unpack("<d", self.take(8))[0]
            case "string":
                return self.string()
            case "bytes":
                return self.take(self.long())
            case "fixed":
                return self.take(schema["size"])
            case "enum":
                return schema["symbols"][self.one_of(len(schema["symbols"]))]
            case "array":
                return self.blocks(lambda: self.value(schema["items"]))
            case "map":
                return self.blocks(lambda: (self.string(), self.value(schema["values"])))
            case "record":
                return {f["name"]: self.value(f["type"]) for f in schema["fields"]}
            case kind:
                raise ValueError(kind)
