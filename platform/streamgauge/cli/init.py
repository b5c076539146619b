"""`streamgauge init`."""

from pathlib import Path
from typing import Annotated

import typer

from streamgauge.cli.output import console
from streamgauge.project.make import FIRST_PORT, make_project


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Made where it isn't there yet.")],
    base_port: Annotated[
        int, typer.Option(min=1024, max=65_400, help="Of its local stack: the first of a hundred ports.")
    ] = FIRST_PORT,
) -> None:
    """Make a project of your own: an example contract, settings, and a page that says what to do next."""
    out = console()
    for file in make_project(folder, base_port):
        out.print(f"made {file}", soft_wrap=True)
    out.print(f"Next: cd {folder}, look into contracts/orders.yaml, and do as README.md says.", soft_wrap=True)
