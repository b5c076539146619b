"""Where an hour of ingest time begins in each partition.

The broker's times of appending only grow, and the offset of an hour never moves. A topic of somebody else's may keep
its producers' times instead: then records of an hour that is over can still be appended, and one wrong clock can name
any year. So there an hour begins at the first record that says to be of it, or where the log ended when the hour was
over, whichever comes first, and that is kept once it is known: each record is in one hour of the lake, and stays there.
"""

from datetime import datetime, timedelta

from confluent_kafka.admin import AdminClient

from streamgauge.contract.model import Contract
from streamgauge.dagster.hours import SETTLED
from streamgauge.records.fetcher import MOST_AHEAD_MS
from streamgauge.records.log_spans import LogSpans
from streamgauge.stores.postgres import Connection

# Two runs that find an hour's beginning at once would find two, with records in both hours or in none.
_LOCK = "select pg_advisory_xact_lock(hashtextextended('lake_boundaries ' || %s, 0))"

_KNOWN = """select partition, max(position) filter (where hour < %(hour)s),
max(position) filter (where hour = %(hour)s), min(position) filter (where hour > %(hour)s)
from lake_boundaries where stream = %(stream)s group by partition"""

_KEEP = "insert into lake_boundaries (stream, partition, hour, position) values (%s, %s, %s, %s)"


def hour_begins(
    connection: Connection, admin: AdminClient, contract: Contract, log: LogSpans, hour: datetime, now: datetime
) -> dict[int, int]:
    """The first position of the hour, by partition; where the log ends if there is none yet."""
    if contract.source is None:
        return log.offsets_at(hour)
    with connection.transaction():
        connection.execute(_LOCK, (contract.stream,))
        # before the records are looked for: what is appended meanwhile is of the hour, or of a later one
        ends = log.ends()
        reached = log.reached(admin, hour, now + timedelta(milliseconds=MOST_AHEAD_MS))
        rows = connection.execute(_KNOWN, {"hour": hour, "stream": contract.stream}).fetchall()
        known = {p: (before, at, after) for p, before, at, after in rows}
        begins: dict[int, int] = {}
        for partition, (low, end) in ends.items():
            before, at, after = known.get(partition, (None, None, None))
            if at is None:
                at = max(min(reached.get(partition, end), end if after is None else after), before or 0)
                if now >= hour + SETTLED:
                    connection.execute(_KEEP, (contract.stream, partition, hour, at))
            begins[partition] = max(at, low)
    return begins
