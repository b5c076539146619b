"""`streamgauge doctor`."""

import typer

from streamgauge.cli.output import Json, console, print_json, table
from streamgauge.stack.control import Stack
from streamgauge.stack.doctor import Verdict, examine

_STYLES: dict[Verdict, str] = {"ok": "green", "note": "yellow", "problem": "red"}


def doctor(as_json: Json = False) -> None:
    """Check what is installed, running and reachable; exit code 1 if there is a problem."""
    found = list(examine(Stack()))
    if as_json:
        print_json([vars(f) for f in found])
    else:
        shown = table(check="left", verdict="left", detail="left", what_to_do="left")
        for f in found:
            shown.add_row(f.check, f"[{_STYLES[f.verdict]}]{f.verdict}[/]", f.detail, f.hint)
        console().print(shown)
    if any(f.verdict == "problem" for f in found):
        raise typer.Exit(1)
