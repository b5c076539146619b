"""`streamgauge slo`."""

from datetime import UTC, datetime

import httpx
import typer

from streamgauge.cli.output import RIGHT, Json, console, print_json, table
from streamgauge.errors import UserError
from streamgauge.settings import Settings
from streamgauge.state.budgets import Budgets, Burnt
from streamgauge.stores.prometheus import Prometheus
from streamgauge.text import moment, number, share

_SECONDS = 10.0


def slo(as_json: Json = False) -> None:
    """Show what is left of each promise's error budget, how fast it goes, and the hours that used most of it.

    Exit code 1 if a promise is broken: nothing is left of its 30 days.
    """
    settings = Settings.for_role("reader")
    if not settings.prometheus_url:
        raise UserError(
            "there is no Prometheus to ask for error budgets",
            "start the whole local stack by `streamgauge stack up --all`, or set STREAMGAUGE_PROMETHEUS_URL",
        )
    with httpx.Client(timeout=_SECONDS) as client:
        budgets = Budgets(Prometheus(settings.prometheus_url, client)).read(datetime.now(UTC))
    if budgets is None:
        raise UserError("Prometheus does not answer", "see `streamgauge stack status`")
    if as_json:
        print_json([b.as_json() for b in budgets])
    elif not budgets:
        console().print("No figures yet: the first come a minute after Prometheus began.")
    else:
        shown = table(promise="left", stream="left", objective=RIGHT, left=RIGHT, burns=RIGHT, used_most_by="left")
        for b in budgets:
            burns = "-" if b.burn_rate is None else f"{number(b.burn_rate)} x"
            worst = ", ".join(map(_hour, b.burnt)) or "nothing"
            left = share(None if b.remaining is None else max(0.0, b.remaining))
            shown.add_row(b.name, b.stream or "-", share(b.objective), left, burns, worst)
        console().print(shown)
        console().print("[dim]left: of 30 days. burns: in the last hour, times as fast as the objective allows.[/dim]")
    if any(b.remaining is not None and b.remaining <= 0 for b in budgets):
        raise typer.Exit(1)


def _hour(burnt: Burnt) -> str:
    return f"{moment(burnt.hour)[:13]}h ({share(burnt.share)})"
