"""`streamgauge streams`."""

from collections.abc import Sequence

import typer
from rich.table import Table

from streamgauge.cli.output import RIGHT, Json, console, print_json, table
from streamgauge.contract.load import load_contracts
from streamgauge.settings import Settings
from streamgauge.state.accounts import Account, read_accounts
from streamgauge.state.generations import read_filling
from streamgauge.stores.kafka import admin_client
from streamgauge.stores.postgres import connect_or_explain
from streamgauge.text import duration, moment, number


def streams(as_json: Json = False) -> None:
    """Show what became of each stream's records; exit code 1 if the books don't add up."""
    settings = Settings.for_role("reader")
    with connect_or_explain(settings, autocommit=True, application="streamgauge streams") as connection:
        accounts = read_accounts(connection, admin_client(settings), load_contracts(settings.contracts_dir))
        filling = read_filling(connection)
    if as_json:
        print_json([a.as_json() for a in accounts])
    else:
        out = console()
        out.print(accounts_table(accounts))
        for account in accounts:
            for pause in account.pauses:
                out.print(f"{account.stream} is paused, {pause}", style="red", markup=False)
            if account.stream in filling:
                out.print(f"{account.stream}: {filling[account.stream]}", markup=False)
            if not account.adds_up:
                out.print(f"{account.stream}: the records acknowledged are not those accounted for.", style="red")
    if not all(a.adds_up for a in accounts):
        raise typer.Exit(1)


def accounts_table(accounts: Sequence[Account]) -> Table:
    figures = ("acknowledged", "counted", "late", "duplicates", "dead_letters", "lost", "lag")
    shown = table(stream="left", **dict.fromkeys(figures, RIGHT), watermark="left", freshness=RIGHT)
    for account in accounts:
        shown.add_row(
            account.stream,
            *(number(getattr(account, f)) for f in figures),
            moment(account.watermark),
            duration(account.freshness_seconds),
        )
    return shown
