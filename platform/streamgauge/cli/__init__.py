"""The `streamgauge` command. Its sub-commands are the entry points of the group `streamgauge.commands`."""

import sys
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from streamgauge.errors import UserError
from streamgauge.project.settings_file import take_up_settings

GROUP = "streamgauge.commands"


def build(only: str | None = None) -> typer.Typer:
    """Every installed sub-command, or the one named: a Typer app becomes a group, a function a command."""
    app = typer.Typer(
        help="Streamgauge: publishes at once, publishes again when checked, and always says which.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )

    @app.callback()
    def _root(  # pyright: ignore[reportUnusedFunction]
        shown: Annotated[
            bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and end.")
        ] = False,
    ) -> None:
        """Streamgauge: publishes at once, publishes again when checked, and always says which."""
        del shown

    found = {e.name: e for e in entry_points(group=GROUP)}
    # To load them all takes a second, which only the list of commands is worth.
    names = [only] if only in found else sorted(found)
    for name in names:
        command = found[name].load()
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def _version(asked: bool) -> None:
    if asked:
        typer.echo(version("streamgauge"))
        raise typer.Exit


def main() -> None:
    """Exit codes: 0 done, 1 failed or found wanting, 2 wrong usage, 130 interrupted."""
    asked = sys.argv[1] if len(sys.argv) > 1 else None
    take_up_settings(Path.cwd())
    try:
        build(asked)()
    except UserError as e:
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        console.print(Text.assemble(("error: ", "bold red"), e.what))
        if e.hint:
            console.print(Text(f"  {e.hint}", style="dim"))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
