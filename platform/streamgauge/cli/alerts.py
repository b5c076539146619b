"""`streamgauge alerts`: firing, accept, undelivered, history, numbers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Any

import psycopg
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streamgauge.audit.entry import AuditEvent
from streamgauge.audit.log import append, person
from streamgauge.cli.decision import decision
from streamgauge.cli.output import RIGHT, Json, console, print_json, table
from streamgauge.contract.generations import differences
from streamgauge.contract.in_use import load_applied
from streamgauge.contract.load import find_contract, load_contracts
from streamgauge.contract.model import Contract, NumberAlert
from streamgauge.rollup.number_alerts import (
    Episode,
    Level,
    Reading,
    bounds_in_words,
    complete_until,
    episodes,
    read_numbers,
    reading_in_words,
    windows_needed,
)
from streamgauge.settings import Settings
from streamgauge.state import alerts
from streamgauge.state.alerts import Alert
from streamgauge.state.firing import FiringAlert, Incidents, read_firing, read_incidents
from streamgauge.stores.postgres import Connection, connect, connect_or_explain
from streamgauge.text import NONE, moment, number, plural

_EPISODES = 10
"""Of each alert, the latest are named; `--json` has all."""

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


@app.command()
def numbers(
    stream: Annotated[str | None, typer.Argument(help="Only alerts of this stream.")] = None,
    days: Annotated[int, typer.Option(help="How far back to say when each would have stood.", min=0, max=31)] = 0,
    as_json: Json = False,
) -> None:
    """Show the contracts' alerts on numbers: what each number is now, and when its alert would have stood."""
    contracts = _contracts(Settings.for_role("reader"))
    wanted = contracts if stream is None else (find_contract(contracts, stream),)
    with _connect() as connection:
        found = [_watched(connection, c, alert, days) for c in wanted for alert in c.alerts]
    if as_json:
        print_json([w.as_json() for w in found])
    elif not found:
        console().print("No contract has alerts on numbers.")
    else:
        shown = table(stream="left", alert="left", level="left", now="left", bounds="left", stood="left")
        for w in found:
            now = "no window is complete yet" if w.reading is None else reading_in_words(w.alert, w.reading)
            stood = plural(len(w.episodes), "time") if days else NONE
            shown.add_row(w.stream, w.alert.name, w.level.name.lower(), Text(now), bounds_in_words(w.alert), stood)
        console().print(shown)
        for w in found:
            for e in w.episodes[-_EPISODES:]:
                about = f"{w.stream}: {w.alert.name}, {e.level.name.lower()}, {moment(e.began)} to {moment(e.last)}"
                console().print(about, markup=False)


@dataclass(frozen=True)
class _Watched:
    stream: str
    alert: NumberAlert
    reading: Reading | None
    level: Level
    episodes: Sequence[Episode]

    def as_json(self) -> dict[str, Any]:
        r = self.reading
        return {
            "stream": self.stream,
            "alert": self.alert.name,
            "number": self.alert.number,
            "level": self.level.name.lower(),
            "until": None if r is None else r.end.isoformat(),
            "value": None if r is None else r.value,
            "earlier": None if r is None else r.earlier,
            "compared": None if r is None else r.compared,
            "stood": [
                {"began": e.began.isoformat(), "last": e.last.isoformat(), "level": e.level.name.lower()}
                for e in self.episodes
            ],
        }


def _watched(connection: Connection, contract: Contract, alert: NumberAlert, days: int) -> _Watched:
    until = complete_until(connection, contract)
    if until is None:
        return _Watched(contract.stream, alert, None, Level.WITHIN, ())
    readings = read_numbers(connection, contract, alert, until, max(windows_needed(alert), days * 1440))
    found = episodes(alert, readings)
    stands = bool(readings and found) and found[-1].last == readings[-1].end
    level = found[-1].level if stands else Level.WITHIN
    return _Watched(contract.stream, alert, readings[-1] if readings else None, level, found if days else ())


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


def _contracts(settings: Settings) -> tuple[Contract, ...]:
    """With alerts that only files have, so that they can be tried, where the present rollups have their numbers."""
    files = {c.stream: c for c in load_contracts(settings.contracts_dir)}
    applied = load_applied(settings)
    return tuple(
        c if differences(c, file := files[c.stream]) else replace(file, generation=c.generation) for c in applied
    )


def _connect() -> Connection:
    return connect_or_explain(Settings.for_role("reader"), application="streamgauge alerts")
