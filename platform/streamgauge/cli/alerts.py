"""`streamgauge alerts`: firing, undelivered, history."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streamgauge.cli.output import RIGHT, Json, console, print_json, table
from streamgauge.settings import Settings
from streamgauge.state import alerts
from streamgauge.state.alerts import Alert
from streamgauge.stores.postgres import Connection, connect_or_explain
from streamgauge.text import moment, number

app = typer.Typer(no_args_is_help=True, help="What is wrong, and who was told.")

_SILENT = timedelta(minutes=3)


@app.command()
def firing(as_json: Json = False) -> None:
    """List what fires now; exit code 1 if something does, or if nobody is looking."""
    with _connect() as connection:
        found, beat = alerts.firing(connection), alerts.heartbeat(connection)
    silent = beat is None or datetime.now(UTC) - beat > _SILENT
    if as_json:
        heartbeat = None if beat is None else beat.isoformat()
        print_json({"firing": [a.as_json() for a in found], "looked_at": heartbeat, "silent": silent})
    else:
        out = console()
        if silent:
            out.print(
                f"The alert sensor is silent; it last looked at {moment(beat)}: what follows may be old.", style="red"
            )
        if not found:
            out.print("Nothing fires.")
        for a in found:
            _show(out, a)
    if found or silent:
        raise typer.Exit(1)


@app.command()
def undelivered(as_json: Json = False) -> None:
    """List the messages that Alertmanager or the webhook has not taken; exit code 1 if there are any."""
    with _connect() as connection:
        found = alerts.undelivered(connection)
    if as_json:
        print_json([u.as_json() for u in found])
    elif not found:
        console().print("Every message was taken.")
    else:
        shown = table(
            made="left", target="left", message="left", alert="left", attempts=RIGHT, next="left", error="left"
        )
        for u in found:
            message = f"{u.status} {u.severity}"
            row = (moment(u.made_at), u.target, message, Text(u.summary), number(u.attempts), moment(u.next_at))
            shown.add_row(*row, Text(u.error or "not tried yet"))
        console().print(shown)
    if found:
        raise typer.Exit(1)


@app.command()
def history(
    limit: Annotated[int, typer.Option(help="How many of the latest to list.", min=1)] = 50, as_json: Json = False
) -> None:
    """List alerts, the latest first."""
    with _connect() as connection:
        found = alerts.history(connection, limit)
    if as_json:
        print_json([a.as_json() for a in found])
        return
    console().print(_table(found) if found else "There was no alert so far.")


def _show(out: Console, alert: Alert) -> None:
    out.print(
        Text.assemble((alert.severity, "bold red" if alert.severity == "critical" else "yellow"), "  ", alert.summary)
    )
    out.print(f"  since {moment(alert.since)}, told {moment(alert.raised_at)}, owner {alert.owner}", markup=False)
    out.print(f"  {alert.description}", markup=False)
    for link in (alert.runbook_url, alert.asset_url):
        if link:
            out.print(f"  {link}", markup=False)


def _table(found: Sequence[Alert]) -> Table:
    shown = table(told="left", recovered="left", severity="left", alert="left", owner="left")
    for a in found:
        recovered = moment(a.resolved_at) if a.resolved_at else "fires"
        shown.add_row(moment(a.raised_at), recovered, a.severity, Text(a.summary), a.owner)
    return shown


def _connect() -> Connection:
    return connect_or_explain(Settings.for_role("reader"), application="streamgauge alerts")
