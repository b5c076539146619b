"""The dimensions of the facts: a star schema."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from streamgauge.contract.model import Contract

if TYPE_CHECKING:
    import dagster as dg


def definitions(contracts: Sequence[Contract]) -> dg.Definitions:
    # only here: what is pure in this package does without Dagster
    from assets.dims import asset

    return asset.definitions(contracts)
