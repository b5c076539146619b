"""`make bench`, or `python -m bench`."""

import math
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeVar, get_args

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench import anomalies, batch, formats, ingest, lake, latency, nab, others, place, serving, tracing, worker
from bench.figures import run as figures_of
from bench.report import Machine, Measured, Row, as_json, machine, rows, show
from streamgauge.cli.output import Json, console, print_json
from streamgauge.contract.model import Contract
from streamgauge.errors import UserError
from streamgauge.settings import Settings
from streaming.load.fill import fill
from streaming.load.generate import Shape
from streaming.load.load import Plan

_REPEAT_EVERY = 100
_BATCH = 8192
T = TypeVar("T")
_err = Console(stderr=True, highlight=False)


def bench(
    events: Annotated[int, typer.Option(min=100_000, help="Records in the topic.")] = 10_000_000,
    horizon: Annotated[int, typer.Option(min=1, help="How many of them fall into the duplicate horizon.")] = 1_000_000,
    plain: Annotated[int, typer.Option(help="Records for the plain loop; 0 leaves it out.")] = 300_000,
    quix: Annotated[int, typer.Option(help="Records for Quix Streams; 0 leaves it out.")] = 300_000,
    rate: Annotated[float, typer.Option(help="Events a second for the latencies.")] = 20_000,
    seconds: Annotated[float, typer.Option(help="How long at that rate; 0 leaves it out.")] = 60,
    facts: Annotated[int, typer.Option(help="Events for facts beside DuckDB; 0 leaves it out.")] = 20_000_000,
    asked: Annotated[
        float, typer.Option("--serving", help="Seconds for each question to the API; 0 leaves API and page out.")
    ] = 30,
    posted: Annotated[float, typer.Option("--ingest", help="Seconds of events over HTTP; 0 leaves them out.")] = 30,
    traced: Annotated[int, typer.Option(help="Times the worker runs with and without traces; 0 leaves it out.")] = 3,
    decoded: Annotated[int, typer.Option(help="Events as Avro and as JSON; 0 leaves them out.")] = 200_000,
    judged: Annotated[bool, typer.Option("--anomalies/--no-anomalies", help="The search for anomalies.")] = True,
    labelled: Annotated[
        Path | None, typer.Option("--nab", help="A folder laid out as NAB's repository; else it is left out.")
    ] = None,
    as_json_: Json = False,
) -> None:
    """Measure the worker beside what else could read the same topic, the API beside the database, and the batch
    layer beside DuckDB.

    The exit code says nothing of the figures.
    """
    about = machine()
    with tempfile.TemporaryDirectory(prefix="streamgauge-bench-") as folder, place.servers(_say):
        measured, loaded = _measure(Path(folder), events, horizon, min(plain, events), min(quix, events), rate, seconds)
    compared: list[Row] = lake.rows(loaded, measured.raw.per_second, events)
    if traced:
        what = "the worker with and without traces"
        compared += part(what, lambda folder: _traced(folder, events, horizon, traced))
    if asked:
        what = f"the API and the live page at {rate:,.0f} events/s"
        compared += part(what, lambda folder: _serving(folder, rate, asked))
    if posted:
        compared += part(f"events over HTTP at {ingest.RATE:,}/s", lambda folder: _ingest(folder, posted))
    if decoded:
        what = f"{decoded:,} events as Avro and as JSON"
        compared += part(what, lambda _: formats.rows(formats.measure(decoded)))
    if judged:
        compared += part("anomalies", lambda _: anomalies.rows(anomalies.measure()))
    if labelled is not None:
        compared += part("the Numenta Anomaly Benchmark", lambda _: nab.rows(labelled))
    if facts:
        what = f"facts and rollups of {facts:,} events, beside DuckDB"
        compared += part(what, lambda folder: batch.rows(batch.measure(folder, facts)))
    _print(about, measured, compared, as_json_)


def _measure(
    folder: Path, events: int, horizon: int, plain: int, quix: int, rate: float, seconds: float
) -> tuple[Measured, lake.LakeLoad]:
    contract = place.prepare(folder)
    began = datetime.now(UTC)
    admin = Settings.for_role("admin")
    duplicates = _fill(contract, events, horizon)
    _say("raw consume()")
    limit = others.raw(admin, contract, events)
    _say("Kafka to the lake")
    loaded = lake.take(admin, contract, began)
    _say("plain loop with AvroDeserializer")
    looped = _try(lambda: others.plain(admin, contract, plain)) if plain else None
    _say("Quix Streams")
    counted: dict[others.How, others.Rate | None] = {}
    for how in get_args(others.How) if quix else ():
        counted[how] = _try(lambda how=how: others.quix(admin, contract, quix, folder, how))
    with worker.running(contract, folder) as process:
        with _bars() as bars:
            task = bars.add_task("worker", total=events)
            samples = worker.watch(process, contract, events, lambda n: bars.update(task, completed=n))
        account = worker.account(contract)
        found = None
        if seconds > latency.WARM_UP_SECONDS:
            _say(f"latencies at {rate:,.0f} events/s for {seconds:.0f} s")
            found = latency.measure(contract, folder, rate, seconds)
    return Measured(events, duplicates, limit, looped, counted, figures_of(samples), account, found), loaded


def _traced(folder: Path, events: int, horizon: int, rounds: int) -> list[Row]:
    with place.servers(_say):
        contract = place.prepare(folder)
        _fill(contract, events, horizon)
        with _bars() as bars:
            task = bars.add_task("worker", total=events)
            found = tracing.measure(contract, folder, events, rounds, lambda done: bars.update(task, completed=done))
        return tracing.rows(found)


def _serving(folder: Path, rate: float, seconds: float) -> list[Row]:
    with place.servers(_say):
        return serving.rows(serving.measure(folder, rate, seconds))


def _ingest(folder: Path, seconds: float) -> list[Row]:
    with place.servers(_say):
        return ingest.rows(ingest.measure(folder, seconds))


def part(what: str, measure: Callable[[Path], list[Row]]) -> list[Row]:
    """One that fails leaves the figures of the others."""
    _say(what)
    with tempfile.TemporaryDirectory(prefix="streamgauge-bench-") as folder:
        return _try(lambda: measure(Path(folder))) or [Row(what, "not measured")]


def _try(measure: Callable[[], T]) -> T | None:
    """What can't be compared leaves the rest worth measuring; the table says that it is missing."""
    try:
        return measure()
    except UserError as e:
        _err.print(f"not measured: {e.what}", markup=False, soft_wrap=True)
        return None


def _fill(contract: Contract, events: int, horizon: int) -> int:
    """Returns how many of the events are duplicates."""
    now_ms = time.time_ns() // 1_000_000
    span = events / horizon * contract.time.duplicateHorizonSeconds
    plan = Plan(events, None, now_ms, now_ms, span)
    with _bars() as bars:
        task = bars.add_task("fill", total=events)
        producer = Settings.for_role("producer")
        fill(producer, contract, plan, Shape(place.USERS), lambda n: bars.advance(task, n), _REPEAT_EVERY)
    whole, rest = divmod(events, _BATCH)
    return whole * _duplicates(_BATCH) + _duplicates(rest)


def _duplicates(n: int) -> int:
    return max(0, math.ceil(n / _REPEAT_EVERY) - 1)


def _bars() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=_err)


def _say(what: str) -> None:
    _err.print(what)


def _print(about: Machine, measured: Measured, compared: list[Row], json: bool) -> None:
    report_rows = rows(measured) + compared
    if json:
        print_json(as_json(about, measured, report_rows))
    else:
        show(console(), about, report_rows)


def main() -> None:
    try:
        typer.run(bench)
    except UserError as e:
        _err.print(f"error: {e.what}", markup=False)
        _err.print(e.hint, markup=False)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
