"""`streamgauge rebuild`."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from streamgauge.audit.entry import AuditEvent
from streamgauge.audit.log import append, person
from streamgauge.cli.output import RIGHT, Json, console, print_json, table
from streamgauge.contract.in_use import load_applied
from streamgauge.contract.load import find_contract
from streamgauge.dagster.hours import HourRange, hour_key, parse_hour, parse_hours
from streamgauge.settings import Settings
from streamgauge.stores.postgres import connect_or_explain
from streamgauge.text import number

if TYPE_CHECKING:
    from assets.rebuild.rebuild import Rebuilt

_FIGURES = ("rows", "count", "late", "duplicates", "repaired")


def rebuild(
    stream: Annotated[str, typer.Argument(help="The stream, such as user_events.")],
    begin: Annotated[str, typer.Option("--from", help="First hour of event time, such as 2026-11-05-07, UTC.")],
    end: Annotated[str | None, typer.Option("--to", help="Up to this hour, not included; else one hour.")] = None,
    as_json: Json = False,
) -> None:
    """Make the minute rollups of closed hours again from the lake, with late events counted; the worker may run."""
    # Dagster comes with it, and a list of the commands should not wait for that
    from assets.rebuild.rebuild import rebuild as rebuild_hours

    settings = Settings.for_role("batch")
    contract = find_contract(load_applied(settings), stream)
    hours = HourRange(parse_hour(begin), parse_hour(begin)) if end is None else parse_hours(begin, end)
    out = console()
    done: list[Rebuilt] = []

    def note(hour: "Rebuilt") -> None:
        done.append(hour)
        if not as_json and len(hours.hours) > 1:
            out.print(f"{hour_key(hour.hour)} rebuilt", style="dim")

    subject = f"{stream} {hour_key(hours.first)} to {hour_key(hours.last)}"
    with connect_or_explain(settings, application="streamgauge rebuild") as connection:
        append(connection, AuditEvent("hours.rebuild", subject, person()))
    rebuild_hours(settings, contract, hours, note)
    if as_json:
        print_json([{**asdict(r), "hour": r.hour.isoformat()} for r in done])
        return
    shown = table(hour="left", **dict.fromkeys(_FIGURES, RIGHT))
    for r in done:
        shown.add_row(hour_key(r.hour), *(number(getattr(r, f)) for f in _FIGURES))
    out.print(shown)
    out.print("[dim]late: events that are counted now; repaired: rows that had held another number of records.[/dim]")
