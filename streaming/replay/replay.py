"""Sends data sets, each with its own producer and progress bar."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from streamgauge.contract.load import load_contracts
from streamgauge.contract.model import Contract
from streamgauge.errors import UserError
from streamgauge.producer.producer import EventProducer
from streamgauge.settings import CHECKOUT, Settings
from streamgauge.text import plural
from streamgauge.types import Int64s
from streaming.forecast import Forecast, forecast, late_before
from streaming.replay.dataset import BadLine, read_dataset, shift, with_fresh_ids
from streaming.replay.mapping import DataMapping, find_mapping, load_mapping

MAPPINGS = CHECKOUT / "examples" / "mappings"
NOW, ORIGINAL = "now", "original"

_PIECE = 2_000
"""Events sent in one go: more, and a replay at a speed would come in bursts, and Ctrl-C be heard late."""
_MOST_WAIT = 0.2
"""Seconds: Ctrl-C is heard so late."""


@dataclass(frozen=True)
class ReplayResult:
    file: str
    stream: str
    sent: int
    acknowledged: int
    bad_lines: list[BadLine]
    first: datetime | None
    last: datetime | None
    """Event times as sent."""
    forecast: Forecast
    seconds: float

    def as_json(self) -> dict[str, Any]:
        moments = {k: None if v is None else v.isoformat() for k, v in (("first", self.first), ("last", self.last))}
        expected = {"late_at_least": self.forecast.late, "never_final": self.forecast.never_final}
        row = {**asdict(self), **moments, **expected}
        del row["forecast"]
        return row


def parse_end(end: str) -> datetime | None:
    """`now`, `original` (None) or an ISO moment, in UTC where it doesn't say."""
    if end == ORIGINAL:
        return None
    if end == NOW:
        return datetime.now(UTC)
    try:
        at = datetime.fromisoformat(end)
    except ValueError as e:
        raise UserError(f"--end {end!r} is no time", "give now, original or a moment like 2026-01-31T12:00:00Z") from e
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def progress_bars(**options: Any) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, **options)


def replay_files(
    settings: Settings,
    files: Sequence[Path],
    *,
    end: datetime | None,
    mapping: Path | None = None,
    speed: float | None = None,
    skip_bad: bool = False,
    fresh_ids: bool = False,
    on_time_only: bool = False,
    watermarks: Mapping[str, datetime | None] | None = None,
    on_forecast: Callable[[Forecast], None] | None = None,
    progress: Progress | None = None,
) -> list[ReplayResult]:
    """Sends every file's events, all at the same time, so that the last of each is at `end` (None: at original times).

    `speed` is event time by real time; None is as fast as the broker takes them. A file with bad lines
    raises UserError and isn't sent, unless `skip_bad`. `fresh_ids` makes new events of them, not duplicates of those
    sent before, and `on_time_only` leaves out what the streams' `watermarks` have passed. Before a file is sent,
    `on_forecast` is called with what will become of its events. `progress` must be started and stopped by the caller.
    """
    contracts = load_contracts(settings.contracts_dir)
    end_ms = None if end is None else round(end.timestamp() * 1000)
    options = _Options(end_ms, speed, skip_bad, fresh_ids, on_time_only, watermarks, on_forecast)
    jobs = [
        (f, *(load_mapping(mapping, contracts) if mapping else find_mapping(f, MAPPINGS, contracts))) for f in files
    ]
    bars = progress or progress_bars(disable=True)
    tasks = [bars.add_task(contract.stream, total=None) for _, _, contract in jobs]
    stop = threading.Event()
    with ThreadPoolExecutor(max_workers=max(1, len(jobs))) as pool:
        running = [
            pool.submit(_replay, settings, *job, options, bars, task, stop)
            for job, task in zip(jobs, tasks, strict=True)
        ]
        try:
            # not one long wait: Ctrl-C may reach another thread, and this one must wake up to notice
            while wait(running, timeout=_MOST_WAIT).not_done:
                pass
            return [r.result() for r in running]
        except KeyboardInterrupt:
            stop.set()
            raise


@dataclass(frozen=True)
class _Options:
    """The arguments of `replay_files`, which is the same for all files."""

    end_ms: int | None
    speed: float | None
    skip_bad: bool
    fresh_ids: bool
    on_time_only: bool
    watermarks: Mapping[str, datetime | None] | None
    on_forecast: Callable[[Forecast], None] | None


def _replay(
    settings: Settings,
    path: Path,
    mapping: DataMapping,
    contract: Contract,
    options: _Options,
    bars: Progress,
    task: TaskID,
    stop: threading.Event,
) -> ReplayResult:
    began = time.monotonic()
    data = read_dataset(path, mapping, contract)
    if data.bad_lines and not options.skip_bad:
        raise UserError(f"{path.name}: {describe_bad(data.bad_lines)}", "correct them, or give --skip-bad")
    events = shift(data.events, contract.event_time, options.end_ms)
    if options.fresh_ids:
        events = with_fresh_ids(events, contract.event_id)
    if options.on_time_only:
        events = _on_time(events, contract, (options.watermarks or {}).get(contract.stream))
    times = events[contract.event_time]
    epochs: Int64s = times.to_physical().to_numpy()
    expected = forecast(contract, events.height, lambda ms: int(np.searchsorted(epochs, ms)), options.watermarks)
    if options.on_forecast is not None:
        options.on_forecast(expected)
    bars.update(task, total=events.height)
    with EventProducer(settings, contract, on_progress=lambda n: bars.advance(task, n)) as producer:
        for piece in pieces(events, contract.event_time, options.speed, rest=producer.wait, stop=stop):
            producer.send(piece)
    return ReplayResult(
        file=path.name,
        stream=contract.stream,
        sent=producer.deliveries.sent,
        acknowledged=producer.deliveries.acknowledged.total(),
        bad_lines=data.bad_lines,
        first=times[0] if len(times) else None,
        last=times[-1] if len(times) else None,
        forecast=expected,
        seconds=time.monotonic() - began,
    )


_MARGIN_MS = 30_000
"""The watermark of an idle stream moves on with the clock while events are on their way: without a margin the first of
them would be late when they arrive."""


def _on_time(events: pl.DataFrame, contract: Contract, watermark: datetime | None) -> pl.DataFrame:
    if watermark is None:
        return events
    return events.filter(pl.col(contract.event_time).to_physical() >= late_before(contract, watermark) + _MARGIN_MS)


def describe_bad(bad: Sequence[BadLine], most: int = 5) -> str:
    some = "; ".join(f"line {b.line}: {b.reason}" for b in bad[:most])
    return f"{plural(len(bad), 'bad line')}: {some}{'; …' if len(bad) > most else ''}"


def pieces(
    events: pl.DataFrame,
    event_time: str,
    speed: float | None,
    *,
    rest: Callable[[float], None],
    stop: threading.Event,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[pl.DataFrame]:
    """The events in pieces, with a speed each no earlier than its turn, until `stop` is set."""
    times: Int64s = events[event_time].to_physical().to_numpy()
    began, at = clock(), 0
    while at < events.height and not stop.is_set():
        upto = min(events.height, at + _PIECE)
        if speed is not None:
            due = int(times[0]) + (clock() - began) * 1000 * speed
            upto = min(upto, int(np.searchsorted(times, due, side="right")))
            if upto == at:
                rest(min(max((int(times[at]) - due) / 1000 / speed, 0.001), _MOST_WAIT))
                continue
        yield events.slice(at, upto - at)
        at = upto
