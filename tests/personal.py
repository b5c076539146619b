"""A contract with a personal dimension beside its personal top-N."""

from dataclasses import replace

from streamgauge.contract.model import Contract, Source


def with_person(contract: Contract) -> Contract:
    dimensions = (*contract.rollup.dimensions, Source(name="person", source="user_id"))
    return replace(contract, rollup=contract.rollup.model_copy(update={"dimensions": dimensions}))
