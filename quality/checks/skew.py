"""How long events are under way: ingest time minus event time."""

import polars as pl

from quality.masking import Masker
from quality.outcome import CheckOutcome, verdict
from streamgauge.contract.model import Contract
from streamgauge.stores.lake import INGEST_TIME

CHECK = "skew"
_QUANTILES = {"p01": 0.01, "p50": 0.5, "p95": 0.95, "p99": 0.99}


def check_skew(contract: Contract, facts: pl.DataFrame, masker: Masker) -> CheckOutcome:
    spec = contract.checks.skew
    limit = spec.p99Seconds
    expected = "measured; the contract sets no limit" if limit is None else f"99% within {limit:g} s"
    if facts.is_empty():
        return CheckOutcome(CHECK, "unknown", spec.severity, "no facts", expected)
    behind = pl.col(INGEST_TIME).to_physical() - pl.col(contract.event_time).to_physical()
    seconds = facts.with_columns((behind / 1000).alias("__behind"))
    found = seconds.select(
        *(pl.col("__behind").quantile(q, "nearest").alias(name) for name, q in _QUANTILES.items()),
        pl.col("__behind").min().alias("min"),
        pl.col("__behind").max().alias("max"),
    ).row(0, named=True)
    over = seconds.clear() if limit is None else seconds.filter(pl.col("__behind") > limit)
    slowest = over.sort("__behind", descending=True)
    return CheckOutcome(
        CHECK,
        "unknown" if limit is None else verdict(found["p99"] <= limit),
        spec.severity,
        observed=f"median {_seconds(found['p50'])}, p99 {_seconds(found['p99'])}",
        expected=expected,
        failing=over.height,
        denominator=facts.height,
        samples=masker.samples(slowest, f"more than {limit:g} s under way") if limit is not None else (),
        details={f"{name} seconds": round(value, 3) for name, value in found.items()},
    )


def _seconds(value: float) -> str:
    if abs(value) < 600:
        return f"{value:.1f} s"
    return f"{value / 60:.0f} min" if abs(value) < 7200 else f"{value / 3600:.1f} h"
