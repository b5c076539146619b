"""Anomalies under way: one alert a stream, however many of its series are odd, until none is that nobody looked at."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta

from sensors.alerting.incidents import Alert
from streamgauge.contract.model import Contract
from streamgauge.stores.postgres import Connection, has_relation

_NAMED = 5
_CURRENT = timedelta(hours=1)
"""What is found while weeks of old minutes are learned is no news."""

# Dimensions are left out: their values come from events.
_UNDER_WAY = """select a.stream, min(a.began), count(*), (array_agg(a.figure || ' ' || a.kind || ' ' || a.direction
|| ', score ' || round(a.score::numeric, 1) order by a.score desc, a.id))[:%s]
from anomalies a join anomaly_progress p using (stream) where a.ended is null and a.verdict_at is null
and a.stream = any(%s) and p.until > %s - (%s::jsonb ->> a.stream)::float * interval '1 second' group by a.stream"""


def anomalies_under_way(connection: Connection, contracts: Sequence[Contract], now: datetime) -> list[Alert]:
    of = {c.stream: c for c in contracts if not c.anomalies.off}
    if not has_relation(connection, "anomalies"):
        return []
    behind = {stream: (c.lateness_ms / 1000) for stream, c in of.items()}
    rows = connection.execute(_UNDER_WAY, (_NAMED, list(of), now - _CURRENT, json.dumps(behind)))
    found: list[Alert] = []
    for stream, began, count, worst in rows:
        more = "; …" if count > len(worst) else ""
        found.append(
            Alert(
                cause=f"anomaly/{stream}",
                name="StreamgaugeAnomaly",
                severity="warning",
                stream=stream,
                asset="",
                owner=of[stream].owner,
                summary=f"{stream}: {count} {'series is' if count == 1 else 'series are'} not as expected",
                description=f"{'; '.join(worst)}{more}. streamgauge anomalies list --stream {stream} names them.",
                runbook="anomaly",
                since=began,
            )
        )
    return found
