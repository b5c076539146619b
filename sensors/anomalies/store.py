"""Models, progress and anomalies in Postgres. Every function leaves the transaction to its caller."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg import sql
from psycopg.types.json import Jsonb

from sensors.anomalies.model import Kind, Model
from sensors.anomalies.series import Key, number_of, time_of
from streamgauge.anomaly.detector import Band, Detector
from streamgauge.anomaly.episodes import Ended, Found
from streamgauge.anomaly.stored import SLOTS, dump_recent, dump_slot, learned, load
from streamgauge.anomaly.tuning import Tuning
from streamgauge.contract.model import Contract
from streamgauge.stores.postgres import Connection

_BANDS_KEPT = timedelta(days=8)
"""A week can be looked back on."""
_ANOMALIES_KEPT = timedelta(days=400)


@dataclass
class Progress:
    """`until`: the first minute that is not judged; `latest`: the last one that had an event."""

    until: int
    latest: int
    left_out: int = 0


@dataclass(frozen=True)
class Expected:
    """An anomaly that a person expects, and the model does not know it yet."""

    id: str
    key: Key
    began: int
    ended: int | None
    observed: float
    expected: float


def take(connection: Connection, contract: Contract) -> Progress | None:
    """Locks the stream for this transaction: two ticks at once would judge a minute twice. None where another has it,
    or where there is nothing to judge yet.
    """
    row = connection.execute(
        "select until, latest, left_out from anomaly_progress where stream = %s for update skip locked",
        (contract.stream,),
    ).fetchone()
    return None if row is None else Progress(number_of(row[0]), number_of(row[1]), row[2])


def begin(connection: Connection, contract: Contract, since: datetime, until: datetime) -> None:
    """Where nothing was judged yet: from the first minute since then that has events."""
    query = sql.SQL(
        "insert into anomaly_progress (stream, until, latest) select %(stream)s, min(minute), min(minute) from {}"
        " where minute >= %(since)s and minute < %(until)s and count > 0 having min(minute) is not null"
        " on conflict do nothing"
    ).format(sql.Identifier(contract.minutes_table))
    connection.execute(query, {"stream": contract.stream, "since": since, "until": until})


def next_event(connection: Connection, contract: Contract, first: int, last: int) -> int | None:
    query = sql.SQL("select min(minute) from {} where minute >= %s and minute < %s and count > 0").format(
        sql.Identifier(contract.minutes_table)
    )
    row = connection.execute(query, (time_of(first), time_of(last))).fetchone()
    return None if row is None or row[0] is None else number_of(row[0])


def read_model(connection: Connection, contract: Contract, kind: Kind) -> Model:
    a = contract.anomalies
    detector = Detector(Tuning(a.sensitivity, a.direction), counts=kind == "counts")
    with connection.cursor(binary=True) as cursor:
        row = cursor.execute(
            "select series, recent from anomaly_models where stream = %s and kind = %s", (contract.stream, kind)
        ).fetchone()
        if row is None:
            return Model.new(kind, detector)
        slots = cursor.execute(
            "select slot, known from anomaly_slots where stream = %s and kind = %s", (contract.stream, kind)
        ).fetchall()
    keys = [Key(figure, tuple(values)) for figure, values in row[0]]
    return Model(kind, detector, keys, load(row[1], dict(slots)))


def write_model(connection: Connection, contract: Contract, model: Model, first: int, last: int) -> None:
    """After the minutes from `first` to `last` were judged."""
    series = Jsonb([[key.figure, key.values] for key in model.keys])
    connection.execute(
        "insert into anomaly_models (stream, kind, series, recent) values (%s, %s, %s, %s)"
        " on conflict (stream, kind) do update set series = excluded.series, recent = excluded.recent",
        (contract.stream, model.kind, series, dump_recent(model.state)),
    )
    changed = range(SLOTS) if model.reordered else learned(first, last)
    with connection.cursor() as cursor:
        cursor.executemany(
            "insert into anomaly_slots (stream, kind, slot, known) values (%s, %s, %s, %s)"
            " on conflict (stream, kind, slot) do update set known = excluded.known",
            [(contract.stream, model.kind, slot, dump_slot(model.state, slot)) for slot in changed],
        )


def write_progress(connection: Connection, contract: Contract, progress: Progress) -> None:
    connection.execute(
        "update anomaly_progress set until = %s, latest = %s, left_out = %s where stream = %s",
        (time_of(progress.until), time_of(progress.latest), progress.left_out, contract.stream),
    )


def write_bands(connection: Connection, contract: Contract, bands: Sequence[tuple[int, Band]]) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(
            "insert into anomaly_bands (stream, minute, expected, low, high) values (%s, %s, %s, %s, %s)"
            " on conflict (stream, minute) do nothing",
            [
                (contract.stream, time_of(minute), *(float(v[0]) for v in (b.expected, b.low, b.high)))
                for minute, b in bands
            ],
        )


def write_changes(
    connection: Connection, contract: Contract, changes: Iterable[tuple[Key, Found | Ended]]
) -> tuple[int, int]:
    """Returns how many began and how many ended. Of several worse minutes of an anomaly the last is the worst."""
    worst: dict[str, tuple[Key, Found]] = {}
    ends: dict[str, Ended] = {}
    for key, change in changes:
        name = id_of(contract, key, change.began)
        if isinstance(change, Found):
            worst[name] = (key, change)
        else:
            ends[name] = change
    began = 0
    for name, (key, found) in worst.items():
        row = connection.execute(_FOUND, _row(contract, name, key, found)).fetchone()
        began += row is not None and row[0]
    for name, end in ends.items():
        connection.execute(
            "update anomalies set ended = %s, shifted = %s where id = %s", (time_of(end.minute), end.shifted, name)
        )
    return began, len(ends)


_FOUND = """insert into anomalies (id, stream, figure, dimensions, kind, direction, began, minute, minutes, observed,
expected, low, high, score) values (%(id)s, %(stream)s, %(figure)s, %(dimensions)s, %(kind)s, %(direction)s, %(began)s,
%(minute)s, %(minutes)s, %(observed)s, %(expected)s, %(low)s, %(high)s, %(score)s)
on conflict (id) do update set kind = excluded.kind, minute = excluded.minute, minutes = excluded.minutes,
observed = excluded.observed, expected = excluded.expected, low = excluded.low, high = excluded.high,
score = excluded.score returning xmax = 0"""


def id_of(contract: Contract, key: Key, began: int) -> str:
    """The same for the same anomaly."""
    text = json.dumps([contract.stream, key.figure, key.values, began])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _row(contract: Contract, name: str, key: Key, found: Found) -> dict[str, object]:
    return {
        "id": name,
        "stream": contract.stream,
        "figure": key.figure,
        "dimensions": Jsonb(dict(zip(contract.dimension_names, key.values, strict=False))),
        "kind": found.kind,
        "direction": "up" if found.side > 0 else "down",
        "began": time_of(found.began),
        "minute": time_of(found.minute),
        "minutes": found.minutes,
        "observed": found.observed,
        "expected": found.expected,
        "low": found.low,
        "high": found.high,
        "score": found.score,
    }


def read_expected(connection: Connection, contract: Contract) -> list[Expected]:
    rows = connection.execute(
        "select id, figure, dimensions, began, ended, observed, expected from anomalies where stream = %s"
        " and verdict_at is not null and verdict = 'expected' and not learned order by began, id",
        (contract.stream,),
    )
    return [
        Expected(
            id,
            Key(figure, tuple(dimensions[d] for d in contract.dimension_names if d in dimensions)),
            number_of(began),
            None if ended is None else number_of(ended),
            observed,
            expected,
        )
        for id, figure, dimensions, began, ended, observed, expected in rows
    ]


def note_learned(connection: Connection, anomaly: Expected, until: int) -> None:
    connection.execute(
        "update anomalies set learned = true, ended = coalesce(ended, %s) where id = %s",
        (time_of(until), anomaly.id),
    )


def forget(connection: Connection, contract: Contract, until: int) -> None:
    connection.execute(
        "delete from anomaly_bands where stream = %s and minute < %s", (contract.stream, time_of(until) - _BANDS_KEPT)
    )
    connection.execute(
        "delete from anomalies where stream = %s and ended < %s", (contract.stream, time_of(until) - _ANOMALIES_KEPT)
    )
