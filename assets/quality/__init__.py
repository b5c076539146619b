"""Quality in Dagster: the hourly checks behind lake and facts, and the daily report."""

from collections.abc import Sequence

import dagster as dg

from assets.partitions import PartitionsOf
from assets.quality.checks import make_books_check, make_facts_checks, make_lake_checks
from assets.quality.report import make_report
from streamgauge.contract.model import Contract

_CHECKS = (make_facts_checks, make_lake_checks, make_books_check)


def definitions(contracts: Sequence[Contract], partitions_of: PartitionsOf) -> dg.Definitions:
    return dg.Definitions(
        assets=[make_report(c, partitions_of(c)) for c in contracts],
        asset_checks=[make(c, partitions_of(c)) for c in contracts for make in _CHECKS],
    )
