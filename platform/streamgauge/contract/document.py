"""A YAML file with the line of each of its values, and what is wrong with it, reported where it stands."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, cast

import yaml

from streamgauge.errors import UserError

Place: TypeAlias = tuple[str | int, ...]
"""Keys and positions, from the top of the file down."""


@dataclass(frozen=True)
class ContractMistake:
    """`place` as it reads, such as `customProperties.rollup.dimensions[1].name`."""

    file: str
    line: int
    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.place}{': ' if self.place else ''}{self.message}"


@dataclass
class Document:
    """What the file holds. Mistakes are gathered, so that all of them can be reported at once."""

    path: Path
    data: Any = None
    lines: dict[Place, int] = field(default_factory=dict[Place, int])
    _mistakes: dict[Place, list[str]] = field(default_factory=dict[Place, list[str]])

    def add(self, place: Place, message: str) -> None:
        """What follows from another mistake at the same place, or at one that holds it, is not reported again."""
        if not any(place[:n] in self._mistakes for n in range(len(place) + 1)):
            self._mistakes[place] = [message]

    def mistaken(self, place: Place) -> bool:
        """Whether something at this place, within it or around it is wrong."""
        return any(known[: len(place)] == place[: len(known)] for known in self._mistakes)

    @property
    def mistakes(self) -> list[ContractMistake]:
        found = [
            ContractMistake(self.path.name, self._line(place), self._reads(place), message)
            for place, messages in self._mistakes.items()
            for message in messages
        ]
        return sorted(found, key=lambda m: m.line)

    def _line(self, place: Place) -> int:
        return next((self.lines[place[:n]] for n in range(len(place), -1, -1) if place[:n] in self.lines), 1)

    def _reads(self, place: Place) -> str:
        """An entry of a list goes by its name where it has one for that; `value` beside such a name says nothing."""
        text, value, named = "", self.data, False
        for n, part in enumerate(place):
            value = inside(value, part)
            if isinstance(part, int):
                key = {"customProperties": "property", "slaProperties": "property", "properties": "name"}.get(
                    str(place[n - 1]) if n else ""
                )
                name = cast(dict[str, Any], value).get(key) if key and isinstance(value, dict) else None
                named = isinstance(name, str)
                text += f".{name}" if named else f"[{part}]"
            elif not (named and part == "value"):
                text += f".{part}"
                named = False
        return text.removeprefix(".")


def inside(value: Any, part: str | int) -> Any:
    if isinstance(value, dict):
        return cast(dict[Any, Any], value).get(part)
    if isinstance(value, list) and isinstance(part, int):
        entries = cast(list[Any], value)
        return entries[part] if part < len(entries) else None
    return None


def refuse(mistakes: Sequence[ContractMistake], files: Iterable[Path]) -> None:
    if mistakes:
        raise UserError("\n".join(map(str, mistakes)), f"correct {' and '.join(map(str, files))}")


def read_document(path: Path, kind: str = "contract") -> Document:
    """`kind` is what errors call it."""
    document = Document(path)
    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as e:
        document.lines[()] = e.problem_mark.line + 1 if e.problem_mark else 1
        document.add((), f"is not YAML: {e.problem}")
    except (yaml.YAMLError, UnicodeDecodeError) as e:
        document.add((), f"is not YAML: {' '.join(str(e).split())}")
    except OSError as e:
        raise UserError(f"{kind} {path.name} can't be read: {e.strerror}", f"see that {path} can be read") from e
    else:
        document.data = None if node is None else _Reader(document, loader).read(node, (), ())
        if not isinstance(document.data, dict):
            document.add((), f"is no {kind}: it must hold keys and values")
    return document


class _Reader:
    def __init__(self, document: Document, loader: yaml.SafeLoader) -> None:
        self._document = document
        self._loader: Any = loader

    def read(self, node: yaml.Node, place: Place, around: tuple[yaml.Node, ...]) -> Any:
        self._document.lines.setdefault(place, node.start_mark.line + 1)
        if any(node is other for other in around):
            self._document.add(place, "refers to itself")
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place, (*around, node))
        if isinstance(node, yaml.SequenceNode):
            return [self.read(n, (*place, i), (*around, node)) for i, n in enumerate(node.value)]
        return self._scalar(node, place)

    def _mapping(self, node: yaml.MappingNode, place: Place, around: tuple[yaml.Node, ...]) -> dict[str, Any]:
        own: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value not in own:
                own[key.value] = line
            else:
                at = (*place, key.value)
                self._document.lines[at] = line
                self._document.add(at, f"stands twice, in line {own[key.value]} too; leave one of them")
        self._loader.flatten_mapping(node)
        read: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._document.add(place, "has a key that is no text")
                continue
            at = (*place, str(key.value))
            self._document.lines.setdefault(at, key.start_mark.line + 1)
            read[str(key.value)] = self.read(value, at, around)
        return read

    def _scalar(self, node: yaml.Node, place: Place) -> Any:
        try:
            return self._loader.construct_object(node)
        except (ValueError, yaml.YAMLError):
            self._document.add(place, f"{getattr(node, 'value', '')!r} can't be read; put it in quotes if it is text")
            return None
