"""`streamgauge plan` and `streamgauge apply`."""

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from streamgauge.apply.changes import Described, describe
from streamgauge.apply.execute import apply as apply_contracts
from streamgauge.apply.execute import plan as plan_contracts
from streamgauge.apply.plan import Plan
from streamgauge.contracts import load_contracts
from streamgauge.settings import Settings

CHANGES_PENDING = 2
"""`plan`'s exit code where there is something to apply; 0 is nothing, 1 a refusal or an error."""

_STYLES = {"create": "green", "register": "green", "change": "yellow", "allow": "cyan", "refuse": "red"}

Json = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]


def plan(as_json: Json = False) -> None:
    """Show what the contracts would change: exit code 0 for nothing, 2 for changes, 1 for a refusal."""
    settings = Settings.for_role("admin")
    found = plan_contracts(settings, load_contracts(settings.contracts_dir))
    _show(found, as_json, "The contracts are applied: nothing to change.", "{n} changes to apply.")
    if found.refusals:
        raise typer.Exit(1)
    if found.changes:
        raise typer.Exit(CHANGES_PENDING)


def apply(as_json: Json = False) -> None:
    """Make topics, subjects, tables and rights as the contracts say; again, it changes nothing."""
    settings = Settings.for_role("admin")
    done = apply_contracts(settings, load_contracts(settings.contracts_dir))
    _show(done, as_json, "The contracts were applied already: nothing changed.", "{n} changes applied.")


def _show(plan: Plan, as_json: bool, none: str, some: str) -> None:
    console = Console(highlight=False)
    steps = [
        *(Described("refuse", r.target, r.reason) for r in plan.refusals),
        *(describe(c) for c in plan.changes),
    ]
    if as_json:
        rows = [{"action": s.action, "target": s.target, "detail": s.detail} for s in steps]
        console.print_json(json.dumps(rows))
        return
    if steps:
        table = Table(box=None, show_header=False, pad_edge=False)
        for step in steps:
            table.add_row(step.action, step.target, step.detail, style=_STYLES[step.action])
        console.print(table)
    console.print(some.format(n=len(plan.changes)) if plan.changes else none if not plan.refusals else "")
    for hint in dict.fromkeys(r.hint for r in plan.refusals):
        console.print(f"Hint: {hint}")
