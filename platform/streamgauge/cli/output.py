"""How commands show tables and JSON."""

import json
import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

Json = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]

RIGHT = "right"


def console() -> Console:
    """As wide as the terminal; in a pipe or a file wide enough for every table."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 200)


def print_json(value: Any) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))


def table(**columns: str) -> Table:
    """A plain table; a column's value says which side it leans to."""
    built = Table(box=None, pad_edge=False, header_style="bold")
    for name, side in columns.items():
        # A figure that doesn't fit is broken, not cut.
        built.add_column(name.replace("_", " "), justify="right" if side == RIGHT else "left", overflow="fold")
    return built
