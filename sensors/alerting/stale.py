"""Stale subjects in words for people, and who answers for which asset."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from sensors.alerting.conditions import STALE_CAUSE
from sensors.alerting.incidents import Alert
from sensors.alerting.subjects import name
from sensors.freshness import Phase, Stale
from streamgauge.contract.model import Contract
from streamgauge.dagster import keys as asset_keys
from streamgauge.text import duration, moment


def stale_alert(stale: Stale, now: datetime) -> Alert:
    s = stale.subject
    age = duration((now - stale.watermark).total_seconds())
    allowed = duration(s.target.total_seconds())
    text = f"As of {moment(stale.watermark.astimezone(UTC))}, {age} behind; {allowed} are allowed."
    if stale.detail:
        text += f" {stale.detail}"
    if stale.downstream:
        text += f" Waiting for it: {', '.join(stale.downstream)}."
    return Alert(
        cause=f"{STALE_CAUSE}{s.key}",
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
