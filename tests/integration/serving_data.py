"""A stream whose hours lie in both layers, and what an answer about it must be: summed up in a plain loop from the
events that the oracle counted, and from those that are facts."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import sql

from streamgauge.contract.model import Contract
from streamgauge.dagster.hours import HOUR, hour_start
from streamgauge.producer.frame import frame_of
from streamgauge.producer.producer import find_schema_id
from streamgauge.records.avro import avro_schema
from streamgauge.rollup import sketches
from streamgauge.rollup.pseudonyms import pseudonym_secret
from streamgauge.settings import Settings
from streamgauge.stores.postgres import connect
from tests.integration.expectation import expected_of
from tests.integration.log import read_log
from tests.integration.running import Running
from tests.integration.workers import wait_until_read
from tests.oracle import LogRecord, number_of, pseudonym, read, value_of

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOURS = 4
_TYPES = ("PushEvent", "ForkEvent", "WatchEvent")


@dataclass
class Bucket:
    count: int = 0
    late: int = 0
    duplicates: int = 0
    values: list[float] = field(default_factory=list[float])
    users: set[str] = field(default_factory=set[str])
    keys: dict[str, int] = field(default_factory=lambda: defaultdict[str, int](int))

    def add(self, other: "Bucket") -> None:
        self.count += other.count
        self.late += other.late
        self.duplicates += other.duplicates
        self.values += other.values
        self.users |= other.users
        for key, n in other.keys.items():
            self.keys[key] += n


Minutes = dict[tuple[datetime, str], Bucket]
"""By minute and event type."""


@dataclass(frozen=True)
class Data:
    contract: Contract
    first: datetime
    speed: Minutes
    batch: Minutes

    @property
    def hours(self) -> list[datetime]:
        return [self.first + i * HOUR for i in range(HOURS)]

    def minutes(self, final: Iterable[datetime]) -> Minutes:
        """What is to be served: facts of final hours, else what the worker counted."""
        done = set(final)
        chosen = {k: b for k, b in self.batch.items() if hour_start(k[0]) in done}
        return chosen | {k: b for k, b in self.speed.items() if hour_start(k[0]) not in done}


def make_data(running: Running) -> Data:
    """Four hours of events up to the last full hour, with late ones and duplicates, read by the real worker; facts of
    all hours in the batch tables, and no hour final."""
    first = hour_start(datetime.now(UTC)) - HOURS * HOUR
    in_order = [event(f"e{i}", first + i * timedelta(seconds=12), i) for i in range(HOURS * 300)]
    late = [event(f"late{i}", first + i * timedelta(seconds=151), i) for i in range(60)]
    data = read_by_worker(running, first, in_order, late, in_order[-240::8])
    account = wait_until_read(data.contract)
    assert account.late == 60 and account.duplicates == 30
    return data


def read_by_worker(running: Running, first: datetime, *batches: Sequence[dict[str, Any]]) -> Data:
    """Sent in this order and read; facts of all hours in the batch tables, and no hour final."""
    running.apply()
    contract = running.contract
    for events in batches:
        built, mistyped = frame_of(contract, events)
        assert not mistyped
        running.send(built)
    running.workers.start()
    wait_until_read(contract)
    data = _evaluated(contract, first)
    _fill(data)
    return data


def event(event_id: str, at: datetime, i: int, kind: str | None = None) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "user_id": f"u{i % 37}",
        "event_type": kind or _TYPES[i % len(_TYPES)],
        "timestamp": round(at.timestamp() * 1000),
        "properties": {"size": str(i % 11)} if i % 4 else {},
        "metadata": {},
    }


def _evaluated(contract: Contract, first: datetime) -> Data:
    expected = expected_of(contract)
    schemas = {find_schema_id(Settings.for_role("producer"), contract): avro_schema(contract)}
    speed: Minutes = defaultdict(Bucket)
    batch: Minutes = defaultdict(Bucket)
    for m in read_log(Settings.for_role("worker"), contract):
        record = LogRecord(m.partition() or 0, m.offset() or 0, m.value(), m.timestamp()[1])
        event = read(contract, record, schemas)
        assert not isinstance(event, str)
        verdict = expected.verdicts[record.partition, record.offset]
        at = EPOCH + timedelta(milliseconds=event[contract.event_time])
        key = (at.replace(second=0, microsecond=0), event["event_type"])
        if verdict == "duplicate":
            speed[key].duplicates += 1
            batch[key].duplicates += 1
            continue
        one = _bucket_of(contract, event)
        batch[key].add(one)
        speed[key].add(one if verdict == "counted" else Bucket(late=1))
    return Data(contract, first, dict(speed), dict(batch))


def _bucket_of(contract: Contract, event: dict[str, Any]) -> Bucket:
    number = number_of(value_of(contract, event, contract.rollup.measures[0], None))
    user = event["user_id"]
    key = pseudonym(pseudonym_secret(Settings.for_role("batch")), contract.stream, user)
    return Bucket(1, values=[] if number is None else [number], users={user}, keys={key: 1})


def _fill(data: Data) -> None:
    """As the batch layer writes its rows."""
    for name, size in (("batch_minutes", MINUTE), ("batch_hours", HOUR), ("batch_days", timedelta(days=1))):
        rows = [_row(start, kind, b) for (start, kind), b in merged(data.batch, size, size).items()]
        _insert(f"{data.contract.stream}_{name}", rows)
    tops = [
        {"size": name, "window_start": start, "top": "users", "sketch": _frequent(b.keys)}
        for name, size in (("1m", MINUTE), ("1h", HOUR))
        for (start, _), b in merged(data.batch, size, size, group=lambda _: "").items()
    ]
    _insert(f"{data.contract.stream}_batch_tops", tops)


def make_final(data: Data, revisions: Mapping[datetime, int]) -> None:
    """Each hour with this many revisions."""
    rows = [
        {"stream": data.contract.stream, "hour": hour, "revision": n, "run_id": "by hand", "facts": 0, "reason": "test"}
        for hour, newest in revisions.items()
        for n in range(1, newest + 1)
    ]
    _insert("hour_revisions", rows)


def not_final(data: Data) -> None:
    with connect(Settings.for_role("admin")) as connection:
        connection.execute("DELETE FROM hour_revisions WHERE stream = %s", (data.contract.stream,))


def _row(start: datetime, kind: str, b: Bucket) -> dict[str, Any]:
    hll = sketches.new_hll()
    for user in b.users:
        hll.update(user)
    kll = sketches.new_kll()
    for value in b.values:
        kll.update(value)
    return {
        "window_start": start,
        "event_type": kind,
        "actor_kind": "unknown",
        "count": b.count,
        "duplicates": b.duplicates,
        "users_hll": sketches.dump_hll(hll),
        "commits_n": len(b.values),
        "commits_sum": math.fsum(b.values),
        "commits_min": min(b.values, default=None),
        "commits_max": max(b.values, default=None),
        "commits_kll": sketches.dump_kll(kll),
    }


def _frequent(keys: Mapping[str, int]) -> bytes:
    sketch = sketches.new_frequent(1000)
    for key, n in keys.items():
        sketch.update(key, n)
    return sketches.dump_frequent(sketch)


def _insert(table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    columns = list(rows[0])
    query = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL(", ").join(map(sql.Placeholder, columns)),
    )
    with connect(Settings.for_role("admin")) as connection, connection.cursor() as cursor:
        cursor.executemany(query, rows)


def merged(
    minutes: Minutes,
    size: timedelta,
    hop: timedelta,
    group: Callable[[str], str] = lambda kind: kind,
) -> Minutes:
    """Windows that start at multiples of the hop."""
    windows: Minutes = defaultdict(Bucket)
    for (minute, kind), bucket in minutes.items():
        start = EPOCH + (minute - EPOCH) // hop * hop
        while start + size > minute:
            windows[start, group(kind)].add(bucket)
            start -= hop
    return dict(windows)


def shown(b: Bucket) -> dict[str, Any]:
    """As the API shows it; quantiles are exact as long as a sketch keeps every value."""
    values = sorted(b.values)
    quantiles = {
        f"commits_{name}": values[math.ceil(rank * len(values)) - 1] if values else None
        for name, rank in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    }
    return {
        "count": b.count,
        "late": b.late,
        "duplicates": b.duplicates,
        "commits_n": len(values),
        "commits_sum": math.fsum(values),
        "commits_min": min(values, default=None),
        "commits_max": max(values, default=None),
        "commits_mean": math.fsum(values) / len(values) if values else None,
        "users_distinct": len(b.users),
        **quantiles,
    }
