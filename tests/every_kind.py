"""A contract whose measures are of every kind that there is."""

from dataclasses import replace

from streamgauge.contract.model import Contract, Measure


def every_kind(contract: Contract) -> Contract:
    kinds = {name: True for name, option in Measure.model_fields.items() if option.annotation is bool}
    measures = tuple(m.model_copy(update=kinds) for m in contract.rollup.measures)
    return replace(contract, rollup=contract.rollup.model_copy(update={"measures": measures}))
