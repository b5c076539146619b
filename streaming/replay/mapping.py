"""How a data set's lines become a stream's events, said in a small YAML file."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal, Self, cast

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from streamgauge.contract.model import Contract, FieldSpec
from streamgauge.errors import UserError

ROW = "row"
"""In a template: the line's number in its file, from 1."""


class MappingFault(Exception):
    """A line that can't be mapped, and why."""


class _Block(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Value(_Block):
    """One value: a source field, a constant, or a template over the source's fields and `{row}`."""

    source: str | None = Field(default=None, alias="from")
    const: str | int | float | bool | None = None
    template: str | None = None
    time: Literal["iso", "seconds", "milliseconds"] | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(v is not None for v in (self.source, self.const, self.template)) != 1:
            raise ValueError("give exactly one of from, const and template")
        return self

    def of(self, line: Mapping[str, Any], row: int) -> Any:
        if self.const is not None:
            return self.const
        if self.template is not None:
            try:
                return self.template.format_map({**line, ROW: row})
            except KeyError as e:
                raise MappingFault(f"the template needs {e.args[0]!r}, which the line hasn't") from e
        value = line.get(cast(str, self.source))
        return value if value is None or self.time is None else self._epoch_ms(value)

    def _epoch_ms(self, value: Any) -> int:
        try:
            if self.time == "iso":
                at = datetime.fromisoformat(value)
                return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
            return round(float(value) * (1000 if self.time == "seconds" else 1))
        except (ValueError, TypeError, OverflowError) as e:
            raise MappingFault(f"{self.source} is no time ({self.time})") from e


class Entries(_Block):
    """A map's entries by name; one whose source is absent or null is left out."""

    entries: dict[str, Value]

    def of(self, line: Mapping[str, Any], row: int) -> dict[str, str]:
        values = {name: value.of(line, row) for name, value in self.entries.items()}
        return {name: _text(v) for name, v in values.items() if v is not None}


class DataMapping(_Block):
    stream: str
    files: str
    """Pattern of the file names that this mapping is for."""
    fields: dict[str, Value | Entries]

    def event(self, contract: Contract, line: Any, row: int) -> dict[str, Any]:
        """The line as an event of the contract, types as the source has them. Raises MappingFault."""
        if not isinstance(line, dict):
            raise MappingFault("the line is no JSON object")
        source = cast(dict[str, Any], line)
        return {name: _as(contract.field[name], value.of(source, row)) for name, value in self.fields.items()}

    def check(self, contract: Contract) -> None:
        """Raises ValueError where mapping and contract don't fit."""
        unknown = set(self.fields) - set(contract.field)
        if unknown:
            raise ValueError(f"fields: {contract.stream} has no {', '.join(sorted(unknown))}")
        missing = [f.name for f in contract.fields if f.required and f.default is None and f.name not in self.fields]
        if missing:
            raise ValueError(f"fields: {', '.join(missing)} of {contract.stream} must be given")
        for name, value in self.fields.items():
            if isinstance(value, Entries) != contract.field[name].is_map:
                raise ValueError(f"fields.{name}: entries are for maps, and only for them")


def load_mapping(path: Path, contracts: Sequence[Contract]) -> tuple[DataMapping, Contract]:
    """Raises UserError naming the file and the place in it."""
    try:
        mapping = DataMapping.model_validate(yaml.safe_load(path.read_text()))
        contract = next((c for c in contracts if c.stream == mapping.stream), None)
        if contract is None:
            raise ValueError(f"there is no stream {mapping.stream!r}")
        mapping.check(contract)
    except (OSError, ValidationError, ValueError, yaml.YAMLError) as e:
        raise UserError(f"mapping {path.name}: {e}", f"correct {path}") from e
    return mapping, contract


def find_mapping(data: Path, folder: Path, contracts: Sequence[Contract]) -> tuple[DataMapping, Contract]:
    """The mapping in `folder` whose pattern the file's name matches."""
    for path in sorted(folder.glob("*.yaml")):
        mapping, contract = load_mapping(path, contracts)
        if fnmatch(data.name, mapping.files):
            return mapping, contract
    raise UserError(f"no mapping in {folder} is for {data.name}", "name one with --mapping, or write one there")


def _as(f: FieldSpec, value: Any) -> Any:
    """A text field takes numbers as text: ids are often numbers in the source."""
    return _text(value) if f.type == "string" and value is not None else value


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    raise MappingFault("a list or an object can't be text")
