"""Does a store still have the columns that the contract says?"""

from collections.abc import Mapping

from quality.outcome import CheckOutcome, verdict
from streamgauge.contract.model import Contract

CHECK = "schema_drift"
Columns = Mapping[str, str]
"""Type by name, in the store's own words."""


def check_drift(contract: Contract, stores: Mapping[str, tuple[Columns, Columns | None]]) -> CheckOutcome:
    """`stores`: expected and actual columns by the store's name; None where the store has no schema yet."""
    findings: list[str] = []
    columns = 0
    failing = 0
    for store, (expected, actual) in stores.items():
        columns += len(expected)
        if actual is None:
            failing += len(expected)
            findings.append(f"{store}: no schema")
            continue
        wrong = {
            "lacks": [n for n in expected if n not in actual],
            "has besides": [n for n in actual if n not in expected],
            "has another type for": [n for n in expected if n in actual and actual[n] != expected[n]],
        }
        failing += sum(map(len, wrong.values()))
        findings += [f"{store} {what} {', '.join(names)}" for what, names in wrong.items() if names]
    return CheckOutcome(
        CHECK,
        verdict(not findings),
        contract.checks.schemaDrift.severity,
        observed="; ".join(findings) or "the contract's columns",
        expected=f"the columns of version {contract.version} in {' and '.join(stores)}",
        failing=failing,
        denominator=columns,
    )
