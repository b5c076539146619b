"""`streamgauge audit`: list, verify, export, key."""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from rich.text import Text

from streamgauge.audit.chain import Verified, verify
from streamgauge.audit.checkpoint import Checkpoints, public_key, public_text, signing_key
from streamgauge.audit.entry import ACTIONS, Action
from streamgauge.audit.export import read_export, write_export
from streamgauge.audit.log import entries, latest
from streamgauge.cli.output import RIGHT, Json, console, print_json, table
from streamgauge.errors import UserError
from streamgauge.settings import Settings
from streamgauge.stores.postgres import connect_or_explain
from streamgauge.text import moment, number, plural

app = typer.Typer(
    no_args_is_help=True, help="Who changed what, and who saw personal values; nobody rewrites it unseen."
)

_APPLICATION = "streamgauge audit"
_LONGEST = 80
"""Characters of what an entry is about, in the table."""


@app.command("list")
def list_entries(
    action: Annotated[str | None, typer.Option(help="Only this action, such as contract.apply.")] = None,
    subject: Annotated[str | None, typer.Option(help="Only this subject, such as a stream.")] = None,
    since: Annotated[datetime | None, typer.Option(help="Only from this time on, UTC.")] = None,
    limit: Annotated[int, typer.Option(help="How many of the latest to list.", min=1)] = 50,
    as_json: Json = False,
) -> None:
    """List what was done, the latest first."""
    begin = since.replace(tzinfo=UTC) if since else None
    with connect_or_explain(Settings.for_role("batch"), application=_APPLICATION) as connection:
        found = latest(connection, limit, action=_known(action), subject=subject, since=begin)
    if as_json:
        print_json([{**e.fields, "digest": e.digest} for e in found])
        return
    if not found:
        console().print("Nothing was recorded.")
        return
    shown = table(number=RIGHT, at="left", actor="left", action="left", subject="left", about="left")
    for e in found:
        f = e.fields
        actor = f["actor"] if "address" not in f else f"{f['actor']} from {f['address']}"
        at = datetime.fromisoformat(f["at"])
        shown.add_row(number(e.number), moment(at), Text(actor), f["action"], Text(f["subject"]), Text(_about(f)))
    console().print(shown)


@app.command("verify")
def verify_log(
    folder: Annotated[Path | None, typer.Argument(metavar="DIR", help="An export; without it, the log itself.")] = None,
    key: Annotated[
        str | None, typer.Option(help="The public key to verify by; else this instance's, or the export's own.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check that no entry was changed, removed or moved since it was recorded; exit code 1 if one was."""
    found = _verified_log(key) if folder is None else _verified_export(folder, key)
    if as_json:
        print_json(asdict(found))
    else:
        out = console()
        for fault in found.faults:
            out.print(Text(fault, style="red"))
        signed = f"{number(found.signed)} of them before one of {plural(found.checkpoints, 'signed checkpoint')}"
        state = "Not as recorded" if found.faults else "As recorded"
        out.print(f"{state}: {plural(found.entries, 'entry', 'entries')}, {signed}.")
    if found.faults:
        raise typer.Exit(1)


@app.command()
def export(folder: Annotated[Path, typer.Argument(metavar="DIR", help="Made where it isn't there yet.")]) -> None:
    """Write all entries as OCSF events, the checkpoints and the public key into a folder, to be verified anywhere."""
    settings = Settings.for_role("batch")
    key = public_text(signing_key(settings))
    with connect_or_explain(settings, application=_APPLICATION) as connection:
        count = write_export(folder, entries(connection), Checkpoints(settings).texts(), key)
    console().print(f"{plural(count, 'entry', 'entries')} in {folder}. Verify: streamgauge audit verify {folder}")


@app.command("key")
def show_key() -> None:
    """Print the public key by which checkpoints are verified: keep it where nobody who runs this can change it."""
    typer.echo(public_text(signing_key(Settings.for_role("batch"))))


def _verified_log(key: str | None) -> Verified:
    settings = Settings.for_role("batch")
    own = signing_key(settings).public_key() if key is None else public_key(key)
    with connect_or_explain(settings, application=_APPLICATION) as connection:
        # checkpoints first: one that is written meanwhile would have an entry that is not read yet
        checkpoints = list(Checkpoints(settings).texts())
        return verify(entries(connection), checkpoints, own)


def _verified_export(folder: Path, key: str | None) -> Verified:
    found = read_export(folder)
    checked = verify(found.entries, found.checkpoints, public_key(key or found.key))
    unreadable = tuple(f"line {n} of {folder} is no entry" for n in found.unreadable)
    return Verified(checked.entries, checked.signed, checked.checkpoints, (*unreadable, *checked.faults))


def _known(action: str | None) -> Action | None:
    for known in ACTIONS:
        if action == known:
            return known
    if action is not None:
        raise UserError(f"there is no action {action!r}", f"the actions are {', '.join(ACTIONS)}")
    return None


def _about(fields: dict[str, Any]) -> str:
    if "reason" in fields:
        return str(fields["reason"])
    after: Any = fields.get("after") or {}
    if isinstance(after, list):
        return plural(len(cast(list[Any], after)), "change")
    if fields["action"] == "contract.apply":
        return "changed" if "before" in fields else "new"
    text = ", ".join(f"{k} {v}" for k, v in after.items() if v is not None)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… (--json has all)"
