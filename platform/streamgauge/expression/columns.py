"""A contract's derived fields as columns of a frame of events: the worker's batches and the batch layer's hours have
them by the same expressions.
"""

from collections.abc import Iterable
from typing import TypeVar

import polars as pl

from streamgauge.contract.model import Contract
from streamgauge.expression.compile import compile_expression
from streamgauge.expression.scope import Scope, derived_column

Events = TypeVar("Events", pl.DataFrame, pl.LazyFrame)


class DerivedColumns:
    """Those that `sources` name, conditions among them, and those that they are computed of.

    `inputs` are the map values and reference columns that must stand in the frame by the names that contracts give
    them, such as `map_field.key`.
    """

    def __init__(self, contract: Contract, sources: Iterable[str]) -> None:
        wanted = set(sources)
        known = tuple(contract.derived_field.values())
        for d in reversed(known):
            if d.name in wanted:
                wanted.update(d.uses)
        asked = [d for d in known if d.name in wanted]
        self._names = frozenset(d.name for d in asked)
        self.inputs = tuple(dict.fromkeys(s for d in asked for s in d.sources if "." in s))
        self._steps: list[pl.Expr] = []
        for i, d in enumerate(asked):
            scope = Scope(contract.field, contract.reference, {before.name: before for before in asked[:i]})
            self._steps.append(compile_expression(d.text, scope).expr.alias(derived_column(d.name)))

    def __bool__(self) -> bool:
        return bool(self._steps)

    def __contains__(self, source: str) -> bool:
        return source in self._names

    def add(self, events: Events) -> Events:
        """One after the other: a derived field may be computed of those before it."""
        for step in self._steps:
            events = events.with_columns(step)
        return events
