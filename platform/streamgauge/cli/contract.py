"""`streamgauge contract`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from streamgauge.cli.output import Json, console, print_json
from streamgauge.contract.load import contract_files, mistakes_in
from streamgauge.settings import contracts_dir
from streamgauge.text import plural

app = typer.Typer(help="Contracts: what is wrong in them.", no_args_is_help=True)


@app.callback()
def _group() -> None:  # pyright: ignore[reportUnusedFunction]
    """Contracts: what is wrong in them."""


@app.command()
def check(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE]…", exists=True, dir_okay=False, help="By default all of them, together."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what is wrong in contracts, by file and line: exit code 0 for nothing, 1 for mistakes. Asks no server."""
    chosen = files or contract_files(contracts_dir())
    mistakes = mistakes_in(chosen)
    if as_json:
        print_json([asdict(m) for m in mistakes])
    else:
        out = console()
        for m in mistakes:
            out.print(str(m), markup=False, soft_wrap=True)
        wrong = len({m.file for m in mistakes})
        of = plural(len(chosen), "contract")
        out.print(f"{plural(len(mistakes), 'mistake')} in {wrong} of {of}." if mistakes else f"{of}: no mistake.")
    if mistakes:
        raise typer.Exit(1)
