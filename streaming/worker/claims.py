"""Who owns a partition, and how far it has come: its row in `stream_offsets`, and whether it is paused.

Whoever takes a partition over raises its epoch. A commit compares and sets the epoch and the offset first, so
that a worker that was cut off changes nothing, and one that repeats a commit whose answer was lost finds it
done.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import psycopg
from psycopg.rows import TupleRow

from streamgauge.contract.model import Contract
from streamgauge.state.generations import hold_generation
from streamgauge.state.topics import claim_topic
from streamgauge.stores.postgres import Connection
from streamgauge.telemetry.tracing import current_traceparent
from streaming.worker.partition import Progress
from streaming.worker.pipeline import Delta

log = logging.getLogger(__name__)

_LOG_ENDS = "the log ends at"
"""How the reason of such a pause begins: it ends with the topic, as no other pause does."""


class Fenced(Exception):
    """Another worker has taken a partition over."""


@dataclass(frozen=True)
class Claim:
    """A partition that was taken over: where it stands, the position of its topic's offset 0, and why it is paused, if
    it is.
    """

    progress: Progress
    first_position: int
    paused: str | None


class Claims:
    """The partitions of one stream, for one worker."""

    def __init__(self, contract: Contract, owner: str) -> None:
        self._contract = contract
        self._owner = owner

    def claim(self, connection: Connection, partition: int, topic_id: str, low: int, high: int) -> Claim:
        """Takes a partition over. `low` and `high` are the offsets at the ends of its log.

        What the log no longer has is recorded as a gap. A topic with another id than before is read from its start: the
        event ids of the old one can't be read again and are forgotten, and its watermark stays, because its minutes do.
        Raises Superseded where another generation of the stream's rollups is the present one.
        """
        topic = self._contract.topic
        with connection.transaction(), connection.cursor() as cursor:
            hold_generation(connection, self._contract)
            cursor.execute(
                """insert into stream_offsets (topic, partition, start_offset, next_offset, epoch, owner, updated_at)
                values (%(topic)s, %(partition)s, %(low)s, %(low)s, 1, %(owner)s, now())
                on conflict (topic, partition) do update
                set epoch = stream_offsets.epoch + 1, owner = excluded.owner, updated_at = now()
                returning next_offset, epoch, watermark_ms, coalesce(latest_ms, watermark_ms), generations,
                generation_offsets, end_offset""",
                {"topic": topic, "partition": partition, "low": low, "owner": self._owner},
            )
            row = cursor.fetchone()
            assert row is not None
            next_offset, epoch, watermark, latest, generations, offsets, end_offset = row
            known_end = max(next_offset, end_offset or 0)
            first, recreated = claim_topic(connection, self._contract, partition, topic_id, known_end)
            low, high = first + low, first + high
            if recreated:
                generations = offsets = ()
                self._forget_topic(cursor, partition, first)
            if next_offset < low:
                cursor.execute(
                    "update stream_offsets set next_offset = %s, lost = lost + %s where topic = %s and partition = %s",
                    (low, low - next_offset, topic, partition),
                )
                cursor.execute(
                    """insert into stream_gaps (topic, partition, from_offset, to_offset, noticed_at)
                    values (%s, %s, %s, %s, now())""",
                    (topic, partition, next_offset, low),
                )
                log.error(
                    "%s: the log of partition %d no longer has offsets %d to %d: %d records are lost",
                    self._contract.stream, partition, next_offset, low - 1, low - next_offset,
                )  # fmt: skip
                next_offset = low
            elif next_offset > high:
                self.pause(
                    connection,
                    partition,
                    f"{_LOG_ENDS} {high}, before the committed offset {next_offset}",
                )
            cursor.execute("select reason from stream_pauses where topic = %s and partition = %s", (topic, partition))
            paused = cursor.fetchone()
        remembered = tuple(zip(generations, offsets, strict=True))
        progress = Progress(partition, next_offset, epoch, watermark, latest, remembered)
        return Claim(progress, first, paused[0] if paused else None)

    def _forget_topic(self, cursor: psycopg.Cursor[TupleRow], partition: int, first: int) -> None:
        """What was known of the log of the topic that is gone."""
        at = (self._contract.topic, partition)
        cursor.execute(
            """update stream_offsets set generations = '{}', generation_offsets = '{}'
            where topic = %s and partition = %s""",
            at,
        )
        cursor.execute(
            "delete from stream_pauses where topic = %s and partition = %s and reason like %s", (*at, f"{_LOG_ENDS}%")
        )
        log.error(
            "%s: the topic was deleted and created again: partition %d is read from its start, as position %d",
            self._contract.stream, partition, first,
        )  # fmt: skip

    def advance(self, connection: Connection, delta: Delta) -> None:
        """Moves the partitions on. Raises Fenced, which must end the transaction, where one is not as it was before."""
        moved, trace = sorted(delta.partitions, key=lambda p: p.after.partition), current_traceparent()
        with connection.cursor() as cursor:
            cursor.executemany(
                """update stream_offsets set next_offset = %s, watermark_ms = %s, latest_ms = %s,
                generations = %s::bigint[], generation_offsets = %s::bigint[],
                counted = counted + %s, late = late + %s, duplicates = duplicates + %s,
                dead_letters = dead_letters + %s, skipped = skipped + %s, updated_at = now(), trace = %s
                where topic = %s and partition = %s and epoch = %s and next_offset = %s""",
                [
                    (
                        p.after.next_offset,
                        p.after.watermark,
                        p.after.latest,
                        [g for g, _ in p.after.generations],
                        [o for _, o in p.after.generations],
                        p.counted,
                        p.late,
                        p.duplicates,
                        p.dead_letters,
                        p.skipped,
                        trace,
                        self._contract.topic,
                        p.after.partition,
                        p.before.epoch,
                        p.before.next_offset,
                    )
                    for p in moved
                ],
            )
            if cursor.rowcount != len(moved):
                raise Fenced

    def is_committed(self, connection: Connection, delta: Delta) -> bool:
        """Whether this delta is already there: asked when the answer to a commit was lost."""
        rows = connection.execute(
            "select partition, epoch, next_offset, watermark_ms from stream_offsets where topic = %s",
            (self._contract.topic,),
        )
        stands = {row[0]: row[1:] for row in rows}
        pauses = {p.after.partition for p in delta.partitions if p.pause}
        # a pause alone moves no offset: only its own row tells that it was written
        return pauses <= self.paused(connection) and all(
            stands.get(p.after.partition) == (p.after.epoch, p.after.next_offset, p.after.watermark)
            for p in delta.partitions
        )

    def note_ends(self, connection: Connection, ends: Mapping[int, int]) -> None:
        """Where the log of each partition ends, for those who ask how far behind it is."""
        with connection.transaction(), connection.cursor() as cursor:
            cursor.executemany(
                "update stream_offsets set end_offset = %s where topic = %s and partition = %s and owner = %s",
                [(end, self._contract.topic, p, self._owner) for p, end in sorted(ends.items())],
            )

    def pause(self, connection: Connection, partition: int, reason: str) -> None:
        connection.execute(
            """insert into stream_pauses (topic, partition, since, reason) values (%s, %s, now(), %s)
            on conflict (topic, partition) do update set reason = excluded.reason""",
            (self._contract.topic, partition, reason),
        )

    def paused(self, connection: Connection) -> set[int]:
        rows = connection.execute("select partition from stream_pauses where topic = %s", (self._contract.topic,))
        return {row[0] for row in rows}
