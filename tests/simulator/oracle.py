"""Judges every commit as it happens, and everything that is published once the stream is quiet.

What a log means is written here once more, in plain loops over records whose meaning is known from the start: nothing
is decoded, and no code is shared with the worker.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import datasketches  # pyright: ignore[reportMissingTypeStubs]

from streamgauge.contract.model import Contract
from tests.simulator.kafka import Cluster, Log, Record, Topic
from tests.simulator.postgres import POISON, Key, Server, Transaction
from tests.simulator.scheduler import Process, Scheduler
from tests.simulator.sql import Row
from tests.simulator.stream import HORIZON_S, IDLE_S, LATENESS_S, TOLERANCE_S, Reading
from tests.simulator.substitutes import WALL

_ds: Any = datasketches
_MINUTE = 60_000
_GENERATIONS = 4
_UNCERTAIN_SECONDS = 30.0
"""After a clock has jumped, what a worker said of silence before can't be told from what it says now."""
_TALLY = ("counted", "late", "duplicates", "dead_letters", "skipped")
_PROGRESS = ("next_offset", "watermark_ms", "latest_ms", "generations", "generation_offsets", *_TALLY)

Cell: TypeAlias = tuple[int, str]
"""Minute (epoch ms) and metric."""


@dataclass
class Minute:
    count: int = 0
    late: int = 0
    duplicates: int = 0
    counted: list[Reading] = field(default_factory=list[Reading])

    def row(self) -> dict[str, Any]:
        """But for what names it, and `upto`."""
        values = [r.value for r in self.counted]
        last = max(((r.ms, r.value) for r in self.counted), default=(None, None))
        return {
            "count": self.count,
            "late": self.late,
            "duplicates": self.duplicates,
            "value_n": len(values),
            "value_sum": math.fsum(values),
            "value_min": min(values, default=None),
            "value_max": max(values, default=None),
            "value_last_ms": last[0],
            "value_last": last[1],
            "units_hll": len({r.unit for r in self.counted}),
        }


@dataclass
class Books:
    """Of one partition: what its log means up to a position."""

    partition: int
    next: int
    topic: Topic
    first: int = 0
    """The position of the topic's offset 0."""
    epoch: int = 1
    claimant: Process | None = None
    lost: int = 0
    watermark: int | None = None
    letters_in_epoch: int = 0
    tally: Counter[str] = field(default_factory=lambda: Counter())
    seen: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    """By event id, the generation and the position of its last record."""
    minutes: dict[Cell, Minute] = field(default_factory=dict[Cell, Minute])
    letters: dict[int, str] = field(default_factory=dict[int, str])
    """Reasons by position."""

    @property
    def log(self) -> Log:
        return self.topic.logs[self.partition]

    def record(self, position: int) -> Record | None:
        return self.log.entries[position - self.first]

    @property
    def generation(self) -> int:
        return (self.watermark or 0) // (HORIZON_S * 1000 // _GENERATIONS)

    def remembered(self) -> Iterable[int]:
        """The positions of ids whose next record is a duplicate."""
        return (at for generation, at in self.seen.values() if self.generation - generation <= _GENERATIONS)

    def take(self, position: int) -> Cell | None:
        """Goes on by one position, and says which row it touches."""
        record = self.record(position)
        self.next = position + 1
        if record is None:
            self.tally["skipped"] += 1
            return None
        reason = _reason(record)
        if reason is not None:
            self.tally["dead_letters"] += 1
            self.letters_in_epoch += 1
            self.letters[position] = reason
            return None
        event = record.content
        assert isinstance(event, Reading)
        before = self.watermark
        moves_to = min(event.ms, record.ingest_ms)
        self.watermark = moves_to if before is None else max(before, moves_to)
        known = self.seen.get(event.id)
        self.seen[event.id] = self.generation, position
        cell = event.ms // _MINUTE * _MINUTE, event.metric
        row = self.minutes.setdefault(cell, Minute())
        if known is not None and self.generation - known[0] <= _GENERATIONS:
            row.duplicates += 1
            self.tally["duplicates"] += 1
        elif before is not None and event.ms < before - LATENESS_S * 1000:
            row.late += 1
            self.tally["late"] += 1
        else:
            row.count += 1
            row.counted.append(event)
            self.tally["counted"] += 1
        return cell

    def units(self, minute: int) -> Counter[str]:
        return Counter(r.unit for (at, _), row in self.minutes.items() if at == minute for r in row.counted)


def _reason(record: Record) -> str | None:
    content = record.content
    if isinstance(content, str):
        return content
    assert isinstance(content, Reading)
    if content.ms > record.ingest_ms + TOLERANCE_S * 1000:
        return "future"
    return "unexpected" if content.metric == POISON else None


class Oracle:
    def __init__(self, scheduler: Scheduler, cluster: Cluster, server: Server, contract: Contract) -> None:
        self._scheduler = scheduler
        self._cluster = cluster
        self._server = server
        self._contract = contract
        self._minutes, self._tops = contract.minutes_table, contract.top_table
        self._lows: dict[tuple[int, int], int] = {}
        """By partition and epoch: the first position that the log still had when its reading began."""
        self.clock_changed = -math.inf
        self.books: dict[int, Books] = {}
        server.committing = self.judge
        cluster.reading = self.note_reading

    def _check(self, holds: bool, text: str) -> None:
        if not holds:
            self._scheduler.fail(text)

    # --- what is read

    def note_reading(self, process: Process, positions: Mapping[int, int]) -> None:
        for partition, start in positions.items():
            books = self.books[partition]
            if books.claimant is not process or self._cluster.topic is not books.topic:
                continue
            low = books.first + books.log.low
            self._lows[partition, books.epoch] = low
            wanted = min((at for at in books.remembered() if at >= low), default=max(books.next, low))
            self._check(
                start <= max(wanted, low),
                f"partition {partition} is read from {start} on, and ids since {wanted} are to be remembered",
            )

    # --- commits

    def judge(self, transaction: Transaction) -> None:
        writes = transaction.writes
        touched: dict[int, set[Cell]] = {}
        letters: dict[int, set[int]] = {}
        for (_, partition), after in writes.get("stream_offsets", {}).items():
            before = self._server.tables["stream_offsets"].get((self._contract.topic, partition))
            assert after is not None
            if before is None or before["epoch"] != after["epoch"]:
                self._judge_claim(transaction, partition, before, after)
            elif any(before[name] != after[name] for name in _PROGRESS):
                self._judge_advance(transaction, partition, before, after, touched, letters)
            self._check(
                after["next_offset"] - after["start_offset"] - after["lost"] == sum(after[name] for name in _TALLY),
                f"the accounts of partition {partition} don't add up: {after}",
            )
        self._judge_minutes(transaction, touched)
        self._judge_tops(transaction, touched)
        self._judge_letters(transaction, letters)

    def _judge_claim(self, transaction: Transaction, partition: int, before: Row | None, after: Row) -> None:
        process = transaction.backend.process
        claimed = _written(transaction, "stream_topics", partition)
        gaps = _written(transaction, "stream_gaps", partition)
        if before is None:
            topic = self._topic(claimed[0]["topic_id"]) if claimed else None
            self._check(topic is not None, f"partition {partition} is claimed of no topic")
            assert topic is not None
            self.books[partition] = Books(partition, after["next_offset"], topic)
            self._check(after["next_offset"] <= topic.logs[partition].low, f"partition {partition} begins too late")
            self._check(
                after["epoch"] == 1 and not any(after[n] for n in (*_TALLY, "lost")), "a new row counts already"
            )
            self.books[partition].claimant = process
            return
        books = self.books[partition]
        self._check(
            after["epoch"] == before["epoch"] + 1, f"the epoch of partition {partition} becomes {after['epoch']}"
        )
        self._check(all(before[n] == after[n] for n in (*_TALLY, "watermark_ms")), "a claim changes the accounts")
        position = books.next
        if claimed:
            (row,) = claimed
            topic = self._topic(row["topic_id"])
            known = max(before["next_offset"], before["end_offset"] or 0)
            self._check(
                topic is not books.topic and row["first_position"] == known,
                f"the new topic's partition {partition} begins at {row['first_position']}, not at {known}",
            )
            books.topic, books.first, books.seen = topic, row["first_position"], {}
        low = books.first + books.log.low
        for row in gaps:
            self._check(
                row["from_offset"] == position and row["to_offset"] <= low,
                f"{row['from_offset']} to {row['to_offset']} of partition {partition} are no gap",
            )
            books.lost += row["to_offset"] - position
            position = row["to_offset"]
        self._check(
            after["next_offset"] == position and after["lost"] == books.lost,
            f"partition {partition} is claimed at {after['next_offset']}, not {position}, and {books.lost} are lost",
        )
        self._check(books.topic.id == self._latest_topic(transaction, partition), "a claim is of another topic")
        books.next, books.epoch, books.claimant, books.letters_in_epoch = position, after["epoch"], process, 0

    def _judge_advance(
        self,
        transaction: Transaction,
        partition: int,
        before: Row,
        after: Row,
        touched: dict[int, set[Cell]],
        letters: dict[int, set[int]],
    ) -> None:
        books, name = self.books[partition], f"partition {partition}"
        process = transaction.backend.process
        self._check(process is books.claimant, f"{name} is written by {process.name}, who has lost it")
        self._check(
            (self._contract.topic, partition) not in self._server.tables["stream_pauses"], f"{name} is paused and moves"
        )
        self._forget(partition, books)
        self._check(after["next_offset"] >= books.next, f"{name} goes back to {after['next_offset']}")
        end = books.first + books.log.high
        self._check(after["next_offset"] <= end, f"{name} is at {after['next_offset']}, and its log ends at {end}")
        known = dict(books.letters)
        touched[partition] = {
            cell for at in range(books.next, after["next_offset"]) if (cell := books.take(at)) is not None
        }
        letters[partition] = books.letters.keys() - known.keys()
        if after["next_offset"] == before["next_offset"] and after["watermark_ms"] != before["watermark_ms"]:
            self._judge_idle(process, books, before, after)
        self._check(
            after["watermark_ms"] == books.watermark,
            f"the watermark of {name} at {books.next} is {after['watermark_ms']}, not {books.watermark}",
        )
        tally = {n: after[n] for n in _TALLY}
        self._check(
            tally == {n: books.tally[n] for n in _TALLY}, f"{name} at {books.next} has {tally}, not {dict(books.tally)}"
        )
        self._judge_pause(transaction, partition, books)

    def _forget(self, partition: int, books: Books) -> None:
        """Ids that whoever took the partition over could not read again."""
        low = self._lows.pop((partition, books.epoch), None)
        if low is not None:
            books.seen = {name: (generation, at) for name, (generation, at) in books.seen.items() if at >= low}

    def _judge_pause(self, transaction: Transaction, partition: int, books: Books) -> None:
        limit = self._contract.dead_letters.limit
        self._check(books.letters_in_epoch <= limit, f"{books.letters_in_epoch} dead letters, {limit} are allowed")
        pause = transaction.writes.get("stream_pauses", {}).get((self._contract.topic, partition))
        if pause is None:
            return
        log = books.log.entries[books.next - books.first :]
        following = next((r for r in log if r is not None), None)
        self._check(
            books.letters_in_epoch == limit and following is not None and _reason(following) is not None,
            f"partition {partition} is paused at {books.next} without need",
        )

    def _judge_idle(self, process: Process, books: Books, before: Row, after: Row) -> None:
        to = after["watermark_ms"]
        self._check(
            before["watermark_ms"] is not None and to > before["watermark_ms"], "silence moves a watermark to nowhere"
        )
        if self._scheduler.now - self.clock_changed > _UNCERTAIN_SECONDS:
            at = to / 1000 + IDLE_S - WALL - self._scheduler.jumped - process.ahead
            entries = books.log.entries
            unread = [r for r in entries[books.next - books.first :] if r is not None and r.appended <= at - 0.01]
            self._check(not unread, f"silence is said of a log that has {unread[:1]}")
            read = [r for r in entries[: books.next - books.first] if r is not None]
            self._check(not read or read[-1].appended <= at - IDLE_S + 0.01, "silence is said too soon")
        books.watermark = to

    # --- rows

    def _judge_minutes(self, transaction: Transaction, touched: Mapping[int, set[Cell]]) -> None:
        written: dict[int, set[Cell]] = {p: set() for p in touched}
        for (minute, metric, partition), row in transaction.writes.get(self._minutes, {}).items():
            self._check(
                partition in touched and row is not None, f"minutes of partition {partition} change by themselves"
            )
            assert row is not None
            written[partition].add((minute, metric))
            books = self.books[partition]
            self._check(row["upto"] == books.next, f"upto is {row['upto']}, not {books.next}")
            expected = books.minutes.get((minute, metric), Minute()).row()
            self._check_minute(row, expected, (minute, metric, partition))
        self._check(written == touched, f"rows {written} are written, not {touched}")

    def _check_minute(self, row: Row, expected: Mapping[str, Any], key: Key) -> None:
        found = {name: row[name] for name in expected}
        found["units_hll"] = _distinct(row["units_hll"])
        self._check(found == expected, f"minute {key} is {found}, not {expected}")

    def _judge_tops(self, transaction: Transaction, touched: Mapping[int, set[Cell]]) -> None:
        written: set[tuple[int, int]] = set()
        for (minute, _, partition), row in transaction.writes.get(self._tops, {}).items():
            self._check(
                row is not None and any(at == minute for at, _ in touched.get(partition, ())),
                f"the top-N of partition {partition} changes by itself",
            )
            assert row is not None
            written.add((partition, minute))
            self._check_top(row, partition, minute)
        for partition, cells in touched.items():
            for minute, _ in cells:
                if (partition, minute) not in written:
                    row = self._server.tables[self._tops].get((minute, "units", partition))
                    self._check_top(row, partition, minute)

    def _check_top(self, row: Row | None, partition: int, minute: int) -> None:
        found = Counter[str]() if row is None else _frequent(row["sketch"])
        expected = self.books[partition].units(minute)
        self._check(found == expected, f"the top-N of {minute} in partition {partition} is {found}, not {expected}")

    def _judge_letters(self, transaction: Transaction, letters: Mapping[int, set[int]]) -> None:
        written: dict[int, set[int]] = {p: set() for p in letters}
        for (topic, partition, position), row in transaction.writes.get("dead_letters", {}).items():
            assert row is not None
            old = self._server.tables["dead_letters"].get((topic, partition, position))
            if old is not None:
                self._check(
                    {**old, "forwarded": True} == row, f"the dead letter {position} of partition {partition} changes"
                )
                continue
            record = self.books[partition].record(position)
            assert record is not None
            expected = self.books[partition].letters.get(position), record.key, record.value, record.ingest_ms
            found = row["reason"], row["key"], row["value"], row["ingest_time"]
            self._check(found == expected, f"{position} of partition {partition} is kept as {found}, not {expected}")
            written.setdefault(partition, set()).add(position)
        self._check(written == dict(letters), f"dead letters {written} are written, not {letters}")

    # --- quiet

    def unfinished(self) -> str | None:
        """What is still to come before the stream is quiet."""
        topic = self._cluster.topic
        if topic is None:
            return "there is no topic"
        for partition, log in enumerate(topic.logs):
            books = self.books.get(partition)
            if books is None or books.topic is not topic:
                return f"partition {partition} is not claimed"
            # offsets without a record are passed with the next record
            following = next((r for r in log.entries[books.next - books.first :] if r is not None), None)
            if following is not None:
                return f"partition {partition} is at {books.next}, and its log goes on to {books.first + log.high}"
        letters = self._server.tables["dead_letters"].values()
        return "dead letters are not forwarded" if any(not row["forwarded"] for row in letters) else None

    def unpublished(
        self, redis: Mapping[str, Mapping[str, Any]], counts: Mapping[Cell, tuple[int, int, int]]
    ) -> str | None:
        """What Redis and the counts topic have not got yet."""
        totals: dict[int, list[int]] = {}
        cells: dict[Cell, list[int]] = {}
        for books in self.books.values():
            for (minute, metric), row in books.minutes.items():
                for found in (totals.setdefault(minute, [0, 0, 0]), cells.setdefault((minute, metric), [0, 0, 0])):
                    for i, count in enumerate((row.count, row.late, row.duplicates)):
                        found[i] += count
        if not totals:
            return None
        told = {cell: list(row) for cell, row in counts.items()}
        if told != cells:
            return f"the counts topic says {told}, not {cells}"
        newest = max(totals)
        shown = [totals[minute] for minute in sorted(totals) if minute > newest - 60 * _MINUTE]
        held = redis.get(self._contract.redis_minutes_key, {}).get("minutes", [])
        if [[m["count"], m["late"], m["duplicates"]] for m in held] != shown:
            return f"Redis has {held}, not {shown}"
        for window, minutes in (("1m", 1), ("5m", 5), ("1h", 60)):
            expected: Counter[str] = Counter()
            for minute in range(newest - (minutes - 1) * _MINUTE, newest + 1, _MINUTE):
                for books in self.books.values():
                    expected += books.units(minute)
            items = redis.get(self._contract.redis_top_key("units", window), {}).get("items", [])
            found = Counter({item["key"]: item["count"] for item in items})
            if found != expected:
                return f"Redis has the top-N {found} of {window}, not {expected}"
        return None

    def judge_all(self, forwarded: Iterable[tuple[int, int, str]]) -> None:
        """All tables, as they stand. `forwarded`: partition, position and reason of what the dead-letter topic has."""
        letters = {(p, at): reason for p, books in self.books.items() for at, reason in books.letters.items()}
        sent = {(partition, position): reason for partition, position, reason in forwarded}
        self._check(sent == letters, f"the dead-letter topic has {sent}, not {letters}")
        rows = self._server.tables[self._minutes]
        keys = {(minute, metric, p) for p, books in self.books.items() for minute, metric in books.minutes}
        self._check(rows.keys() == keys, f"minutes are {rows.keys() ^ keys} too many or too few")
        for (minute, metric, partition), row in rows.items():
            self._check_minute(row, self.books[partition].minutes[minute, metric].row(), (minute, metric, partition))

    def _topic(self, known: str) -> Topic:
        return next(t for t in self._cluster.topics if t.id == known)

    def _latest_topic(self, transaction: Transaction, partition: int) -> str:
        rows = {**self._server.tables["stream_topics"], **transaction.writes.get("stream_topics", {})}
        found = [row for (_, p, _), row in rows.items() if p == partition and row is not None]
        return max(found, key=lambda row: row["first_position"])["topic_id"]


def _distinct(data: bytes | None) -> int:
    return 0 if data is None else round(_ds.hll_sketch.deserialize(data).get_estimate())


def _written(transaction: Transaction, table: str, partition: int) -> list[Row]:
    rows = transaction.writes.get(table, {}).items()
    return [row for (_, p, _), row in rows if p == partition and row is not None]


def _frequent(data: bytes) -> Counter[str]:
    sketch = _ds.frequent_strings_sketch.deserialize(data)
    items = sketch.get_frequent_items(_ds.frequent_items_error_type.NO_FALSE_POSITIVES)
    return Counter({key: count for key, count, *_ in items})
