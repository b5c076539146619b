"""How many of an hour's records were put in quarantine, and for which rules."""

import polars as pl

from quality.masking import Masker
from quality.outcome import CheckOutcome, verdict
from streamgauge.contract.model import Contract

CHECK = "quarantine"


def quarantined_share(valid: int, quarantined: int) -> float:
    """Of all records. `valid` are those that broke no rule: facts, and duplicates of them."""
    return quarantined / (valid + quarantined) if quarantined else 0.0


def check_quarantine(contract: Contract, valid: int, quarantined: pl.DataFrame, masker: Masker) -> CheckOutcome:
    """`quarantined` has `rule`, `partition`, `offset`, and the contract's fields as far as they could be read."""
    spec = contract.checks.quarantine
    failing, denominator = quarantined.height, valid + quarantined.height
    share = quarantined_share(valid, failing)
    rules = quarantined.group_by("rule").len().sort("len", "rule", descending=[True, False])
    by_rule = {f"rule {rule}": int(count) for rule, count in rules.rows()}
    return CheckOutcome(
        CHECK,
        verdict(share <= spec.maximumShare),
        spec.severity,
        observed=f"{share:.2%} quarantined",
        expected=f"at most {spec.maximumShare:.2%}",
        failing=failing,
        denominator=denominator,
        samples=masker.samples(_one_of_each_first(quarantined), pl.col("rule")),
        details=by_rule,
    )


def _one_of_each_first(rows: pl.DataFrame) -> pl.DataFrame:
    """A sample should show every rule before it shows one of them twice."""
    return rows.sort(pl.int_range(pl.len()).over("rule"), pl.col("partition"), pl.col("offset"))
