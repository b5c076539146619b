"""What a commit writes beside the minutes: dead letters, how long events waited, and how records arrived."""

import time
from collections.abc import Sequence

from streamgauge.contract.model import Contract
from streamgauge.state.arrivals import PRODUCERS, SLOT
from streamgauge.stores.postgres import Connection
from streamgauge.telemetry.delays import bound_ms
from streaming.worker.arrivals import Arrivals
from streaming.worker.connection import AT_MS
from streaming.worker.pipeline import DeadLetter, Delta


def write_dead_letters(connection: Connection, contract: Contract, letters: Sequence[DeadLetter]) -> None:
    if not letters:
        return
    with connection.cursor() as cursor:
        cursor.executemany(
            """insert into dead_letters (topic, partition, "offset", stream, reason, detail, key, value,
            header_names, header_values, ingest_time)
            values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, """
            + AT_MS.format("%s")
            + ")",
            [
                (
                    contract.topic,
                    d.record.partition,
                    d.record.offset,
                    contract.stream,
                    d.reason,
                    d.detail,
                    d.record.key,
                    d.record.value,
                    [name for name, _ in d.record.headers],
                    [value for _, value in d.record.headers],
                    d.record.ingest_ms,
                )
                for d in letters
            ],
        )


def write_delay(connection: Connection, contract: Contract, owner: str, delta: Delta) -> None:
    """All of a commit's events count with the delay of its first: none waited longer."""
    if delta.earliest_ingest_ms is None:
        return
    events = sum(p.counted + p.late + p.duplicates + p.dead_letters for p in delta.partitions)
    connection.execute(
        """insert into stream_delays (topic, minute, owner, up_to_ms, events)
        values (%s, date_trunc('minute', now()), %s, %s, %s)
        on conflict (topic, minute, owner, up_to_ms) do update
        set events = stream_delays.events + excluded.events""",
        (contract.topic, owner, bound_ms(time.time() * 1000 - delta.earliest_ingest_ms), events),
    )


def write_arrivals(connection: Connection, contract: Contract, arrived: Sequence[Arrivals]) -> None:
    if not arrived:
        return
    rows = sorted(arrived, key=lambda a: (a.partition, a.kind))
    connection.execute(
        """insert into stream_arrivals as old
        (topic, partition, slot, kind, records, first_offset, last_offset, producers)
        select %(topic)s, n.partition, date_bin(%(slot)s::interval, now(), timestamptz 'epoch'),
        n.kind, n.records, n.first, n.last, string_to_array(n.producers, chr(10))
        from unnest(%(partitions)b::int[], %(kinds)b::text[], %(records)b::bigint[], %(first)b::bigint[],
        %(last)b::bigint[], %(producers)b::text[]) as n(partition, kind, records, first, last, producers)
        on conflict (topic, partition, slot, kind) do update set records = old.records + excluded.records,
        last_offset = excluded.last_offset, producers = array(select distinct p
        from unnest(old.producers || excluded.producers) as u(p) order by p limit %(most)s)""",
        {
            "topic": contract.topic,
            "slot": SLOT,
            "partitions": [a.partition for a in rows],
            "kinds": [a.kind for a in rows],
            "records": [a.records for a in rows],
            "first": [a.first_offset for a in rows],
            "last": [a.last_offset for a in rows],
            "producers": ["\n".join(a.producers) for a in rows],
            "most": PRODUCERS,
        },
    )
