"""`streamgauge backfill`: hours made again by Dagster, and watched from here."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer
from rich.live import Live
from rich.table import Table

from streamgauge.cli.output import RIGHT, Json, console, print_json, table
from streamgauge.contract.load import find_contract, load_contracts
from streamgauge.contract.model import Contract
from streamgauge.dagster import keys as asset_keys
from streamgauge.dagster.client import AssetProgress, BackfillProgress, Dagster
from streamgauge.dagster.hours import HOUR, HourRange, hour_key, hour_start, parse_hours
from streamgauge.dagster.keys import AssetPath
from streamgauge.errors import UserError
from streamgauge.settings import Settings
from streamgauge.state.starts import Starts, first_day, where_data_begins
from streamgauge.text import number, plural

_POLL_SECONDS = 2.0


class Layer(StrEnum):
    """What is made again; each brings along what hangs on it hour by hour."""

    LAKE = "lake"
    FACTS = "facts"
    ROLLUPS = "rollups"
    RECONCILIATION = "reconciliation"


def backfill(
    layer: Annotated[
        Layer,
        typer.Argument(
            help="lake: hours of ingest time, from Kafka. facts, rollups, reconciliation: hours of event time, each "
            "with those after it. Days follow by themselves."
        ),
    ],
    begin: Annotated[str, typer.Option("--from", help="The first hour: 2026-11-05-07, a day or an ISO time, UTC.")],
    end: Annotated[str, typer.Option("--to", help="Up to this hour, which is not included.")],
    stream: Annotated[list[str] | None, typer.Option(help="Only this stream; may be repeated.")] = None,
    as_json: Json = False,
) -> None:
    """Let Dagster make hours again. Exit code 1 if some failed. Ctrl-C stops the watching, not the backfill."""
    settings = Settings.for_role("reader")
    known = load_contracts(settings.contracts_dir)
    contracts = [find_contract(known, s) for s in stream] if stream else list(known)
    now = datetime.now(UTC)
    hours = existing(parse_hours(begin, end), now)
    wanted = hours_of(layer, contracts, hours, where_data_begins("reader", contracts, now))
    for contract, of in wanted.items():
        if of.first > hours.first and not as_json:
            console().print(f"{contract.stream} begins at {hour_key(of.first)}: there is nothing before it to make.")
    dagster = Dagster(settings.dagster_url, settings.dagster_key)
    title = f"{layer} {', '.join(c.stream for c in wanted)}"
    backfill = dagster.launch_backfill({a: of for c, of in wanted.items() for a in assets_of(layer, [c])}, title)
    url = dagster.backfill_url(backfill)
    progress = _watch(dagster, backfill, quiet=as_json)
    if as_json:
        print_json({"backfill": backfill, "url": url, "hours": len(hours.hours), **asdict(progress)})
    elif progress.state == "done":
        console().print(f"Done: {plural(len(hours.hours), 'hour')}, {url}")
    if progress.state != "done":
        failed = ", ".join(f"{plural(a.failed, 'hour')} of {a.asset}" for a in progress.assets if a.failed)
        raise UserError(f"the backfill {progress.state}: {progress.error or failed or 'no reason given'}", f"see {url}")


def hours_of(
    layer: Layer, contracts: Sequence[Contract], hours: HourRange, starts: Mapping[str, Starts]
) -> dict[Contract, HourRange]:
    """Of each stream the hours that it has: Dagster knows none from before its first."""
    found: dict[Contract, HourRange] = {}
    for contract in contracts:
        start = starts[contract.stream].ingest if layer is Layer.LAKE else starts[contract.stream].event
        if start <= hours.last:
            found[contract] = HourRange(max(hours.first, start), hours.last)
    if not found:
        names = ", ".join(c.stream for c in contracts)
        raise UserError(
            f"{layer} of {names} has nothing up to {hour_key(hours.last)}",
            "name later hours; `streamgauge rollups STREAM` shows which have events",
        )
    return found


def existing(hours: HourRange, now: datetime) -> HourRange:
    """Refuses hours that the batch layer doesn't have."""
    start, newest = first_day(), hour_start(now)
    if hours.first < start:
        raise UserError(
            f"the batch layer begins at {start:%Y-%m-%d}", "begin later, or set STREAMGAUGE_BATCH_START for all of it"
        )
    if hours.last > newest:
        raise UserError(f"the newest hour is {newest:%Y-%m-%d %H:%M}", f"end at {hour_key(newest + HOUR)} at most")
    return hours


def assets_of(layer: Layer, contracts: Sequence[Contract]) -> list[AssetPath]:
    if layer is Layer.LAKE:
        return [asset_keys.lake(c) for c in contracts]
    first = {
        Layer.FACTS: asset_keys.facts,
        Layer.ROLLUPS: asset_keys.rollups_hourly,
        Layer.RECONCILIATION: asset_keys.reconciliation,
    }[layer]
    chains = [(asset_keys.event_hours_assets(c), first(c)) for c in contracts]
    return [path for chain, begin in chains for path in chain[chain.index(begin) :]]


def _watch(dagster: Dagster, backfill: str, *, quiet: bool) -> BackfillProgress:
    out = console()
    # transient: where the output is no terminal, Live would leave its last table without the end of its last line
    with Live(console=out, refresh_per_second=2, transient=True) as live:
        while (progress := dagster.progress(backfill)).state == "running":
            if not quiet:
                live.update(_shown(progress.assets))
            time.sleep(_POLL_SECONDS)
    if not quiet:
        out.print(_shown(progress.assets))
    return progress


def _shown(assets: Sequence[AssetProgress]) -> Table:
    shown = table(asset="left", hours=RIGHT, done=RIGHT, running=RIGHT, failed=RIGHT)
    for a in assets:
        shown.add_row(a.asset, *(number(n) for n in (a.wanted, a.done, a.running, a.failed)))
    return shown
