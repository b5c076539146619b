"""Where a field stands in a nested record: `user.id`, `items[0].sku`."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

Steps: TypeAlias = tuple[str | int, ...]
"""Keys of objects and places in lists, from the top of the record down."""

_KEY = r"[^.\[\]]+(?:\[\d{1,4}\])*"
_PATH = re.compile(rf"{_KEY}(?:\.{_KEY})*")


def steps(path: str) -> Steps | None:
    """None where it can't be read. A key that holds a dot or a bracket can't be named."""
    if not _PATH.fullmatch(path):
        return None
    parts = re.findall(r"\[(\d+)\]|([^.\[\]]+)", path)
    return tuple(int(place) if place else key for place, key in parts)


@dataclass
class Node:
    """What paths want of a value: itself, or what is within an object or a list."""

    path: str
    wanted: bool = False
    keys: dict[str, "Node"] = field(default_factory=dict[str, "Node"])
    places: dict[int, "Node"] = field(default_factory=dict[int, "Node"])

    @property
    def kinds(self) -> list[str]:
        """More than one where paths contradict each other."""
        found = (("a value", self.wanted), ("an object", self.keys), ("a list", self.places))
        return [kind for kind, there in found if there]


def tree(paths: Iterable[Steps]) -> Node:
    top = Node("")
    for path in paths:
        node = top
        for step in path:
            if isinstance(step, int):
                node = node.places.setdefault(step, Node(f"{node.path}[{step}]"))
            else:
                node = node.keys.setdefault(step, Node(f"{node.path}.{step}".removeprefix(".")))
        node.wanted = True
    return top


def contradictions(paths: Mapping[str, Steps]) -> dict[str, str]:
    """By field, which of its path's beginnings another field's path takes for something else."""
    top, found = tree(paths.values()), dict[str, str]()
    for name, path in paths.items():
        node = top
        for step in (*path, None):
            if len(node.kinds) > 1:
                found.setdefault(name, f"{node.path} would be {' and '.join(node.kinds)}")
            if step is not None:
                node = node.places[step] if isinstance(step, int) else node.keys[step]
    return found
