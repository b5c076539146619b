"""The one place where Dagster's parts meet: every asset, check, job and sensor of every contract."""

from importlib import import_module
from importlib.util import find_spec

import dagster as dg

from assets.resources import Ground
from streamgauge.contracts import load_contracts
from streamgauge.settings import contracts_dir

PARTS = (
    "assets.external",
    "assets.lake",
    "assets.facts",
    "assets.dims",
    "assets.rollups",
    "assets.reconciliation",
    "assets.quality",
    "assets.housekeeping",
)
"""Each has `definitions(contracts)`."""


@dg.definitions
def defs() -> dg.Definitions:
    contracts = load_contracts(contracts_dir())
    parts = [import_module(name).definitions(contracts) for name in PARTS if find_spec(name)]
    return dg.Definitions.merge(
        *parts,
        dg.Definitions(resources={"ground": Ground()}, executor=dg.in_process_executor),
    )
