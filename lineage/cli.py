"""`streamgauge trace`: where an event is, and what became of it."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape

from lineage.trace import Trace, trace
from streamgauge.cli.output import Json, console, print_json, table
from streamgauge.contract.in_use import load_applied
from streamgauge.contract.load import find_contract
from streamgauge.settings import Settings


def trace_event(
    event_id: Annotated[str, typer.Argument(metavar="EVENT_ID")],
    stream: Annotated[str | None, typer.Option(help="Look in this stream only.")] = None,
    as_json: Json = False,
) -> None:
    """Follow one event: Kafka, its minute, the lake's file, its fact, the hours made of it, the number served."""
    settings = Settings.for_role("batch")
    contracts = load_applied(settings)
    if stream is not None:
        find_contract(contracts, stream)
    found = trace(settings, contracts, event_id, stream)
    if as_json:
        print_json([asdict(t) for t in found])
        return
    for each in found:
        _show(each)


def _show(found: Trace) -> None:
    out = console()
    out.print(
        f"\n[bold]{found.stream}[/]: {found.verdict}, {found.topic} partition {found.partition} offset {found.offset}"
        + (f", happened {found.event_time}" if found.event_time else "")
    )
    shown = table(layer="left", asset="left", hour="left", what="left", run="left")
    for s in found.steps:
        link = f"[link={s.url}]{escape(s.asset)}[/link]" if s.url else escape(s.asset)
        shown.add_row(s.layer, link, s.partition or "", escape(s.description), (s.run_id or "")[:8])
    out.print(shown)
