"""`streamgauge anomalies`: list, ack, expect."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from streamgauge.audit.entry import AuditEvent
from streamgauge.audit.log import append, person
from streamgauge.cli.decision import decision
from streamgauge.cli.output import RIGHT, Json, console, print_json, table
from streamgauge.contract.in_use import load_applied
from streamgauge.contract.load import find_contract
from streamgauge.errors import UserError
from streamgauge.settings import Settings
from streamgauge.state import anomalies
from streamgauge.state.anomalies import Anomaly, Verdict
from streamgauge.stores.postgres import connect_or_explain
from streamgauge.text import moment, number

app = typer.Typer(no_args_is_help=True, help="Series that were where chance would not have them.")

Ids = Annotated[list[str], typer.Argument(help="As the list shows them.")]
Reason = Annotated[str, typer.Option(help="In a sentence: it is kept with the anomaly.")]
By = Annotated[str | None, typer.Option(help="Who says so; by default the login.")]


@app.command("list")
def list_(
    stream: Annotated[str | None, typer.Option(help="By default all.")] = None,
    days: Annotated[float, typer.Option(help="How far back.", min=0)] = 1,
    all_: Annotated[bool, typer.Option("--all", help="Also those that are over or were looked at.")] = False,
    limit: Annotated[int, typer.Option(help="How many of the latest.", min=1)] = 100,
    as_json: Json = False,
) -> None:
    """List anomalies, the latest first; exit code 1 if one is open."""
    settings = Settings.for_role("reader")
    contracts = load_applied(settings)
    streams = [c.stream for c in contracts] if stream is None else [find_contract(contracts, stream).stream]
    with connect_or_explain(settings, application="streamgauge anomalies") as connection:
        if not anomalies.is_set_up(connection):
            raise UserError("nothing looks for anomalies yet", "run streamgauge apply")
        since = datetime.now(UTC) - timedelta(days=days)
        still_open = anomalies.read_anomalies(connection, streams, since, None, limit, only_open=True)
        shown = anomalies.read_anomalies(connection, streams, since, None, limit) if all_ else still_open
    if as_json:
        print_json([a.as_json() for a in shown])
    else:
        console().print(_table(shown) if shown else "There is none." if all_ else "None is open.")
    if still_open:
        raise typer.Exit(1)


@app.command()
def ack(ids: Ids, reason: Reason, by: By = None) -> None:
    """Say that somebody has seen them: they raise no alert any more. The model is as before."""
    for a in _judge(ids, "acknowledged", by, reason):
        console().print(f"Acknowledged: {_named(a)}.", markup=False)


@app.command()
def expect(ids: Ids, reason: Reason, by: By = None) -> None:
    """Say that they are normal: the model expects as much in these hours of the week from now on."""
    for a in _judge(ids, "expected", by, reason):
        console().print(f"Expected: {_named(a)}. The model knows it when the sensor looks next.", markup=False)


def _judge(ids: Sequence[str], verdict: Verdict, by: str | None, reason: str) -> list[Anomaly]:
    decided = decision(by, reason, "say in a sentence why")
    with connect_or_explain(Settings.for_role("batch"), application="streamgauge anomalies") as connection:
        found = anomalies.judge(connection, ids, verdict, decided.by, decided.reason)
        for a in found:
            about = {"stream": a.stream, "figure": a.figure, "began": a.began, "verdict": verdict, "by": a.verdict_by}
            append(connection, AuditEvent("anomaly.verdict", a.id, person(), reason=decided.reason, after=about))
    return found


def _named(a: Anomaly) -> str:
    return f"{a.id}, {a.stream} {_series(a)} since {moment(a.began)}"


def _series(a: Anomaly) -> str:
    dimensions = ", ".join(f"{name} {value}" for name, value in a.dimensions.items())
    return f"{a.figure} of {dimensions}" if dimensions else a.figure


def _table(found: Sequence[Anomaly]) -> Table:
    shown = table(
        id="left", began="left", ended="left", state="left", series="left", observed=RIGHT, expected=RIGHT, score=RIGHT
    )
    for a in found:
        ended = "goes on" if a.ended is None else moment(a.ended) + (", a new level" if a.shifted else "")
        band = f"{_short(a.expected)} ({_short(a.low)} to {_short(a.high)})"
        row = (a.id, moment(a.began), ended, a.state, Text(f"{a.stream} {_series(a)}"), _short(a.observed), band)
        shown.add_row(*row, f"{a.score:.1f}")
    return shown


def _short(value: float) -> str:
    return number(round(value)) if abs(value) >= 1000 else f"{value:.3g}"
