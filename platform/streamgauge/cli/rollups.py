"""`streamgauge rollups`."""

from datetime import UTC, datetime
from typing import Annotated, Any

import polars as pl
import typer
from rich.text import Text

from streamgauge.cli.output import RIGHT, Json, console, moment, number, print_json, table
from streamgauge.contract.model import Contract, find_contract, load_contracts
from streamgauge.errors import UserError
from streamgauge.rollup.windows import MINUTE, QUANTILES, Window, latest_minute, read_windows, watermark
from streamgauge.settings import Settings
from streamgauge.stores.postgres import Connection, connect_or_explain
from streamgauge.stores.tables.speed import COUNTERS

SHOWN = 60
"""How many windows, where no time is given."""


def rollups(
    stream: Annotated[str, typer.Argument(help="The stream, such as user_events.")],
    window: Annotated[str, typer.Option(help="1m, 5m or 1h.")] = "1m",
    hop: Annotated[str | None, typer.Option(help="Start a window this often; by default as long as it is.")] = None,
    begin: Annotated[
        str | None, typer.Option("--from", help="First start of a window, ISO 8601, UTC unless it says else.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="Windows start before this.")] = None,
    group_by: Annotated[list[str] | None, typer.Option(help="A dimension to split by; may be repeated.")] = None,
    as_json: Json = False,
) -> None:
    """Show a stream's rollups for any window; by default the 60 windows up to its newest minute."""
    settings = Settings.for_role("reader")
    contract = find_contract(load_contracts(settings.contracts_dir), stream)
    length = Window.parse(window, hop)
    groups = tuple(group_by or ())
    with connect_or_explain(settings, application="streamgauge rollups") as connection:
        known = watermark(connection, contract)
        start, stop = _span(connection, contract, length, begin, end)
        found = read_windows(connection, contract, length, start, stop, groups)
    if as_json:
        print_json(
            {
                "stream": stream,
                "window": window,
                "hop": hop or window,
                "watermark": None if known is None else known.isoformat(),
                "rows": [_plain(row) for row in found.to_dicts()],
            }
        )
        return
    _show(contract, found, groups, known)


def _span(
    connection: Connection, contract: Contract, window: Window, begin: str | None, end: str | None
) -> tuple[datetime, datetime]:
    newest = latest_minute(connection, contract) or datetime.now(UTC)
    stop = newest + MINUTE if end is None else _time(end)
    if begin is not None:
        return _time(begin), stop
    return stop - window.size - (SHOWN - 1) * window.hop, stop


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError as e:
        raise UserError(f"{text!r} is no time", "write it as 2026-01-31T13:45Z") from e
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {k: v.isoformat() if isinstance(v, datetime) else v for k, v in row.items()}


def _show(contract: Contract, found: pl.DataFrame, groups: tuple[str, ...], known: datetime | None) -> None:
    out = console()
    if found.is_empty():
        out.print(f"{contract.stream} has no rollups in that time.")
        return
    rollup = contract.rollup
    figures = list(COUNTERS) + [f"{d.name}_distinct" for d in rollup.distinct]
    for m in rollup.measures:
        figures += [f"{m.name}_{part}" for part in ("sum", "min", "max")]
        figures += [f"{m.name}_{q}" for q in QUANTILES] if m.quantiles else []
    shown = table(window_start="left", **dict.fromkeys(groups, "left"), **dict.fromkeys(figures, RIGHT), status="left")
    for row in found.iter_rows(named=True):
        status = row["status"] if row["complete"] else f"{row['status']}, open"
        shown.add_row(
            moment(row["window_start"]), *(Text(row[g]) for g in groups), *(number(row[f]) for f in figures), status
        )
    out.print(shown)
    out.print(
        f"[dim]From Postgres, watermark {moment(known)}. Open: events for this window may still come."
        f" Distinct counts and quantiles are estimates.[/dim]"
    )
