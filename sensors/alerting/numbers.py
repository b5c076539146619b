"""Numbers that are out of the bounds that their contract sets."""

from collections.abc import Set
from datetime import datetime, timedelta

from sensors.alerting.incidents import Alert
from streamgauge.contract.model import Contract, NumberAlert
from streamgauge.rollup.number_alerts import (
    Level,
    Reading,
    bounds_in_words,
    complete_until,
    level_of,
    read_numbers,
    reading_in_words,
    standing,
    windows_needed,
)
from streamgauge.stores.postgres import Connection

_CURRENT = timedelta(hours=1)
"""What is older, because a worker catches up or old events are replayed, is no news. What stands goes on."""


def numbers_out_of_bounds(connection: Connection, contract: Contract, fires: Set[str], now: datetime) -> list[Alert]:
    """`fires` has the causes of the alerts that stand."""
    until = complete_until(connection, contract)
    if until is None:
        return []
    stale = until < now - _CURRENT - timedelta(milliseconds=contract.lateness_ms)
    found: list[Alert] = []
    for alert in contract.alerts:
        stands = _cause(contract, alert) in fires
        if stale and not stands:
            continue
        readings = read_numbers(connection, contract, alert, until, windows_needed(alert))
        levels = [level_of(alert, r.compared) for r in readings]
        level = standing(alert, levels, stands)
        if level > Level.WITHIN:
            first = next(r for r, at in zip(readings, levels, strict=True) if at > Level.WITHIN)
            found.append(_alert(contract, alert, level, first, readings[-1]))
    return found


def _cause(contract: Contract, alert: NumberAlert) -> str:
    return f"number/{contract.stream}/{alert.name}"


def _alert(contract: Contract, alert: NumberAlert, level: Level, first: Reading, last: Reading) -> Alert:
    about = f" {alert.description}" if alert.description else ""
    return Alert(
        cause=_cause(contract, alert),
        name="StreamgaugeNumberOutOfBounds",
        severity="critical" if level is Level.CRITICAL else "warning",
        stream=contract.stream,
        asset="",
        owner=contract.owner,
        summary=f"{contract.stream}: {alert.number} is out of bounds ({alert.name})",
        description=f"{reading_in_words(alert, last)}. Bounds: {bounds_in_words(alert)}.{about}",
        runbook="number-out-of-bounds",
        since=first.end,
    )
