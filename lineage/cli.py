"""`streamgauge trace`: where an event is, and what became of it; or where a minute's number comes from."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.markup import escape

from lineage.correlation import TracedStep, steps_of
from lineage.number import Writer, writers
from lineage.trace import Trace, trace
from streamgauge.cli.output import Json, console, print_json, table
from streamgauge.contract.in_use import load_applied
from streamgauge.contract.load import find_contract
from streamgauge.errors import UserError
from streamgauge.settings import Settings
from streamgauge.text import number


def trace_event(
    event_id: Annotated[str | None, typer.Argument(metavar="EVENT_ID")] = None,
    stream: Annotated[str | None, typer.Option(help="Look in this stream only.")] = None,
    minute: Annotated[
        str | None, typer.Option(help="Instead of an event, the number of this minute of the stream, in UTC.")
    ] = None,
    of: Annotated[list[str] | None, typer.Option(help="DIMENSION=VALUE, which the number is of.")] = None,
    correlation: Annotated[
        str | None, typer.Option(metavar="ID", help="Instead of an event, what was sent with this correlation id.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Follow one event: Kafka, its commit, the lake's file, its fact, the hours made of it, the number served. Or, by
    --stream and --minute, find the commits and the run behind a number; by --correlation, each step of what was
    sent."""
    settings = Settings.for_role("batch")
    if [event_id, minute, correlation].count(None) != 2 or (minute is not None and stream is None):
        raise UserError("it isn't said what to trace", "give EVENT_ID, --stream and --minute, or --correlation")
    if correlation is not None:
        steps = steps_of(settings, correlation)
        if as_json:
            print_json([asdict(s) for s in steps])
        else:
            _show_steps(steps)
        return
    contracts = load_applied(settings)
    if stream is not None:
        find_contract(contracts, stream)
    if event_id is not None:
        found = trace(settings, contracts, event_id, stream)
        if as_json:
            print_json([asdict(t) for t in found])
            return
        for each in found:
            _show(each)
    elif minute is not None and stream is not None:
        wrote = writers(settings, find_contract(contracts, stream), _minute(minute), _members(of or ()))
        if as_json:
            print_json([asdict(w) for w in wrote])
        else:
            _show_writers(wrote)


def _minute(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as e:
        raise UserError(f"{text!r} is no time", "write it as 2026-01-31T12:05Z") from e
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).replace(second=0, microsecond=0)


def _members(given: Sequence[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    wrong = next((text for text, (_, equals, _) in zip(given, pairs, strict=True) if not equals), None)
    if wrong is not None:
        raise UserError(f"{wrong!r} names no member of a dimension", "write it as DIMENSION=VALUE")
    return {name: value for name, _, value in pairs}


def _show_writers(found: Sequence[Writer]) -> None:
    out = console()
    shown = table(layer="left", count="right", written="left", records="left")
    for w in found:
        shown.add_row(w.layer, "" if w.count is None else number(w.count), w.at or "", w.offsets or "")
    out.print(shown)
    _show_pages(w.trace_url for w in found)
    _show_pages(w.logs_url for w in found)


def _show_steps(steps: Sequence[TracedStep]) -> None:
    shown = table(at="left", service="left", step="left", ms="right")
    for s in steps:
        shown.add_row(_clock(s.at), s.service, escape(s.name), f"{1000 * s.seconds:.1f}")
    console().print(shown)
    _show_pages(s.trace_url for s in steps)


def _clock(at: str) -> str:
    return f"{datetime.fromisoformat(at):%m-%d %H:%M:%S.%f}"[:-3]


def _show_pages(urls: Iterable[str | None]) -> None:
    """In full: a link in a table is lost where the terminal knows none."""
    for url in dict.fromkeys(filter(None, urls)):
        typer.echo(url)


def _show(found: Trace) -> None:
    out = console()
    out.print(
        f"\n[bold]{found.stream}[/]: {found.verdict}, {found.topic} partition {found.partition} offset {found.offset}"
        + (f", happened {found.event_time}" if found.event_time else "")
    )
    shown = table(layer="left", at="left", asset="left", hour="left", what="left", run="left")
    for s in found.steps:
        link = f"[link={s.url}]{escape(s.asset)}[/link]" if s.url else escape(s.asset)
        at = "" if s.at is None else _clock(s.at)
        shown.add_row(s.layer, at, link, s.partition or "", escape(s.description), (s.run_id or "")[:8])
    out.print(shown)
    _show_pages(s.trace_url for s in found.steps)
    _show_pages(s.logs_url for s in found.steps)
