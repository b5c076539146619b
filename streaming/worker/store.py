"""The worker's side of Postgres: taking partitions over, and one fenced transaction a batch.

Whoever takes a partition over raises its epoch. A commit compares and sets the epoch and the offset first, so
that a worker that was cut off changes nothing, and one that repeats a commit whose answer was lost finds it
done.
"""

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, LiteralString

import polars as pl
import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from streamgauge.contract.model import Contract
from streamgauge.errors import UserError
from streamgauge.records.fetcher import RawRecord
from streamgauge.rollup.enrich import Reference
from streamgauge.rollup.plan import MINUTE, PARTITION
from streamgauge.rollup.reference import read_reference
from streamgauge.settings import Settings
from streamgauge.state.arrivals import PRODUCERS, SLOT
from streamgauge.state.topics import claim_topic
from streamgauge.stores.postgres import connect
from streamgauge.telemetry.delays import bound_ms
from streaming.worker.arrivals import Arrivals
from streaming.worker.partition import Progress
from streaming.worker.pg_binary import copy_rows, pg_array
from streaming.worker.pipeline import DeadLetter, Delta, Pipeline

log = logging.getLogger(__name__)

Connection = psycopg.Connection[TupleRow]

_AT = "timestamptz 'epoch' + {} * interval '1 millisecond'"


_STANDSTILL = "5s"
"""How long Postgres waits inside a transaction for a worker: one that is frozen there holds the rows that its successor
takes over."""


_LOG_ENDS = "the log ends at"

_BEFORE = -(2**63)
"""Earlier than any minute: of a partition without an event every row is new."""


UNEXPECTED = "unexpected"
"""The reason of a dead letter that ended session after session by an error that nobody foresaw."""


class Fenced(Exception):
    """Another worker has taken a partition over."""


def connect_worker(settings: Settings) -> Connection:
    options = f"-c idle_in_transaction_session_timeout={_STANDSTILL}"
    return connect(settings, autocommit=True, application="streamgauge-worker", options=options)


class Store:
    """Statements for one contract. Every method uses the connection it is given and leaves it outside a
    transaction.
    """

    def __init__(self, contract: Contract, owner: str) -> None:
        self._contract = contract
        self._owner = owner
        self.columns, self._upsert_minutes = self._minutes_statement()

    def claim(
        self, connection: Connection, partition: int, topic_id: str, low: int, high: int
    ) -> tuple[Progress, int, str | None]:
        """Takes a partition over. `low` and `high` are the offsets at the ends of its log.

        Returns where it stands, the position of the topic's offset 0, and why it is paused if it is. What the log no
        longer has is recorded as a gap. A topic with another id than before is read from its start: the event ids of
        the old one can't be read again and are forgotten, and its watermark stays, because its minutes do.
        """
        topic = self._contract.topic
        with connection.transaction(), connection.cursor() as cursor:
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
        return progress, first, paused[0] if paused else None

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

    def open_minutes(self, connection: Connection, pipeline: Pipeline, progress: Progress) -> None:
        """Gives the pipeline the sketches of the minutes that this partition can still change."""
        first = pipeline.open_from(progress)
        if first is None:
            return
        dimensions = self._contract.dimension_names
        kept = pipeline.rollup.sketches
        if kept:
            query = sql.SQL(
                "select extract(epoch from minute)::bigint * 1000, {} from {} where partition = %s and minute >= "
                + _AT.format("%s")
            ).format(
                sql.SQL(", ").join(map(sql.Identifier, [*dimensions, *kept])),
                sql.Identifier(self._contract.minutes_table),
            )
            rows = connection.execute(query, (progress.partition, first), binary=True).fetchall()
            for minute, *row in rows:
                cell, names = (progress.partition, int(minute)), [tuple(row[: len(dimensions)])]
                for opened, data in zip(kept.values(), row[len(dimensions) :], strict=True):
                    opened.put(cell, names, [data])
        for name, opened in pipeline.rollup.tops.items():
            query = sql.SQL(
                "select extract(epoch from minute)::bigint * 1000, sketch from {}"
                " where top = %s and partition = %s and minute >= " + _AT.format("%s")
            ).format(sql.Identifier(self._contract.top_table))
            rows = connection.execute(query, (name, progress.partition, first), binary=True).fetchall()
            for minute, data in rows:
                opened.put((progress.partition, int(minute)), [()], [data])

    def commit(self, connection: Connection, delta: Delta) -> None:
        """Writes a delta. Raises Fenced, and changes nothing, where a partition is not as the delta left it."""
        with connection.transaction():
            self._fence(connection, delta)
            self._write_minutes(connection, delta)
            self._write_tops(connection, delta)
            self._write_dead_letters(connection, delta.dead_letters)
            self._write_delay(connection, delta)
            self._write_arrivals(connection, delta.arrivals)
            for p in delta.partitions:
                if p.pause:
                    self.pause(connection, p.after.partition, p.pause)

    def _fence(self, connection: Connection, delta: Delta) -> None:
        moved = sorted(delta.partitions, key=lambda p: p.after.partition)
        with connection.cursor() as cursor:
            cursor.executemany(
                """update stream_offsets set next_offset = %s, watermark_ms = %s, latest_ms = %s,
                generations = %s::bigint[], generation_offsets = %s::bigint[],
                counted = counted + %s, late = late + %s, duplicates = duplicates + %s,
                dead_letters = dead_letters + %s, skipped = skipped + %s, updated_at = now()
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

    def _write_minutes(self, connection: Connection, delta: Delta) -> None:
        """A partition has no row after its latest minute: those rows are new, and need no look for what is there."""
        if delta.minutes.is_empty():
            return
        upto = {p.after.partition: p.after.next_offset for p in delta.partitions}
        known = {p.after.partition: _BEFORE if p.before.latest is None else p.before.latest for p in delta.partitions}
        at = pl.col(PARTITION)
        rows = delta.minutes.with_columns(at.replace_strict(upto, return_dtype=pl.Int64).alias("upto"))
        new = rows.select(pl.col(MINUTE) > at.replace_strict(known, return_dtype=pl.Int64)).to_series()
        if new.any():
            self._insert_minutes(connection, rows.filter(new))
        if not new.all():
            touched = rows.filter(~new)
            arrays = [pg_array(touched[column], kind) for column, kind in self.columns.items()]
            connection.execute(self._upsert_minutes, arrays)

    def _insert_minutes(self, connection: Connection, rows: pl.DataFrame) -> None:
        table = self._contract.minutes_table
        try:
            copy_rows(connection, sql.Identifier(table), {**self.columns, MINUTE: "timestamptz"}, rows)
        except psycopg.errors.UniqueViolation as e:
            raise UserError(
                f"{table} has rows after the latest minute in stream_offsets: both must come from the same backup"
            ) from e

    def _minutes_statement(self) -> tuple[dict[str, LiteralString], sql.Composed]:
        """The columns with their types, and the upsert that takes an array of each.

        Rows come sorted by key. Counts and sums are added, sketches replaced: a partition's rows have one writer.
        """
        c = self._contract
        types: dict[str, LiteralString] = {MINUTE: "bigint", PARTITION: "int"}
        types |= dict.fromkeys(c.dimension_names, "text")
        types |= dict.fromkeys(("count", "late", "duplicates"), "bigint")
        updates: dict[str, LiteralString] = dict.fromkeys(("count", "late", "duplicates"), "{t}.{c} + excluded.{c}")
        for m in c.rollup.measures:
            types[f"{m.name}_n"] = "bigint"
            types |= dict.fromkeys((f"{m.name}_{s}" for s in ("sum", "min", "max")), "double precision")
            updates |= {f"{m.name}_{s}": "{t}.{c} + excluded.{c}" for s in ("n", "sum")}
            updates |= {
                f"{m.name}_min": "least({t}.{c}, excluded.{c})",
                f"{m.name}_max": "greatest({t}.{c}, excluded.{c})",
            }
        sketched = [f"{d.name}_hll" for d in c.rollup.distinct]
        sketched += [f"{m.name}_kll" for m in c.rollup.measures if m.quantiles]
        types |= dict.fromkeys(sketched, "bytea")
        updates |= dict.fromkeys(sketched, "coalesce(excluded.{c}, {t}.{c})")
        types["upto"] = "bigint"
        updates["upto"] = "excluded.{c}"
        table = sql.Identifier(c.minutes_table)
        names = [sql.Identifier(n) for n in types]
        statement = sql.SQL(
            "insert into {table} ({names}) select "
            + _AT.format("n.minute")
            + ", {rest} from unnest({arrays}) as n({names})"
            " on conflict ({key}) do update set {updates}"
        ).format(
            table=table,
            names=sql.SQL(", ").join(names),
            rest=sql.SQL(", ").join(sql.SQL("n.") + n for n in names[1:]),
            arrays=sql.SQL(", ").join(sql.SQL("%b::" + t + "[]") for t in types.values()),
            key=sql.SQL(", ").join(map(sql.Identifier, (MINUTE, *c.dimension_names, PARTITION))),
            updates=sql.SQL(", ").join(
                sql.SQL("{c} = " + how).format(c=sql.Identifier(n), t=table) for n, how in updates.items()
            ),
        )
        return types, statement

    def _write_tops(self, connection: Connection, delta: Delta) -> None:
        if not delta.tops:
            return
        upto = {p.after.partition: p.after.next_offset for p in delta.partitions}
        minutes, partitions, tops, dumped = zip(*sorted(delta.tops, key=lambda r: r[:3]), strict=True)
        connection.execute(
            sql.SQL(
                "insert into {} (minute, partition, top, sketch, upto) select "
                + _AT.format("n.minute")
                + ", n.partition, n.top, n.sketch, n.upto"
                " from unnest(%b::bigint[], %b::int[], %b::text[], %b::bytea[], %b::bigint[])"
                " as n(minute, partition, top, sketch, upto)"
                " on conflict (minute, top, partition) do update set sketch = excluded.sketch, upto = excluded.upto"
            ).format(sql.Identifier(self._contract.top_table)),
            (list(minutes), list(partitions), list(tops), list(dumped), [upto[p] for p in partitions]),
        )

    def _write_dead_letters(self, connection: Connection, letters: Sequence[DeadLetter]) -> None:
        if not letters:
            return
        with connection.cursor() as cursor:
            cursor.executemany(
                """insert into dead_letters (topic, partition, "offset", stream, reason, detail, key, value,
                header_names, header_values, ingest_time)
                values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, """
                + _AT.format("%s")
                + ")",
                [
                    (
                        self._contract.topic,
                        d.record.partition,
                        d.record.offset,
                        self._contract.stream,
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

    def _write_delay(self, connection: Connection, delta: Delta) -> None:
        """All of a commit's events count with the delay of its first: none waited longer."""
        if delta.earliest_ingest_ms is None:
            return
        events = sum(p.counted + p.late + p.duplicates + p.dead_letters for p in delta.partitions)
        connection.execute(
            """insert into stream_delays (topic, minute, owner, up_to_ms, events)
            values (%s, date_trunc('minute', now()), %s, %s, %s)
            on conflict (topic, minute, owner, up_to_ms) do update
            set events = stream_delays.events + excluded.events""",
            (self._contract.topic, self._owner, bound_ms(time.time() * 1000 - delta.earliest_ingest_ms), events),
        )

    def _write_arrivals(self, connection: Connection, arrived: Sequence[Arrivals]) -> None:
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
                "topic": self._contract.topic,
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

    def set_aside(self, connection: Connection, read_from: Mapping[int, int]) -> dict[tuple[int, int], str]:
        """Positions of the records that once ended session after session, with the error that each made: of those that
        are read again, as every batch is compared with them.
        """
        rows = connection.execute(
            'select partition, "offset", detail from dead_letters where topic = %s and reason = %s',
            (self._contract.topic, UNEXPECTED),
        )
        return {
            (partition, position): detail
            for partition, position, detail in rows
            if partition in read_from and position >= read_from[partition]
        }

    def paused(self, connection: Connection) -> set[int]:
        rows = connection.execute("select partition from stream_pauses where topic = %s", (self._contract.topic,))
        return {row[0] for row in rows}

    def unforwarded(self, connection: Connection, limit: int) -> list[tuple[RawRecord, str]]:
        """Dead letters that have not yet gone to the dead-letter topic, with their reason."""
        rows = connection.execute(
            """select partition, "offset", key, value, header_names, header_values,
            (extract(epoch from ingest_time) * 1000)::bigint, reason
            from dead_letters where topic = %s and not forwarded order by partition, "offset" limit %s""",
            (self._contract.topic, limit),
        )
        return [
            (RawRecord(p, o, key, value, list(zip(names or [], values or [], strict=True)), ingest), reason)
            for p, o, key, value, names, values, ingest, reason in rows
        ]

    def forwarded(self, connection: Connection, positions: Iterable[tuple[int, int]]) -> None:
        with connection.transaction(), connection.cursor() as cursor:
            cursor.executemany(
                """update dead_letters set forwarded = true where topic = %s and partition = %s and "offset" = %s""",
                [(self._contract.topic, p, o) for p, o in positions],
            )

    def published(self, connection: Connection, before: dict[int, int], offsets: dict[int, int]) -> None:
        """The counts topic has all that was committed up to these offsets. Where the mark is no longer what it was
        `before`, minutes were rebuilt meanwhile and must be published again.
        """
        with connection.transaction(), connection.cursor() as cursor:
            cursor.executemany(
                """update stream_offsets set published_offset = %s
                where topic = %s and partition = %s and published_offset = %s""",
                [(o, self._contract.topic, p, before[p]) for p, o in sorted(offsets.items())],
            )

    def reference(self, connection: Connection) -> Reference | None:
        return read_reference(connection, self._contract)

    def reference_version(self, connection: Connection) -> Any:
        """Changes when the reference table does."""
        spec = self._contract.reference
        if spec is None:
            return None
        query = sql.SQL("select count(*), max(updated_at) from {}").format(sql.Identifier(spec.table))
        return connection.execute(query).fetchone()
