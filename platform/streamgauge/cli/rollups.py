"""`streamgauge rollups`: as the API answers, from both layers."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import polars as pl
import typer
from rich.text import Text

from streamgauge.cli.output import RIGHT, Json, console, print_json, table
from streamgauge.contract.in_use import load_applied
from streamgauge.contract.load import find_contract
from streamgauge.contract.model import Contract
from streamgauge.errors import UserError
from streamgauge.rollup.measure_kinds import error_names, figures
from streamgauge.rollup.windows import MINUTE, Window, errors_of, latest_minute, read_windows
from streamgauge.settings import Settings
from streamgauge.stores.postgres import Connection, connect_or_explain
from streamgauge.stores.progress import read_watermark
from streamgauge.stores.tables.speed import COUNTERS
from streamgauge.text import moment, number

SHOWN = 60
"""How many windows, where no time is given."""
_IN_JSON_ONLY = ("n", "mean")
"""Figures that the table has no room for: they follow from others."""


def rollups(
    stream: Annotated[str, typer.Argument(help="The stream, such as user_events.")],
    window: Annotated[str, typer.Option(help="1m, 5m or 1h.")] = "1m",
    hop: Annotated[str | None, typer.Option(help="Start a window this often; by default as long as it is.")] = None,
    begin: Annotated[
        str | None, typer.Option("--from", help="First start of a window, ISO 8601, UTC unless it says else.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="Windows start before this, which is not included.")] = None,
    group_by: Annotated[list[str] | None, typer.Option(help="A dimension to split by; may be repeated.")] = None,
    as_json: Json = False,
) -> None:
    """Show a stream's rollups for any window; by default the 60 windows up to its newest minute."""
    settings = Settings.for_role("reader")
    contract = find_contract(load_applied(settings), stream)
    length = Window.parse(window, hop)
    groups = tuple(group_by or ())
    with connect_or_explain(settings, application="streamgauge rollups") as connection:
        known = read_watermark(connection, contract.topic)
        start, stop = _span(connection, contract, length, begin, end)
        found = read_windows(connection, contract, length, start, stop, groups)
    errors = errors_of(contract, found)
    found = found.drop(name for m in contract.rollup.measured for name in error_names(m))
    if as_json:
        print_json(
            {
                "stream": stream,
                "window": window,
                "hop": hop or window,
                "watermark": None if known is None else known.isoformat(),
                "errors": errors,
                "rows": [_plain(row) for row in found.to_dicts()],
            }
        )
        return
    _show(contract, found, groups, known, errors)


def _span(
    connection: Connection, contract: Contract, window: Window, begin: str | None, end: str | None
) -> tuple[datetime, datetime]:
    newest = latest_minute(connection, contract) or datetime.now(UTC)
    stop = newest + MINUTE if end is None else _time(end)
    start = stop - window.size - (SHOWN - 1) * window.hop if begin is None else _time(begin)
    if start >= stop and end is not None:
        raise UserError(f"from {moment(start)} to {moment(stop)} there is no window", "give a --to after --from")
    return start, stop


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError as e:
        raise UserError(f"{text!r} is no time", "write it as 2026-01-31T13:45Z") from e
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {k: v.isoformat() if isinstance(v, datetime) else v for k, v in row.items()}


def _show(
    contract: Contract,
    found: pl.DataFrame,
    groups: tuple[str, ...],
    known: datetime | None,
    errors: Mapping[str, Mapping[str, Any]],
) -> None:
    out = console()
    if found.is_empty():
        out.print(f"{contract.stream} has no rollups in that time.")
        return
    names = [*COUNTERS, *(f.name for f in figures(contract.rollup) if f.name.rpartition("_")[2] not in _IN_JSON_ONLY)]
    shown = table(window_start="left", **dict.fromkeys(groups, "left"), **dict.fromkeys(names, RIGHT), status="left")
    for row in found.iter_rows(named=True):
        cells = [*(Text(row[g]) for g in groups), *(number(row[n]) for n in names)]
        shown.add_row(moment(row["window_start"]), *cells, _status(row), style="red" if row["unchecked"] else None)
    out.print(shown)
    out.print(
        f"[dim]From Postgres, watermark {moment(known)}. Open: events for this window may still come."
        f"{_estimates(errors)}[/dim]"
    )


def _status(row: Mapping[str, Any]) -> str:
    words = [row["status"], *(["unchecked"] if row["unchecked"] else []), *([] if row["complete"] else ["open"])]
    return ", ".join(words)


def _estimates(errors: Mapping[str, Mapping[str, Any]]) -> str:
    """How far the shown estimates may be off."""
    parts = {of: max((e["error"] for e in errors.values() if e["of"] == of), default=None) for of in ("value", "rank")}
    message: list[str] = []
    if parts["value"] is not None:
        message.append(f"distinct counts within {parts['value']:.1%} (68 of 100 times)".replace("%", " %"))
    if parts["rank"] is not None:
        message.append(f"quantiles within {parts['rank']:.1%} of rank (99 of 100 times)".replace("%", " %"))
    return f" Estimates: {', '.join(message)}." if message else ""
