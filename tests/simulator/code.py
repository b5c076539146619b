"""The worker's own code, executed once more with other modules in the place of time, threads and servers.

Nothing of the worker knows of it, and the modules that the rest of the process has imported stay as they are.
"""

import builtins
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import CodeType, ModuleType
from typing import Any

from streamgauge.settings import CHECKOUT

_PACKAGES = {"streaming": CHECKOUT, "streamgauge": CHECKOUT / "platform"}
_ANEW = ("streaming.worker", "streamgauge.state.topics", "streamgauge.stores.kafka", "streamgauge.stores.postgres",
         "streamgauge.telemetry.threads")  # fmt: skip
"""What is executed anew: all else has neither time, threads nor servers."""

_compiled: dict[tuple[str, str], CodeType] = {}


@dataclass(frozen=True)
class Change:
    """In a file of the checkout, a text that stands there once becomes another."""

    file: str
    old: str
    new: str

    def applied(self, source: str) -> str:
        found = source.count(self.old)
        if found != 1:
            raise ValueError(f"{self.file} has {found} times, not once: {self.old}")
        return source.replace(self.old, self.new)


class Code:
    def __init__(self, substitutes: Mapping[str, ModuleType], changes: Sequence[Change] = ()) -> None:
        self._substitutes = substitutes
        self._changes = changes
        self._modules: dict[str, ModuleType] = {}
        self._builtins = {**vars(builtins), "__import__": self._import}

    def module(self, name: str) -> ModuleType:
        if name not in self._modules:
            file = "/".join((*name.split("."), "__init__.py" if name == "streaming.worker" else ""))
            path = (_PACKAGES[name.partition(".")[0]] / file.rstrip("/")).with_suffix(".py")
            made = self._modules[name] = ModuleType(name)
            vars(made).update(__file__=str(path), __builtins__=self._builtins)
            source = path.read_text()
            for change in self._changes:
                if CHECKOUT / change.file == path:
                    source = change.applied(source)
            key = str(path), source
            if key not in _compiled:
                _compiled[key] = compile(source, str(path), "exec")
            exec(_compiled[key], vars(made))
        return self._modules[name]

    def _import(
        self, name: str, given: Any = None, local: Any = None, wanted: Iterable[str] | None = (), level: int = 0
    ) -> Any:
        if name in self._substitutes:
            return self._substitutes[name]
        if not name.startswith(_ANEW):
            return __import__(name, given, local, tuple(wanted or ()), level)
        found = self.module(name)
        for member in wanted or ():
            if not hasattr(found, member):
                setattr(found, member, self.module(f"{name}.{member}"))
        return found
