"""The `streamgauge` command. Its sub-commands are the entry points of the group `streamgauge.commands`."""

import sys
from importlib.metadata import entry_points

import click
import typer
from rich.console import Console

from streamgauge.errors import UserError

GROUP = "streamgauge.commands"


def build() -> typer.Typer:
    """Every installed sub-command: a Typer app becomes a group, a function a command."""
    app = typer.Typer(
        help="Streamgauge: publishes at once, publishes again when checked, and always says which.",
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,
    )
    for entry in sorted(entry_points(group=GROUP), key=lambda e: e.name):
        command = entry.load()
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=entry.name)
        else:
            app.command(entry.name)(command)
    return app


def main() -> None:
    """Exit codes: 0 done, 1 failed (what and what to do on stderr), 2 wrong usage, 130 interrupted."""
    try:
        build()(standalone_mode=False)
    except UserError as e:
        _print_error(e.what, e.hint)
        sys.exit(1)
    except click.ClickException as e:
        e.show()
        sys.exit(e.exit_code)
    except click.exceptions.Exit as e:
        sys.exit(e.exit_code)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)


def _print_error(what: str, hint: str) -> None:
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"[red]error:[/] {what}", markup=True)
    if hint:
        console.print(f"  {hint}", style="dim", markup=False)
