"""A stream of a test's own on the shared servers: its contract under another name."""

import uuid
from pathlib import Path
from typing import Any

import yaml

from streamgauge.contract.load import load_contract
from streamgauge.contract.model import Contract
from streamgauge.settings import CHECKOUT, Settings

Document = dict[str, Any]


class OwnStream:
    """A folder with one contract, like user_events but under a name that no other test has."""

    def __init__(self, folder: Path) -> None:
        self.name = f"t{uuid.uuid4().hex[:10]}"
        self.folder = folder
        document = yaml.safe_load((CHECKOUT / "platform" / "contracts" / "user_events.yaml").read_text())
        schema = document["schema"][0]
        schema["name"], schema["physicalName"] = self.name, f"app-{self.name}"
        block(document, "topic")["countsTopic"] = f"app-{self.name}-counts"
        block(document, "reference")["name"] = self.name
        self.write(document)

    @property
    def file(self) -> Path:
        return self.folder / f"{self.name}.yaml"

    def document(self) -> Document:
        return yaml.safe_load(self.file.read_text())

    def write(self, document: Document) -> Contract:
        # whole at once: who sends or works by it meanwhile must not read half of it
        part = self.file.with_suffix(".part")
        part.write_text(yaml.safe_dump(document))
        part.replace(self.file)
        return self.contract

    @property
    def contract(self) -> Contract:
        return load_contract(self.file)

    def settings(self, role: Any = "admin") -> Settings:
        return Settings.for_role(role).model_copy(update={"contracts_dir": self.folder})


def block(document: Document, name: str) -> dict[str, Any]:
    return next(p for p in document["customProperties"] if p["property"] == name)["value"]


def prop(document: Document, name: str) -> dict[str, Any]:
    return next(p for p in document["schema"][0]["properties"] if p["name"] == name)


def add_field(document: Document, name: str, default: str | None) -> None:
    field: dict[str, Any] = {
        "name": name,
        "logicalType": "string",
        "physicalType": "string",
        "required": True,
        "classification": "public",
        "description": "Added later.",
    }
    if default is not None:
        field["customProperties"] = [{"property": "default", "value": default}]
    document["schema"][0]["properties"].append(field)
