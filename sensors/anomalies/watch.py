"""Judges a stream's minutes as they become complete: each once, in order, with one transaction for some of them."""

from dataclasses import dataclass
from datetime import timedelta

from sensors.anomalies import store
from sensors.anomalies.model import Model
from sensors.anomalies.series import Columns, Key, Minutes, number_of, read_minutes
from sensors.anomalies.store import Expected, Progress
from streamgauge.anomaly.detector import Band
from streamgauge.anomaly.episodes import GAP_FOR, Ended, Found
from streamgauge.anomaly.state import RING
from streamgauge.contract.model import Contract
from streamgauge.stores.postgres import Connection
from streamgauge.stores.progress import read_complete

_AT_ONCE = 720
"""Minutes that are judged in one transaction: so much is done again after a kill."""
_HISTORY = timedelta(days=35)
"""How far back a stream is learned that was never judged: the last four weeks are half of what is known of a week."""
_SILENT_FOR = GAP_FOR + RING
"""Minutes without any event after which a stream's minutes are not judged until there is one again: a stream that was
left for years must not cost a verdict for each minute of them.
"""


@dataclass(frozen=True)
class Advanced:
    """What some minutes brought. `more`: there are others to be judged at once."""

    judged: int
    began: int
    ended: int
    more: bool


_NOTHING = Advanced(0, 0, 0, False)


def advance(connection: Connection, contract: Contract) -> Advanced:
    """`connection` commits each statement by itself, where there is no transaction."""
    complete = read_complete(connection, contract)
    if complete is None:
        return _NOTHING
    last = number_of(complete)
    with connection.transaction():
        store.begin(connection, contract, complete - _HISTORY, complete)
        progress = store.take(connection, contract)
        if progress is None or progress.until >= last:
            return _NOTHING
        return _judge(connection, contract, progress, last)


def _judge(connection: Connection, contract: Contract, progress: Progress, last: int) -> Advanced:
    first, end = progress.until, min(progress.until + _AT_ONCE, last)
    minutes = read_minutes(connection, contract, first, end)
    if first > progress.latest + _SILENT_FOR and not minutes.counts.observed.any():
        progress.until = store.next_event(connection, contract, first, last) or last
        store.write_progress(connection, contract, progress)
        return Advanced(0, 0, 0, progress.until < last)
    counts, means = (store.read_model(connection, contract, kind) for kind in ("counts", "means"))
    expected = store.read_expected(connection, contract)
    for anomaly in expected:
        _expect(counts, means, anomaly, first)
        store.note_learned(connection, anomaly, first)
    changes, bands = _each_minute(minutes, end, counts, means, progress)
    counts.forget_idle()
    for model in (counts, means):
        if expected:
            model.reordered = True
        store.write_model(connection, contract, model, first, end - 1)
    store.write_bands(connection, contract, bands)
    began, ended = store.write_changes(connection, contract, changes)
    progress.until, progress.left_out = end, counts.left_out + means.left_out
    store.write_progress(connection, contract, progress)
    store.forget(connection, contract, end)
    return Advanced(end - first, began, ended, end < last)


def _each_minute(
    minutes: Minutes, end: int, counts: Model, means: Model, progress: Progress
) -> tuple[list[tuple[Key, Found | Ended]], list[tuple[int, Band]]]:
    changes: list[tuple[Key, Found | Ended]] = []
    bands: list[tuple[int, Band]] = []
    parts: list[tuple[Model, Columns]] = [(counts, minutes.counts), (means, minutes.means)]
    taken = [(model, *model.take_in(columns)) for model, columns in parts if columns.keys or model.keys]
    skipped = False
    for minute in range(minutes.first, end):
        if minutes.has_events(minute):
            progress.latest = minute
        if minute > progress.latest + _SILENT_FOR:
            skipped = True
            continue
        row = minute - minutes.first
        for model, observed, number in taken:
            if skipped:
                model.detector.resume(model.state, minute)
            found, band = model.judge(minute, observed[row], None if number is None else number[row])
            changes += found
            bands += [] if band is None else [(minute, band)]
        skipped = False
    return changes, bands


def _expect(counts: Model, means: Model, anomaly: Expected, now: int) -> None:
    for model, relative in ((counts, True), (means, False)):
        series = model.place(anomaly.key)
        if series is not None:
            off = anomaly.observed - anomaly.expected
            strayed = off / max(anomaly.expected, 1e-9) if relative else off
            until = anomaly.ended if anomaly.ended is not None else now
            model.detector.expect(model.state, series, range(anomaly.began, max(until, anomaly.began + 1)), strayed)
