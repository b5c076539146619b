"""A contract with derived fields, counts and conditions, as its file would make it."""

from collections.abc import Mapping
from dataclasses import replace

from streamgauge.contract.measures import condition
from streamgauge.contract.model import Contract, RollupSpec
from streamgauge.expression.compile import read_expression
from streamgauge.expression.scope import Scope


def derive(contract: Contract, fields: Mapping[str, str], rollup: RollupSpec | None = None) -> Contract:
    for name, text in fields.items():
        contract = replace(contract, derived=(*contract.derived, read_expression(name, text, _scope(contract))))
    if rollup is None:
        return contract
    where = {condition(m.name): m.where for m in rollup.numbered if m.where is not None}
    conditions = tuple(read_expression(name, text, _scope(contract)) for name, text in where.items())
    return replace(contract, rollup=rollup, conditions=conditions)


def _scope(contract: Contract) -> Scope:
    return Scope(contract.field, contract.reference, {d.name: d for d in contract.derived})
