"""`streamgauge alerts`: firing, accept, undelivered, history."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import psycopg
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streamgauge.audit.entry import AuditEvent
from streamgauge.audit.log import append, person
from streamgauge.cli.decision import decision
from streamgauge.cli.output import RIGHT, Json, console, print_json, table
from streamgauge.settings import Settings
from streamgauge.state import alerts
from streamgauge.state.alerts import Alert
from streamgauge.state.firing import FiringAlert, Incidents, read_firing, read_incidents
from streamgauge.stores.postgres import Connection, connect, connect_or_explain
from streamgauge.text import moment, number

app = typer.Typer(no_args_is_help=True, help="What is wrong, and who was notified.")


@app.command()
def firing(as_json: Json = False) -> None:
    """List what fires now; exit code 1 if something does, or if the list may not be whole."""
    settings = Settings.for_role("reader")
    found = read_firing(lambda: _incidents(settings), settings.alertmanager_url, datetime.now(UTC))
    if as_json:
        heartbeat = None if found.heartbeat is None else found.heartbeat.isoformat()
        listed = [a.as_json() for a in found.alerts]
        print_json({"firing": listed, "notes": found.notes, "looked_at": heartbeat, "silent": found.silent})
    else:
        out = console()
        for note in found.notes:
            out.print(note, style="yellow" if found.whole else "red", markup=False)
        if not found.alerts:
            out.print("Nothing fires." if found.whole else "Nothing that is known fires.")
        for a in found.alerts:
            _show(out, a)
    if not found.well:
        raise typer.Exit(1)


@app.command()
def accept(
    name: Annotated[str, typer.Argument(help="Such as StreamgaugeRunFailed.")],
    reason: Annotated[str, typer.Option(help="Why nothing needs to succeed in its place: it is kept with the alert.")],
    stream: Annotated[str | None, typer.Option(help="Only alerts of this stream.")] = None,
    asset: Annotated[str | None, typer.Option(help="Only the alert of this asset, such as facts/x_facts.")] = None,
    by: Annotated[str | None, typer.Option(help="Who accepts it; by default the login.")] = None,
) -> None:
    """Accept a failed run or check that nothing will make good: its alert ends, and the history says who and why."""
    decided = decision(by, reason, "say in a sentence why nothing needs to succeed in its place")
    with connect_or_explain(Settings.for_role("batch"), application="streamgauge alerts") as connection:
        accepted = alerts.accept(connection, name, stream, asset, decided.by, decided.reason)
        for a in accepted:
            about = {"alert": a.name, "asset": a.asset, "accepted_by": decided.by}
            append(connection, AuditEvent("alert.accept", a.cause, person(), reason=decided.reason, after=about))
    for a in accepted:
        console().print(f"Accepted: {a.summary}. The alert ends when the sensor looks next.", markup=False)


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
            created="left", target="left", message="left", alert="left", attempts=RIGHT, next="left", error="left"
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


def _show(out: Console, alert: FiringAlert) -> None:
    out.print(
        Text.assemble((alert.severity, "bold red" if alert.severity == "critical" else "yellow"), "  ", alert.summary)
    )
    about = f"  {alert.name}, since {moment(alert.since)}, from {' and '.join(alert.sources)}"
    out.print(f"{about}, owner {alert.owner}" if alert.owner else about, markup=False)
    if alert.description:
        out.print(f"  {alert.description}", markup=False)
    if alert.accepted_by is not None:
        out.print(f"  Accepted by {alert.accepted_by}: {alert.accepted_because}", markup=False)
    for link in (alert.runbook_url, alert.asset_url):
        if link:
            out.print(f"  {link}", markup=False)


def _table(found: Sequence[Alert]) -> Table:
    shown = table(reported="left", ended="left", severity="left", alert="left", owner="left", note="left")
    for a in found:
        ended = moment(a.resolved_at) if a.resolved_at else "fires"
        note = "" if a.accepted_at is None else f"accepted by {a.accepted_by}: {a.accepted_because}"
        shown.add_row(moment(a.raised_at), ended, a.severity, Text(a.summary), a.owner, Text(note))
    return shown


def _incidents(settings: Settings) -> Incidents | None:
    try:
        with connect(settings, application="streamgauge alerts") as connection:
            return read_incidents(connection)
    except psycopg.OperationalError:
        return None


def _connect() -> Connection:
    return connect_or_explain(Settings.for_role("reader"), application="streamgauge alerts")
