"""What is wrong, in words for people, from all that judge: freshness, runs, checks and arrivals."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from sensors import arrivals, run_failures
from sensors.alerting.incidents import Incident, Problem
from sensors.alerting.subjects import name
from sensors.freshness import Judgement, Phase, Stale
from streamgauge.contract.model import Contract
from streamgauge.dagster import keys as asset_keys
from streamgauge.text import duration, moment


def all_problems(
    judgement: Judgement,
    runs: run_failures.Memory,
    checks: run_failures.Memory,
    unexplained: Iterable[Problem],
    arrived: arrivals.Arrivals,
    firing: Iterable[Incident],
    contracts: Sequence[Contract],
    runbooks: str,
    now: datetime,
) -> list[Problem]:
    """A failed run or check of an asset that waits for something upstream is not told, unless it was before."""
    told = {i.problem.cause for i in firing}
    failed = run_failures.problems(runs, checks, owners(contracts))
    found = [p for p in failed if p.cause in told or p.asset not in judgement.waiting]
    found += unexplained
    found += [stale_problem(s, now) for s in judgement.stale]
    found += arrivals.problems(contracts, arrived, now)
    return [replace(p, runbook=f"{runbooks}/{p.runbook}.md") for p in found]


def stale_problem(stale: Stale, now: datetime) -> Problem:
    s = stale.subject
    age = duration((now - stale.watermark).total_seconds())
    allowed = duration(s.target.total_seconds())
    text = f"As of {moment(stale.watermark.astimezone(UTC))}, {age} behind; {allowed} are allowed."
    if stale.detail:
        text += f" {stale.detail}"
    if stale.downstream:
        text += f" Waiting for it: {', '.join(stale.downstream)}."
    return Problem(
        cause=f"stale/{s.key}",
        name=s.alert,
        severity="critical" if stale.phase is Phase.CRITICAL else "warning",
        stream=s.stream,
        asset=s.key,
        owner=s.owner,
        summary=s.summary.format(key=s.key),
        description=text,
        runbook=s.runbook,
        since=stale.watermark,
        downstream=stale.downstream,
    )


def owners(contracts: Iterable[Contract]) -> Mapping[str, tuple[str, str]]:
    """Each asset's stream and owner."""
    return {name(make(c)): (c.stream, c.owner) for c in contracts for make in _ASSETS}


_ASSETS = (
    asset_keys.kafka,
    asset_keys.minutes,
    asset_keys.redis_top,
    asset_keys.lake,
    asset_keys.facts,
    asset_keys.duplicates,
    asset_keys.quarantine,
    asset_keys.rollups_hourly,
    asset_keys.rollups_daily,
    asset_keys.reconciliation,
    asset_keys.report,
)
