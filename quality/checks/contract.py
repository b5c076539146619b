"""Do the facts keep the contract? What broke it went to quarantine, so a failure here is a fault of ours."""

import polars as pl

from quality.masking import Masker
from quality.outcome import SAMPLES, CheckOutcome, Sample, verdict
from quality.schemas import schema_of, violations_of
from streamgauge.contract.model import Contract

CHECK = "contract"


def check_contract(contract: Contract, facts: pl.DataFrame, masker: Masker) -> CheckOutcome:
    fields = facts.select(f.name for f in contract.fields if f.name in facts.columns)
    found = violations_of(schema_of(contract), fields)
    broken = pl.repeat(any(v.rows is None for v in found), facts.height, dtype=pl.Boolean, eager=True)
    samples: list[Sample] = []
    for violation in found:
        if violation.rows is None:
            continue
        broken = broken | violation.rows
        if len(samples) < SAMPLES:
            samples += masker.samples(facts.filter(violation.rows), violation.rule)
    return CheckOutcome(
        CHECK,
        verdict(not found),
        contract.checks.contract.severity,
        observed="; ".join(f"{v.rule} ({v.failing})" for v in found) or "no rule broken",
        expected=f"every fact keeps version {contract.version} of the contract",
        failing=int(broken.sum()),
        denominator=facts.height,
        samples=tuple(samples[:SAMPLES]),
    )
