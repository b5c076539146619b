"""Does every key in the facts lead to a row of its dimension?"""

from collections.abc import Mapping

import polars as pl

from quality.masking import Masker
from quality.outcome import SAMPLES, CheckOutcome, Sample, verdict
from streamgauge.contract.model import Contract

CHECK = "references"


def check_references(
    contract: Contract, facts: pl.DataFrame, dimensions: Mapping[str, pl.Series], masker: Masker
) -> CheckOutcome:
    """`dimensions`: of each key column of the facts, the keys that its dimension has."""
    samples: list[Sample] = []
    dangling: dict[str, int] = {}
    for column, keys in dimensions.items():
        known = keys.drop_nulls().unique().rename(column).to_frame()
        lost = facts.join(known, on=column, how="anti", nulls_equal=False)
        if lost.is_empty():
            continue
        dangling[column] = lost.height
        samples += masker.samples(lost, f"{column}: not in its dimension")
    return CheckOutcome(
        CHECK,
        verdict(not dangling),
        contract.checks.references.severity,
        observed="; ".join(f"{column}: {n} without a row" for column, n in dangling.items()) or "every key found",
        expected=f"{', '.join(dimensions)}: every key has its row",
        failing=sum(dangling.values()),
        denominator=facts.height * len(dimensions),
        samples=tuple(samples[:SAMPLES]),
    )
