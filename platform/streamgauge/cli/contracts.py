"""`streamgauge plan` and `streamgauge apply`."""

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from streamgauge.apply.changes import Described, describe
from streamgauge.apply.execute import apply as apply_contracts
from streamgauge.apply.execute import plan as plan_contracts
from streamgauge.apply.plan import Plan
from streamgauge.cli.output import Json, console, print_json
from streamgauge.contract.load import load_contracts
from streamgauge.settings import Settings
from streamgauge.text import plural

CHANGES_PENDING = 2
"""`plan`'s exit code where there is something to apply; 0 is nothing, 1 a refusal or an error."""

_MOST_LINES = 12
"""Changes that are listed one by one; more are summed up by kind, as nobody reads hundreds."""
_NAMED = 4

Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="List each change, where they are many.")]

_STYLES = {
    "create": "green",
    "register": "green",
    "change": "yellow",
    "rename": "yellow",
    "rebuild": "yellow",
    "drop": "yellow",
    "allow": "cyan",
    "forbid": "cyan",
    "read": "dim",
    "refuse": "red",
}


def plan(verbose: Verbose = False, as_json: Json = False) -> None:
    """Show what contracts and access file would change: exit code 0 for nothing, 2 for changes, 1 for a refusal."""
    settings = Settings.for_role("admin")
    found = plan_contracts(settings, load_contracts(settings.contracts_dir))
    _show(found, verbose, as_json, "Contracts and access are applied: nothing to change.", "{n} to apply.")
    if found.refusals:
        raise typer.Exit(1)
    if found.changes:
        raise typer.Exit(CHANGES_PENDING)


def apply(verbose: Verbose = False, as_json: Json = False) -> None:
    """Make topics, subjects, tables and rights as contracts and access file say; again, it changes nothing."""
    settings = Settings.for_role("admin")
    done = apply_contracts(settings, load_contracts(settings.contracts_dir))
    _show(done, verbose, as_json, "Contracts and access were applied already: nothing changed.", "{n} applied.")


def _show(plan: Plan, verbose: bool, as_json: bool, none: str, some: str) -> None:
    out = console()
    refused = [Described("refuse", r.target, r.reason) for r in plan.refusals]
    changes = [describe(c) for c in plan.changes]
    notes = [Described("read", n.target, n.text) for n in plan.notes]
    steps = [*refused, *changes, *notes]
    if as_json:
        rows = [{"action": s.action, "target": s.target, "detail": s.detail} for s in steps]
        print_json(rows)
        return
    short = not verbose and len(changes) > _MOST_LINES
    if short:
        steps = [*refused, *summed_up(changes), *notes]
    if steps:
        shown = Table(box=None, show_header=False, pad_edge=False)
        for step in steps:
            shown.add_row(step.action, Text(step.target), Text(step.detail), style=_STYLES[step.action])
        out.print(shown)
    if plan.refusals:
        out.print("Refused, so nothing will be applied.")
        for hint in dict.fromkeys(r.hint for r in plan.refusals):
            out.print(f"Hint: {hint}")
    else:
        out.print(some.format(n=plural(len(plan.changes), "change")) if plan.changes else none)
    if short:
        out.print("[dim]--verbose lists each.[/dim]")


def summed_up(steps: Sequence[Described]) -> list[Described]:
    """One line for each kind of change, in the order in which they come first: how many, and of what."""
    names: dict[tuple[str, str], list[str]] = {}
    for step in steps:
        kind, _, name = step.target.partition(" ")
        names.setdefault((step.action, kind), []).append(name)
    return [
        Described(action, f"{kind}: {len(found)}", _few(list(dict.fromkeys(found))))
        for (action, kind), found in names.items()
    ]


def _few(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
