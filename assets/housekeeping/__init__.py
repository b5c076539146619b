"""What grows is kept within bounds: old data goes by the contract's policy, small and dead files go, old logs go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from streamgauge.contract.model import Contract

if TYPE_CHECKING:
    import dagster as dg


def definitions(contracts: Sequence[Contract]) -> dg.Definitions:
    # only here: what is pure in this package does without Dagster
    from assets.housekeeping import job

    return job.definitions(contracts)
