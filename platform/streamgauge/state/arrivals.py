"""How a stream's records arrived, partition by partition, as the worker noted it: which of them came late, from a clock
that is ahead, or in a partition where their key does not belong, and from which producers.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from streamgauge.stores.postgres import Connection

ALL, LATE, AHEAD, MISPLACED = "all", "late", "ahead", "misplaced"
"""Kinds. A record of another kind is one of ALL too."""

PRODUCERS = 8
"""As many names as are kept of a kind: they are a sample, to begin a search with."""

SLOT = "5 minutes"
"""Rows are counted by the time of their commit, in slots of this length."""


@dataclass(frozen=True)
class Arrived:
    """Records of one kind in a partition since some time, between two offsets (both included)."""

    partition: int
    kind: str
    records: int
    first_offset: int
    last_offset: int
    producers: tuple[str, ...]
    since: datetime


def read_arrivals(connection: Connection, topics: Iterable[str], since: datetime) -> dict[str, list[Arrived]]:
    """By topic, what was committed since then, to the slot."""
    found: dict[str, list[Arrived]] = {}
    rows = connection.execute(
        """select topic, partition, kind, sum(records)::bigint, min(first_offset), max(last_offset), min(slot),
        array(select distinct p from unnest(string_to_array(string_agg(array_to_string(producers, chr(10)), chr(10)),
        chr(10))) as u(p) where p <> '' order by p limit %(most)s)
        from stream_arrivals where topic = any(%(topics)s) and slot + %(slot)s::interval > %(since)s
        group by topic, partition, kind order by topic, partition, kind""",
        {"topics": list(topics), "since": since, "slot": SLOT, "most": PRODUCERS},
    )
    for topic, partition, kind, records, first, last, begun, producers in rows:
        found.setdefault(topic, []).append(Arrived(partition, kind, records, first, last, tuple(producers), begun))
    return found
