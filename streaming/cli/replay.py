"""`streamgauge replay`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from streamgauge.cli.output import RIGHT, Json, console, print_json, table
from streamgauge.contract.load import load_contracts
from streamgauge.errors import UserError
from streamgauge.settings import Settings
from streamgauge.telemetry.probes import serve_metrics
from streamgauge.telemetry.span_export import export_traces
from streamgauge.text import duration, moment, number
from streaming.cli.outcome import show_outcomes, warn
from streaming.forecast import accounts_of, outcomes
from streaming.replay.replay import NOW, ReplayResult, describe_bad, parse_end, progress_bars, replay_files

MAX = "max"


def replay(
    files: Annotated[list[Path], typer.Argument(help="JSON Lines, gzipped or not.", exists=True, dir_okay=False)],
    mapping: Annotated[
        Path | None, typer.Option(help="Mapping file; found by the file's name if not given.", exists=True)
    ] = None,
    speed: Annotated[str, typer.Option(help="Event time by real time, such as 60; max is without a pause.")] = MAX,
    end: Annotated[str, typer.Option(help="When the last event happens: now, original or an ISO moment.")] = NOW,
    skip_bad: Annotated[bool, typer.Option(help="Leave out lines that are no event of the stream.")] = False,
    fresh_ids: Annotated[
        bool, typer.Option(help="Give the events new ids, so that those sent before make no duplicates of them.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Send data sets to their streams, in the order of event time, and say what becomes of their events."""
    settings = Settings.for_role("producer")
    if settings.metrics_port is not None:
        serve_metrics("streamgauge-producer", settings.metrics_port, settings.metrics_host)
    export_traces("streamgauge-producer", settings.zipkin_url)
    at, factor = parse_end(end), _speed(speed)
    contracts = load_contracts(settings.contracts_dir)
    before = accounts_of(contracts)
    watermarks = None if before is None else {stream: a.watermark for stream, a in before.items()}
    with progress_bars(console=Console(stderr=True)) as bars:
        results = replay_files(
            settings,
            files,
            end=at,
            mapping=mapping,
            speed=factor,
            skip_bad=skip_bad,
            fresh_ids=fresh_ids,
            watermarks=watermarks,
            on_forecast=lambda found: warn(bars.console, found),
            progress=bars,
        )
    became = outcomes([c for c in contracts if c.stream in {r.stream for r in results}], before)
    if as_json:
        by_stream = {o.stream: asdict(o) for o in became}
        print_json([{**r.as_json(), "became": by_stream.get(r.stream)} for r in results])
        return
    _show(results)
    show_outcomes(became)


def _speed(text: str) -> float | None:
    if text == MAX:
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise UserError(f"--speed {text!r} is no speed", "give max or a number above 0, such as 60")
    return speed


def _show(results: list[ReplayResult]) -> None:
    out = console()
    shown = table(file="left", stream="left", sent=RIGHT, acknowledged=RIGHT, first="left", last="left", took=RIGHT)
    for r in results:
        row = (number(r.sent), number(r.acknowledged), moment(r.first), moment(r.last), duration(r.seconds))
        shown.add_row(r.file, r.stream, *row)
    out.print(shown)
    for r in results:
        if r.bad_lines:
            out.print(f"{r.file}: left out {describe_bad(r.bad_lines)}", style="yellow")
