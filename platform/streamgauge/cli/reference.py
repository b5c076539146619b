"""`streamgauge reference load`."""

from pathlib import Path
from typing import Annotated

import typer

from streamgauge.audit.entry import AuditEvent
from streamgauge.audit.log import append, person
from streamgauge.cli.output import console
from streamgauge.contract.load import load_contracts
from streamgauge.rollup.reference import find_reference, load_reference
from streamgauge.settings import Settings
from streamgauge.stores.postgres import connect_or_explain

app = typer.Typer(no_args_is_help=True, help="Tables that enrich events, such as actors.")


@app.callback()
def group() -> None:
    """Keeps `load` a sub-command although it is the only one."""


@app.command()
def load(
    name: Annotated[str, typer.Argument(help="The reference's name in the contract.")],
    file: Annotated[Path, typer.Argument(help="CSV in UTF-8; its first line names the columns.")],
) -> None:
    """Insert and update rows of a reference table from a CSV file; workers take them over by themselves."""
    settings = Settings.for_role("admin")
    spec = find_reference(load_contracts(settings.contracts_dir), name)
    with connect_or_explain(settings, application="streamgauge reference") as connection:
        done = load_reference(connection, spec, file)
        about = {"rows": done.rows, "inserted": done.inserted, "changed": done.changed}
        append(connection, AuditEvent("reference.load", spec.table, person(), after=about))
    console().print(f"{spec.table}: {done.inserted} new, {done.changed} changed, of {done.rows} rows.")
