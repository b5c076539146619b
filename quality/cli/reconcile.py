"""`streamgauge reconcile`, and `streamgauge reconcile accept`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from quality.reconciliation.accept import accept
from quality.reconciliation.compare import Difference
from quality.reconciliation.reconcile import compare
from quality.reconciliation.stored import read_compared, read_differences
from quality.reconciliation.verdict import FIGURES
from streamgauge.audit.entry import AuditEvent
from streamgauge.audit.log import append, person
from streamgauge.cli.decision import decision
from streamgauge.cli.output import RIGHT, Json, console, print_json, table
from streamgauge.contract.in_use import load_applied
from streamgauge.contract.load import find_contract
from streamgauge.contract.model import Contract
from streamgauge.dagster.hours import HOUR, HourRange, hour_key, hour_start, parse_hour, parse_hours
from streamgauge.errors import UserError
from streamgauge.rollup.pseudonyms import pseudonyms_of
from streamgauge.settings import Settings
from streamgauge.stores.postgres import Connection, connect_or_explain
from streamgauge.text import moment, number

HOURS = 24
"""How many of the latest hours are shown where none are named."""

DIFFERENCES = 50

Row = Mapping[str, Any]


class _Shown(TyperGroup):
    """`reconcile STREAM` shows; only the name of a command is one."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or args[0] not in (*self.commands, "--help"):
            args = ["show", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=_Shown, help="How the speed layer and the batch layer agree, hour by hour.")


@app.command()
def show(
    stream: Annotated[str | None, typer.Argument(help="The stream, such as user_events; all if none is named.")] = None,
    begin: Annotated[str | None, typer.Option("--from", help="First hour, such as 2026-11-05-07, UTC.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Up to this hour, which is not included.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Compare now, and write nothing.")] = False,
    explained: Annotated[bool, typer.Option("--explained", help="Also list differences that are explained.")] = False,
    as_json: Json = False,
) -> None:
    """Show how the speed layer and the batch layer agree, hour by hour; exit code 1 if one differs unexplained."""
    # what is compared are facts and top lists too, whose keys may be people
    settings = Settings.for_role("batch" if check else "reader")
    contracts = load_applied(settings)
    chosen = contracts if stream is None else (find_contract(contracts, stream),)
    start, stop = (None if t is None else parse_hour(t) for t in (begin, end))
    if begin is not None and end is not None:
        parse_hours(begin, end)
    if check and start is None:
        raise UserError("--check needs to know which hours", "name them by --from and --to")
    with connect_or_explain(settings, autocommit=True, application="streamgauge reconcile") as connection:
        found = [
            _now(connection, c, settings, start, stop)
            if check and start is not None
            else _stored(connection, c, start, stop)
            for c in chosen
        ]
    hours = [h for each, _ in found for h in each]
    differences = [d for _, each in found for d in each if explained or not d["explained"]]
    if as_json:
        print_json({"hours": [_plain(h) for h in hours], "differences": [_plain(d) for d in differences]})
    else:
        _show(console(), hours, differences)
    if not all(h["passed"] or h.get("accepted_by") for h in hours):
        raise typer.Exit(1)


@app.command("accept")
def accept_hour(
    stream: Annotated[str, typer.Argument(help="The stream, such as user_events.")],
    hour: Annotated[str, typer.Argument(help="Such as 2026-11-05-07, UTC.")],
    reason: Annotated[str, typer.Option(help="Why the difference may stand: it is kept with the hour.")],
    by: Annotated[str | None, typer.Option(help="Who accepts it; by default the login.")] = None,
) -> None:
    """Accept what an hour's latest comparison could not explain: the alert ends, and its numbers count as checked."""
    decided = decision(by, reason, "say in a sentence why the difference may stand")
    settings = Settings.for_role("batch")
    contract, at = find_contract(load_applied(settings), stream), parse_hour(hour)
    with (
        connect_or_explain(settings, autocommit=True, application="streamgauge reconcile") as connection,
        connection.transaction(),
    ):
        final = accept(connection, contract, at, decided.by, decided.reason)
        event = AuditEvent(
            "hour.accept",
            f"{stream} {hour_key(at)}",
            person(),
            reason=decided.reason,
            after={"accepted_by": decided.by, "final": final},
        )
        append(connection, event)
    status = "final and checked" if final else "provisional until what it waits for has come"
    console().print(f"Accepted: the hour {hour_key(at)} of {stream} is {status}.")


def _stored(
    connection: Connection, contract: Contract, start: datetime | None, stop: datetime | None
) -> tuple[Sequence[Row], Sequence[Row]]:
    limit = HOURS if start is None else 1_000_000
    found = read_compared(connection, contract, start, stop, limit)
    if not found:
        return [], []
    rows = read_differences(connection, contract, found[0].hour, found[-1].hour + HOUR, DIFFERENCES)
    hours = [{**asdict(c), "status": c.status} for c in found]
    return hours, [{"stream": contract.stream, **row} for row in rows]


def _now(
    connection: Connection, contract: Contract, settings: Settings, start: datetime, stop: datetime | None
) -> tuple[Sequence[Row], Sequence[Row]]:
    last = max(start, hour_start(datetime.now(UTC))) if stop is None else stop - HOUR
    wanted = HourRange(start, last).hours
    results = compare(connection, contract, pseudonyms_of(settings, contract), settings.lake, wanted).results
    hours = [
        {"stream": contract.stream, "hour": r.hour, "passed": r.passed, "waits_for": r.waits_for}
        | {f: getattr(r, f) for f in FIGURES}
        for r in results
        if r.buckets
    ]
    found = sorted((d for r in results for d in r.differences), key=lambda d: (d.explained, d.bucket, d.measure))
    return hours, [_difference(contract, d) for d in found[:DIFFERENCES]]


def _difference(contract: Contract, d: Difference) -> Row:
    minute, values = d.bucket
    row = asdict(d)
    del row["bucket"], row["waits"]
    return {
        "stream": contract.stream,
        "minute": minute,
        "dimensions": dict(zip(contract.dimension_names, values, strict=True)),
        **row,
    }


def _show(out: Console, hours: Sequence[Row], differences: Sequence[Row]) -> None:
    if not hours:
        out.print("No hour has been compared in that time.")
        return
    shown = table(stream="left", hour="left", status="left", **dict.fromkeys(FIGURES, RIGHT), note="left")
    for h in hours:
        style = None if h["passed"] else "red"
        shown.add_row(
            h["stream"], hour_key(h["hour"]), _status(h), *(number(h[f]) for f in FIGURES), _note(h), style=style
        )
    out.print(shown)
    if not differences:
        return
    out.print()
    listed = table(
        stream="left",
        minute="left",
        dimensions="left",
        measure="left",
        speed=RIGHT,
        batch=RIGHT,
        why="left",
        events="left",
    )
    for d in differences:
        listed.add_row(
            d["stream"],
            moment(d["minute"]),
            ", ".join(d["dimensions"].values()),
            d["measure"],
            number(d["speed"]),
            number(d["batch"]),
            d["explanation"],
            ", ".join(d["sample_event_ids"]),
            style=None if d["explained"] else "red",
        )
    out.print(listed)


def _status(hour: Row) -> str:
    if "status" not in hour:
        return "agrees" if hour["passed"] else "differs"
    return str(hour["status"]) if hour["revision"] in (None, 1) else f"{hour['status']}, revision {hour['revision']}"


def _note(hour: Row) -> str:
    if not hour["passed"]:
        if hour.get("accepted_by"):
            return f"accepted by {hour['accepted_by']}: {hour['accepted_because']}"
        return "unexplained differences"
    if hour.get("revision") is not None:
        return "" if hour["checked"] else "its latest revision is not checked yet"
    return f"waits for {hour['waits_for']}" if hour["waits_for"] else ""


def _plain(row: Row) -> dict[str, Any]:
    return {k: v.isoformat() if isinstance(v, datetime) else v for k, v in row.items()}
