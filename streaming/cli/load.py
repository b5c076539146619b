"""`streamgauge load`."""

import random
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from streamgauge.cli.output import RIGHT, Json, console, print_json, table
from streamgauge.contract.load import find_contract, load_contracts
from streamgauge.errors import UserError
from streamgauge.settings import Settings
from streamgauge.telemetry.probes import serve_metrics
from streamgauge.telemetry.span_export import export_traces
from streamgauge.text import number
from streaming.cli.outcome import show_outcomes, warn
from streaming.forecast import accounts_of, forecast, outcomes
from streaming.ledger import Ledger
from streaming.load.generate import Shape
from streaming.load.load import LoadResult, Plan
from streaming.load.load import load as send_load
from streaming.replay.replay import progress_bars


def load(
    stream: Annotated[str, typer.Argument(help="The stream to send to.")],
    rate: Annotated[float | None, typer.Option(help="Events a second; as fast as possible if not given.")] = None,
    events: Annotated[int | None, typer.Option(help="How many events.")] = None,
    seconds: Annotated[float | None, typer.Option(help="How long, at the rate.")] = None,
    span: Annotated[float, typer.Option(help="Without a rate: seconds of event time up to now.")] = 600,
    seed: Annotated[int | None, typer.Option(help="The same seed makes the same values; drawn if not given.")] = None,
    skew: Annotated[float, typer.Option(help="Zipf exponent; 0 draws all values alike.")] = 1.0,
    users: Annotated[int, typer.Option(help="How many users.")] = 10_000,
    duplicates: Annotated[float, typer.Option(help="Share of duplicates.")] = 0.0,
    late: Annotated[float, typer.Option(help="Share of late events.")] = 0.0,
    bad: Annotated[float, typer.Option(help="Share of bad records, of every kind.")] = 0.0,
    ledger: Annotated[Path | None, typer.Option(help="Parquet file for what the broker acknowledged.")] = None,
    as_json: Json = False,
) -> None:
    """Send synthetic events, made from the stream's contract."""
    settings = Settings.for_role("producer")
    if settings.metrics_port is not None:
        serve_metrics("streamgauge-producer", settings.metrics_port, settings.metrics_host)
    export_traces("streamgauge-producer", settings.zipkin_url)
    contract = find_contract(load_contracts(settings.contracts_dir), stream)
    seed = random.SystemRandom().getrandbits(32) if seed is None else seed
    plan = Plan(_count(rate, events, seconds), rate, time.time_ns() // 1_000_000, seed, span)
    shape = Shape(users, skew, duplicates, late, bad)
    book = None if ledger is None else Ledger()
    before = accounts_of((contract,))
    watermarks = None if before is None else {stream: before[stream].watermark}
    warn(Console(stderr=True), forecast(contract, plan.events, plan.before, watermarks))
    try:
        with progress_bars(console=Console(stderr=True)) as bars:
            task = bars.add_task(stream, total=plan.events)
            result = send_load(
                settings, contract, plan, shape, ledger=book, on_progress=lambda n: bars.advance(task, n)
            )
    finally:
        if book is not None and ledger is not None:
            book.write(ledger)
    became = outcomes((contract,), before)
    if as_json:
        print_json({"seed": seed, **result.as_json(), "became": asdict(became[0]) if became else None})
    else:
        _show(stream, seed, result)
        show_outcomes(became)


def _count(rate: float | None, events: int | None, seconds: float | None) -> int:
    if (events is None) == (seconds is None):
        raise UserError("how much to send isn't said", "give either --events or --rate and --seconds")
    if events is not None:
        return events
    if rate is None:
        raise UserError("--seconds needs a rate", "give --rate too, or --events instead")
    return max(1, round(rate * (seconds or 0)))


def _show(stream: str, seed: int, result: LoadResult) -> None:
    done = result.deliveries
    figures = ("sent", "acknowledged", "events_per_second", "p50", "p95", "p99")
    shown = table(stream="left", **dict.fromkeys(figures, RIGHT))
    latencies = (f"{(result.latency(q) or 0) * 1000:.0f} ms" for q in (0.5, 0.95, 0.99))
    total = done.acknowledged.total()
    shown.add_row(stream, number(done.sent), number(total), number(total / result.seconds), *latencies)
    out = console()
    out.print(shown)
    out.print(f"{', '.join(f'{number(n)} {kind}' for kind, n in sorted(result.kinds.items()))}; seed {seed}")
