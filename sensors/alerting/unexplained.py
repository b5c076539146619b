"""Hours whose layers differ, with nothing that explains it: an alert until it is explained, repaired or accepted."""

from collections.abc import Sequence

from sensors.alerting.incidents import Alert
from sensors.alerting.subjects import name
from streamgauge.contract.model import Contract
from streamgauge.dagster import keys as asset_keys
from streamgauge.dagster.hours import hour_key
from streamgauge.stores.postgres import Connection

_NAMED = 5

UNEXPLAINED = """select stream, min(compared_at), count(*), (array_agg(hour order by hour desc))[:%s]
from event_hours e where not passed and not exists (select from accepted_differences a
    where a.stream = e.stream and a.hour = e.hour and a.differences = e.differences) group by stream"""


def unexplained_hours(connection: Connection, contracts: Sequence[Contract]) -> list[Alert]:
    """One a stream. `since` is the comparison that is the oldest of those that stand."""
    of = {c.stream: c for c in contracts}
    found: list[Alert] = []
    for stream, since, count, hours in connection.execute(UNEXPLAINED, (_NAMED,)):
        if stream not in of:
            continue
        named = ", ".join(map(hour_key, hours)) + (", …" if count > len(hours) else "")
        found.append(
            Alert(
                cause=f"unexplained/{stream}",
                name="StreamgaugeHourUnexplained",
                severity="critical",
                stream=stream,
                asset=name(asset_keys.reconciliation(of[stream])),
                owner=of[stream].owner,
                summary=f"the layers of {stream} differ in {count} {'hour' if count == 1 else 'hours'}, unexplained",
                description=f"Hours: {named}. streamgauge reconcile {stream} names the buckets.",
                runbook="hour-unexplained",
                since=since,
            )
        )
    return found
