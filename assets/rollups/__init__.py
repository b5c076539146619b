"""From facts to rollups, by hour and by day."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from streamgauge.contract.model import Contract

if TYPE_CHECKING:
    import dagster as dg

    from assets.partitions import PartitionsOf


def definitions(contracts: Sequence[Contract], partitions_of: PartitionsOf) -> dg.Definitions:
    # only here: what is pure in this package does without Dagster
    from assets.rollups import asset

    return asset.definitions(contracts, partitions_of)
