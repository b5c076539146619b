"""CloudEvents 1.0: an event's fields are in its data; its `id` and `time` are the contract's where the data has none.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
"""

from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import unquote

from serving.ingest.unreadable import Unreadable
from streamgauge.contract.model import Contract

_REQUIRED = ("id", "source", "type")


def structured(contract: Contract, event: dict[str, Any]) -> dict[str, Any] | Unreadable:
    if "data_base64" in event:
        return Unreadable("data_base64", "is not read; send the fields in data")
    media = event.get("datacontenttype", "application/json")
    if not isinstance(media, str) or media.partition(";")[0].strip().lower() != "application/json":
        return Unreadable("datacontenttype", "must be application/json")
    data = event.get("data")
    if not isinstance(data, dict):
        return Unreadable("data", "must be a JSON object with the event's fields")
    return _filled(contract, event, cast(dict[str, Any], data))


def binary(contract: Contract, headers: Mapping[str, str], data: dict[str, Any]) -> dict[str, Any] | Unreadable:
    names = ("specversion", *_REQUIRED, "time")
    attributes = {name: unquote(headers[f"ce-{name}"]) for name in names if f"ce-{name}" in headers}
    return _filled(contract, attributes, data)


def _filled(contract: Contract, attributes: Mapping[str, Any], data: dict[str, Any]) -> dict[str, Any] | Unreadable:
    if attributes.get("specversion") != "1.0":
        return Unreadable("specversion", "must be 1.0")
    for name in _REQUIRED:
        if not isinstance(attributes.get(name), str) or not attributes[name]:
            return Unreadable(name, "must be text, as CloudEvents has it")
    data.setdefault(contract.event_id, attributes["id"])
    if "time" in attributes:
        data.setdefault(contract.event_time, attributes["time"])
    return data
